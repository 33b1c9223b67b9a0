"""Add to a command what its host brings: variables, GPUs and a working directory."""

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
    """Return the spec of a command for its host.

    A variable may come from several sources; the first in this order counts: the command, its
    place, the host, `Hosts(env=...)`, and this program.  A command with ``inherit_env=False`` gets
    the variables of the first two alone.

    Args:
        command: the spec, as the Runner has it.
        host: the host.
        gpus: the ids of the GPUs that the command was given; None if the host has no GPUs.
        settings: the options of all hosts.
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
