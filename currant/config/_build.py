"""Turn the values of a configuration, which have the right types, into commands and options."""

from __future__ import annotations

import os
import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from currant._values.command import Command
from currant._values.dependencies import loops_in
from currant._values.errors import suggestion
from currant._values.launch_spec import SILENT
from currant._values.plan import Plan
from currant._values.policies import Policies
from currant._values.restart import as_restart_policy
from currant._values.shell_syntax import with_exec
from currant._values.success import selected_by_success
from currant.config._config import Config
from currant.config._env_files import read_env_files
from currant.config._options import converted

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from currant.config._documents import Document
    from currant.config._problems import Key, Problem

__all__ = ["RUNNER_KEYS", "build_config"]

RUNNER_KEYS = (
    "restart",
    "kill_others_on",
    "grace",
    "max_processes",
    "timeout",
    "capture",
    "cgroup",
    "kill_mode",
    "leftovers",
    "wrap",
)
"""The keys at the top level that are options of the Runner."""

DISPLAY_KEYS = (
    "prefix",
    "prefix_length",
    "timestamps",
    "raw",
    "group",
    "merge",
    "color",
    "json",
    "quiet",
    "log_dir",
    "log_size",
    "summary",
    "timings",
    "success",
)
"""The keys at the top level that are options of the command line."""

COMMAND_KEYS = ("cwd", "stop_signal", "idle_timeout", "max_output", "stdin")
"""The keys at the top level that are defaults for each command."""

OWN_KEYS = ("command", "env", "env_file", "profiles", "hidden")
"""The keys of a command that are not options of `Command`."""

DEFAULT_GRACE = 5.0

_NUMBER = re.compile(r"[1-9][0-9]{0,4}")
"""The number of a replica."""


def build_config(
    values: Mapping[str, Any],
    document: Document,
    variables: Mapping[str, str],
    sources: Sequence[str],
    problems: list[Problem],
) -> Config:
    """Return the commands and options that the values of a configuration describe.

    Args:
        values: the values of the files, of the right types.
        document: the files, for the place of each value.
        variables: the variables from files, for all commands.
        sources: the paths of the files.
        problems: a list that gets all mistakes; if there is one, do not use the result.
    """
    return _Builder(values, document, variables, problems).build(sources)


