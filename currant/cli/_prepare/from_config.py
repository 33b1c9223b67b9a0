"""From a configuration and the options of the command line to a Runner.

The command line is the last of the files: an option that is given explicitly replaces the value at
the top level of the configuration, but not the settings of single commands.
"""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, cast

from currant._values.errors import CommandError
from currant._values.restart import RestartPolicy
from currant.cli._prepare.display import flush_after, output_fit
from currant.cli._prepare.from_procfile import runner_from_procfile
from currant.cli._prepare.hosts import build_hosts, on_hosts
from currant.cli._prepare.runner import (
    START_TEXTS,
    Prepared,
    build_runner,
    checked_cwd,
    restart_policy,
    select_hidden,
    with_replicas,
)
from currant.config._documents import is_toml
from currant.config._find import find_config
from currant.config._load import load
from currant.config._problems import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from currant._values.command import Command
    from currant.cli._options import StartOptions
    from currant.cli._prepare.stack_place import StackPlace
    from currant.config import Config
    from currant.hosts import Hosts

__all__ = ["config_files", "config_to_start", "prepare_start", "project_folder", "read_config"]

SAME_NAME = (
    "color",
    "cwd",
    "grace",
    "group",
    "idle_timeout",
    "json",
    "kill_mode",
    "kill_others_on",
    "leftovers",
    "log_dir",
    "log_size",
    "max_output",
    "merge",
    "prefix",
    "prefix_length",
    "raw",
    "stdin",
    "success",
    "summary",
    "timings",
    "timestamps",
)
"""The options that a configuration has under the same name."""

RESTART = ("restart", "max_restarts", "restart_delay", "restart_factor")

ONLY_PROCFILE: Mapping[str, str] = {
    "formation": "set replicas in the configuration",
    "concurrency": "set replicas in the configuration",
    "port": "set PORT in a table env of the configuration",
}
"""The options that only Procfiles have, and advice."""


def config_files(files: Sequence[str]) -> list[str] | None:
    """Return the files of the configuration to read; None: read Procfiles.

    Args:
        files: the files that the command line names.

    Raises:
        ConfigError: a file that was found cannot be used.
    """
    if files:
        return list(files) if any(map(is_toml, files)) else None
    found = find_config()
    return None if found is None else [found]


def read_config(
    files: Sequence[str], env: str | None, settings: Mapping[str, object] | None = None
) -> Config:
    """Read a configuration.

    Args:
        files: the files of the configuration.
        env: files of variables, separated by commas; None: as the configuration says.
        settings: values that replace the values at the top level.

    Raises:
        CurrantError: a file is wrong.
    """
    env_files = None if env is None else [path.strip() for path in env.split(",")]
    return load(files, env_files=env_files, settings=settings)


def project_folder(files: Sequence[str]) -> str | None:
    """Return the folder of the configuration that is found; None: the current folder.

    Args:
        files: the files that the command line names.

    Raises:
        CommandError: the current folder was deleted.
    """
    try:
        found = None if files else find_config()
    except ConfigError:  # `prepare_start` reports it.
        return None
    return None if found is None else os.path.dirname(os.path.abspath(found))


def prepare_start(
    names: Sequence[str],
    options: StartOptions,
    given: Collection[str],
    stack: StackPlace | None = None,
) -> Prepared:
    """Return a Runner of the commands that ``currant start`` starts.

    Args:
        names: the commands or process types to start; empty: all.
        options: the options.
        given: the names of the options that the command line gives.
        stack: the socket, the history and the log of the stack; None: no clients.

    Raises:
        CurrantError: a file is wrong, or the options do not fit.
        ValueError: the prefix is not a valid template.
    """
    config = config_to_start(options, given)
    if config is None:
        return runner_from_procfile(names, options, stack)

    def read_again() -> Config:
        again = config_to_start(options, given)
        if again is None:
            raise CommandError(f"{os.path.abspath(config.sources[0])}: the configuration is gone")
        return again

    return _runner_from_config(config, names, options, stack, read_again)


