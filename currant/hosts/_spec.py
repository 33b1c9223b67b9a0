"""A command as its host starts it: with the variables and the working directory of the place."""

from __future__ import annotations

import os
from dataclasses import fields
from posixpath import join
from typing import TYPE_CHECKING

from currant._values.launch_spec import LaunchSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from currant.hosts._host import Host
    from currant.hosts._settings import Settings

__all__ = ["placed_spec"]


HOST_VARIABLE = "CURRANT_HOST"
GPU_VARIABLE = "CUDA_VISIBLE_DEVICES"

_FIELDS = tuple(spec.name for spec in fields(LaunchSpec))


def placed_spec(
    command: LaunchSpec, host: Host, gpus: tuple[str, ...] | None, settings: Settings
) -> LaunchSpec:
    """Return what a host is told to start.

    The variables of the command come first, then those of its place, then those of the host, of all
    hosts, and of this program.  A command that inherits no variables gets its own and those of its
    place.

    Args:
        command: the command.
        host: the host.
        gpus: the GPUs that it was given; None: the host has none.
        settings: what holds for all hosts.
    """
    values = {name: getattr(command, name) for name in _FIELDS}
    values["env"] = {
        **(_inherited(host, settings) if command.inherit_env else {}),
        **_of_place(host, gpus),
        **command.env,
    }
    folder = settings.cwd if host.cwd is None else host.cwd
    if folder is not None:
        values["cwd"] = folder if command.cwd is None else join(folder, command.cwd)
    values["host"], values["resources"] = None, {}
    return LaunchSpec(**values)


def _inherited(host: Host, settings: Settings) -> Mapping[str, str]:
    forwarded = {name: os.environ[name] for name in settings.forward_env if name in os.environ}
    return {**forwarded, **settings.env, **host.env}


def _of_place(host: Host, gpus: tuple[str, ...] | None) -> Mapping[str, str]:
    variables = {HOST_VARIABLE: host.name}
    if gpus is not None:
        variables[GPU_VARIABLE] = ",".join(gpus)
    return variables