class _Builder:
    """Builds a configuration, and goes on after a mistake."""

    def __init__(
        self,
        values: Mapping[str, Any],
        document: Document,
        variables: Mapping[str, str],
        problems: list[Problem],
    ) -> None:
        self._values = values
        self._document = document
        self._env = {**variables, **_texts(values.get("env", {}))}
        self._problems = problems

    def build(self, sources: Sequence[str]) -> Config:
        tables: Mapping[str, Mapping[str, Any]] = self._values["commands"]
        if not self._document.data["commands"]:
            self._problem((), "defines no command; add a table [commands]")
        runner = self._options(RUNNER_KEYS)
        display = self._options(DISPLAY_KEYS)
        commands = {name: self._command(name, table) for name, table in tables.items()}
        self._check_names(tables)
        self._check_dependencies(commands)
        if not self._problems:
            self._check_together([each for each in commands.values() if each], runner)
        profiles: dict[str, tuple[str, ...]] = {}
        for name, table in tables.items():
            for profile in table.get("profiles", ()):
                profiles[profile] = (*profiles.get(profile, ()), name)
        return Config(
            values=MappingProxyType(dict(self._values)),
            commands=tuple(each for each in commands.values() if each),
            runner=MappingProxyType(runner),
            display=MappingProxyType(display),
            env=MappingProxyType(self._env),
            hidden=frozenset(name for name, table in tables.items() if table.get("hidden")),
            profiles=MappingProxyType(profiles),
            sources=tuple(sources),
            folder=os.path.dirname(sources[0]),
        )

    def _problem(self, key: Key, text: str) -> None:
        problem = self._document.problem(key, text)
        if problem not in self._problems:  # A wrong default is found for each command.
            self._problems.append(problem)

    def _options(self, keys: Collection[str]) -> dict[str, Any]:
        """Return the options, of those in `keys`, that the top level sets."""
        return {
            key: self._option((key,), value) for key, value in self._values.items() if key in keys
        }

    # ---- commands ----

    def _command(self, name: str, table: Mapping[str, Any]) -> Command | None:
        """Return a command; None if it is wrong."""
        before = len(self._problems)
        key: Key = ("commands", name)
        options = self._defaults(table)
        for option, value in table.items():
            if option not in OWN_KEYS:
                options[option] = self._option((*key, option), value)
        options.setdefault("cwd", os.path.dirname(self._document.place_of(()).file) or None)
        options.setdefault("stdin", None if options.get("pty") else SILENT)
        options["env"] = {
            **self._env,
            **self._file_variables((*key, "env_file"), table.get("env_file", ())),
            **_texts(table.get("env", {})),
        }
        if len(self._problems) > before:
            return None
        build = _builder(table["command"])
        try:
            return build(name=name, **options)
        except ValueError as error:
            self._explain(error, build, name, options)
            return None

    def _explain(
        self, error: ValueError, build: Callable[..., Command], name: str, options: dict[str, Any]
    ) -> None:
        """Find out which options of a command are wrong."""
        key: Key = ("commands", name)
        found = False
        try:
            build(name=name)
        except ValueError as only:
            self._problem((*key, "command"), _without_name(only, name))
            return
        for option, value in options.items():
            try:
                build(name=name, **{option: value})
            except ValueError as only:
                is_own = option in self._values["commands"][name]
                self._problem((*key, option) if is_own else (option,), _without_name(only, name))
                found = True
        if not found:  # Each option is right by itself, but two of them do not go together.
            self._problem(key, _without_name(error, name))

    def _defaults(self, table: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options that the top level has for all commands."""
        defaults = self._options([key for key in COMMAND_KEYS if key not in table])
        if "stdout" in table:  # The output does not come to currant.
            defaults.pop("idle_timeout", None)
            defaults.pop("max_output", None)
        return defaults

    def _file_variables(self, key: Key, files: str | Sequence[str]) -> dict[str, str]:
        """Return the variables of the files that a command names."""
        names = [files] if isinstance(files, str) else files
        try:
            folder = self._document.place_of(key).folder
            return read_env_files(os.path.join(folder, name) for name in names)
        except ValueError as error:  # also for a NUL byte in a path
            self._problem(key, str(error))
            return {}

    def _option(self, key: Key, value: Any) -> Any:  # noqa: ANN401 - each option has its type
        """Return the value of an option as the library takes it; None if it is wrong."""
        try:
            return converted(str(key[-1]), value, self._document.place_of(key).folder)
        except ValueError as error:
            self._problem(key, _without_name(error, ""))
            return None

    # ---- all commands together ----

    def _check_names(self, tables: Mapping[str, Mapping[str, Any]]) -> None:
        for name in tables:
            if _is_replica(name, tables):
                base = name.rpartition(".")[0]
                text = f"a replica of {base!r} has this name, too; give one of them another"
                self._problem(("commands", name), text)

    def _check_dependencies(self, commands: Mapping[str, Command | None]) -> None:
        tables = self._values["commands"]
        names = list(self._document.data["commands"])  # also of commands with other mistakes
        for option, what, link in (
            ("after", "wait for", " after "),
            ("restart_with", "restart with", " with "),
        ):
            named = {name: self._check_named(name, option, names) for name in commands}
            graph = {name: [each for each in named[name] if each in tables] for name in named}
            for loop in loops_in(graph):
                text = f"commands {what} one another: {link.join(map(repr, loop))}"
                self._problem(("commands", loop[0], option), text)

    def _check_named(self, name: str, option: str, known: Sequence[str]) -> list[str]:
        """Check that the commands that an option names exist, and return their names."""
        tables = self._values["commands"]
        key = ("commands", name, option)
        given = tables[name].get(option, ())
        others = [given] if isinstance(given, str) else list(given)
        for index, other in enumerate(others):
            if other not in known and not _is_replica(other, tables):
                at = key if isinstance(given, str) else (*key, other)
                at = (*key, index) if isinstance(given, list) else at
                self._problem(at, f"there is no command {other!r}{suggestion(other, known)}")
        return others

    def _check_together(self, commands: Sequence[Command], runner: Mapping[str, Any]) -> None:
        """Make the checks of the Runner, such as for a wait for a success that cannot come."""
        policies = Policies(
            restart=as_restart_policy(runner.get("restart", "never")),
            kill_others_on=runner.get("kill_others_on"),
            grace=runner.get("grace", DEFAULT_GRACE),
            capture=runner.get("capture", False),
            kill_mode=runner.get("kill_mode", "group"),
            leftovers=runner.get("leftovers", "stop"),
        )
        try:
            plan = Plan(commands, policies)
            for command in plan.commands.values():
                plan.policies_of(command)
            self._check_success(tuple(plan.commands))
        except ValueError as error:
            named = next((each for each in commands if f"{each.name!r}: " in str(error)), None)
            if named is None:
                self._problem((), str(error))
            else:
                self._problem(("commands", named.name), _without_name(error, named.name))

    def _check_success(self, names: Sequence[str]) -> None:
        """Check that the command exists whose failure counts."""
        success = self._values.get("success", "all")
        on_host = success.rpartition("@")[0]  # of "web@a", a name that `--each` gives
        if all(selected_by_success(each, names) is None for each in (success, on_host)):
            name = success.removeprefix("!")
            text = f"there is no command {name!r}{suggestion(name, names)}"
            self._problem(("success",), text)


def _builder(command: str | Sequence[str]) -> Callable[..., Command]:
    """Return the function that builds a command of a shell line, or of words."""

    def build(**options: Any) -> Command:  # noqa: ANN401 - as Command
        if isinstance(command, str):
            return Command.shell(with_exec(command), **options)
        return Command(command, **options)

    return build


def _texts(variables: Mapping[str, str | int]) -> dict[str, str]:
    return {name: str(value) for name, value in variables.items()}


def _is_replica(name: str, tables: Mapping[str, Mapping[str, Any]]) -> bool:
    """Return whether a name is that of a replica, such as ``web.2``."""
    base, _, number = name.rpartition(".")
    count = tables.get(base, {}).get("replicas", 1)
    return count > 1 and _NUMBER.fullmatch(number) is not None and int(number) <= count


def _without_name(error: ValueError | str, name: str) -> str:
    return str(error).removeprefix(f"command {name!r}: ")