def config_to_start(options: StartOptions, given: Collection[str]) -> Config | None:
    """Return the configuration with the options that the command line gives; None: Procfiles.

    Args:
        options: the options.
        given: the names of the options that the command line gives.

    Raises:
        CurrantError: the configuration is wrong, or the options do not fit.
    """
    files = config_files(options["files"])
    if files is None:
        if options["profile"]:
            raise CommandError("--profile needs a configuration, and there are only Procfiles")
        return None
    for option, instead in ONLY_PROCFILE.items():
        if option in given:
            raise CommandError(f"--{option} is for Procfiles; {instead}")
    return read_config(files, options["env"], _settings_of(options, given))


def _settings_of(options: StartOptions, given: Collection[str]) -> dict[str, Any]:
    """Return the options of the command line as the top level of a configuration."""
    values = cast("Mapping[str, Any]", options)
    settings = {name: values[name] for name in SAME_NAME if name in given}
    if any(name in given for name in RESTART):
        settings["restart"] = _as_table(restart_policy(options))
    if "stop_signal" in given:
        settings["stop_signal"] = int(options["stop_signal"])
    if "wrap" in given:
        settings["wrap"] = list(options["wrap"])
    if "cgroup" in given:
        settings["cgroup"] = {"yes": True, "no": False}.get(options["cgroup"], "auto")
    if "" in options["quiet_processes"]:
        settings["quiet"] = True
    return settings


def _as_table(policy: RestartPolicy) -> dict[str, Any]:
    """Return a policy as a configuration writes it, without default values."""
    default = RestartPolicy(policy.when)
    changed = {
        name: value for name, value in asdict(policy).items() if value != getattr(default, name)
    }
    return {"when": policy.when, **changed}


def _runner_from_config(
    config: Config,
    names: Sequence[str],
    options: StartOptions,
    stack: StackPlace | None,
    read_again: Callable[[], Config],
) -> Prepared:
    """Return a Runner for commands of a configuration."""
    merged: dict[str, Any] = {**options, **config.display}
    options = cast("StartOptions", merged)
    hosts = build_hosts(options, config.folder)
    checked_cwd(options, hosts)

    def commands_of(config: Config, also: Collection[str] = ()) -> Sequence[Command]:
        selected = config.select(names, options["profile"], also)
        return on_hosts(_for_place(selected, config, hosts), options, hosts)

    commands = commands_of(config)
    hidden = _hidden(commands, config, options)
    fit = output_fit(commands, config.env, options, hidden)
    flush = flush_after(options, len(commands))

    def prepare(command: Command) -> Command:
        fitted = fit(command)
        return replace(fitted, flush_after=flush) if fitted.flush_after == "auto" else fitted

    prepared = build_runner(
        list(map(prepare, commands)),
        options,
        hidden,
        hosts,
        policies=config.runner,
        quiet=config.display.get("quiet", False),
        texts=START_TEXTS,
        stack=stack,
    )
    if stack is not None:
        server = stack.server(
            commands,
            lambda also: commands_of(read_again(), also),
            prepare,
            lambda: [command.name for command in read_again().commands],
        )
        prepared = prepared._replace(server=server)
    return prepared._replace(options=options)


def _for_place(
    commands: Sequence[Command], config: Config, hosts: Hosts | None
) -> Sequence[Command]:
    """Return the commands as they run on hosts, which do not have the folder of the project.

    A folder in the project becomes relative: on a host, to the folder in which commands begin.
    """
    if hosts is None or not config.folder:
        return commands
    return [replace(each, cwd=_relative(each.cwd, config.folder)) for each in commands]


def _relative(cwd: str | None, project: str) -> str | None:
    """Return a folder relative to that of the project; None: the latter; any other folder stays."""
    if cwd is None or cwd == project:
        return None
    return cwd.removeprefix(f"{project}/")


def _hidden(commands: Sequence[Command], config: Config, options: StartOptions) -> set[str]:
    """Return the names of the commands and replicas with hidden output."""
    shown = with_replicas(commands)
    names = [command.name for command in config.commands]
    hide = {"--hide": options["hide"], "--quiet": ",".join(options["quiet_processes"])}
    hidden = select_hidden(shown, hide, names)
    for name in config.hidden:
        hidden |= select_hidden(shown, {"hidden": name}, names)
    return hidden
