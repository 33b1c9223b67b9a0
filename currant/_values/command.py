"""What to run: `Command`, a value that is checked when it is built.

Pure: nothing here looks at the file system or the environment (whether a program exists is the
launcher's question).  All that ``execve`` would refuse later (a NUL byte, a name with ``=``, text
that has no bytes) is refused here, in the frame of whoever wrote it, since each event loop reports
it differently and some not at all.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields
from functools import partial
from inspect import Parameter, signature
from os import PathLike
from pathlib import Path, PurePath
from signal import SIGTERM
from subprocess import PIPE
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeAlias, TypedDict, Unpack, cast, get_args

from currant._values.checks import (
    StrOrPath,
    check_color,
    check_count,
    check_flag,
    check_is_text,
    check_name,
    check_seconds,
    checked_codes,
    checked_env,
    checked_path,
    checked_signal,
)
from currant._values.errors import CommandError, CommandParseError, EmptyCommandError
from currant._values.launch_spec import LaunchSpec, Pty
from currant._values.policies import KillOthersOn, check_policies
from currant._values.probe import Probe

if TYPE_CHECKING:
    from currant._values.restart import RestartPolicy, RestartWhen

__all__ = [
    "PIPE",
    "Command",
    "CommandLike",
    "CommandOptions",
    "Condition",
    "DefaultName",
    "as_command",
    "with_grace",
    "with_name",
    "with_pty",
]


Condition: TypeAlias = Literal["ready", "started", "succeeded", "ended"]

After: TypeAlias = "str | Iterable[str] | Mapping[str, Condition | None]"


_NO_VARIABLES: Mapping[str, str] = MappingProxyType({})


class CommandOptions(TypedDict, total=False):
    """The keyword arguments of `Command`, for `Command.parse` and `Command.shell`."""

    name: str | None
    cwd: StrOrPath | None
    env: Mapping[str, str]
    inherit_env: bool
    stderr: Literal["separate", "stdout"]
    stdin: bytes | int | PathLike[str] | None
    pty: bool | Pty
    success_codes: Collection[int]
    capture: bool | int | None
    restart: RestartWhen | RestartPolicy | None
    kill_others_on: KillOthersOn | None
    stop_signal: int
    grace: float | None
    ready: Probe | None
    alive: Probe | None
    failure_threshold: int
    after: After
    timeout: float | None
    replicas: int
    color: str | None


class DefaultName(str):
    """A command's name that nobody gave: a Runner may number it, and it follows `argv`."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Command(LaunchSpec):
    r"""One command to run: a program with its arguments, and how to treat it.

    A frozen value: it compares by its fields, can be pickled, and is checked when built.  Where a
    policy (`restart`, `kill_others_on`, `grace`, `capture`) is None, the Runner's holds.

    Attributes:
        argv: the program and its arguments; paths become text.  No shell is involved.
        name: what the command is called in messages and results; the last path part of ``argv[0]``
            where it is not given.
        cwd: the working directory; None: the host's.
        env: variables set for the command, over those it inherits.
        inherit_env: whether it inherits the host's variables.
        stderr: ``"separate"``, or ``"stdout"`` to have both as one stream, in the order written.
        stdin: None: ``/dev/null``; bytes: these, then end-of-file; `PIPE`: see `Job.send`; a path
            (a `pathlib.Path`, say, no text): that file, opened at each start; a relative one is
            looked for from `cwd`.  A named pipe is refused, since opening one may wait for ever.
        pty: whether its stdin, stdout and stderr are one pseudo-terminal, which is its controlling
            terminal: False, True (24 rows, 80 columns) or a `Pty` of another size.  Programs then
            write line by line, in colour, and ask for passwords.  A question comes with the rest of
            its line, when it is answered.  All output is one stream, "stdout", and its lines end
            with ``\r\n``.  What is sent (`Job.send`), and bytes given as `stdin`, is as if typed:
            it is echoed, ``b"\x03"`` interrupts, and a program that reads line by line gets no
            more than 4095 bytes of a line.  The variable TERM is ``xterm-256color`` where the
            command would have none.
        success_codes: the exit codes that count as success.
        capture: whether the `Result` carries the output: False, True, or how many last bytes of
            each stream.
        restart: ``"never"``, ``"on-failure"``, ``"always"`` or a `RestartPolicy`.
        kill_others_on: ``"failure"``, ``"success"`` or ``"exit"``: the final end of this command
            that stops all commands of the Runner.
        stop_signal: what asks the command's process group to stop.
        grace: seconds its group has to end after being asked; then SIGKILL.
        ready: a probe of `currant.ready` that tells that it is ready; None: it is, once it runs.
            Who ends before has failed, whatever the exit code.
        alive: a probe that is asked again and again once it is ready.
        failure_threshold: after so many failures of `alive` in a row, the attempt has failed.
        after: the commands that it waits for, before it is started: a mapping from their names to
            ``"started"``, ``"ready"``, ``"succeeded"`` or ``"ended"``; a name alone means ready
            where that command has a probe, else started.
        timeout: seconds that each attempt may take; then it is stopped, and has failed.
        replicas: how many of it are run; ``web`` becomes ``web.1`` to ``web.N``, and each finds its
            number in the variable ``CURRANT_REPLICA``.
        color: how a console shows its name: a style of the package rich, such as ``"cyan"``,
            ``"bold #ff8800"`` or ``"white on blue"``; None: the console chooses.

    Raises:
        EmptyCommandError: there is no program in `argv`.
        CommandError: anything else about the command is wrong.
    """

    success_codes: tuple[int, ...]
    capture: bool | int | None
    restart: RestartWhen | RestartPolicy | None
    kill_others_on: KillOthersOn | None
    ready: Probe | None
    alive: Probe | None
    failure_threshold: int
    after: Mapping[str, Condition | None]
    timeout: float | None
    replicas: int
    color: str | None

    # Written by hand: what may be given is wider than what a built command holds.
    def __init__(
        self,
        argv: Sequence[StrOrPath],
        *,
        name: str | None = None,
        cwd: StrOrPath | None = None,
        env: Mapping[str, str] = _NO_VARIABLES,
        inherit_env: bool = True,
        stderr: Literal["separate", "stdout"] = "separate",
        stdin: bytes | int | PathLike[str] | None = None,
        pty: bool | Pty = False,
        success_codes: Collection[int] = (0,),
        capture: bool | int | None = None,
        restart: RestartWhen | RestartPolicy | None = None,
        kill_others_on: KillOthersOn | None = None,
        stop_signal: int = SIGTERM,
        grace: float | None = None,
        ready: Probe | None = None,
        alive: Probe | None = None,
        failure_threshold: int = 3,
        after: After = (),
        timeout: float | None = None,
        replicas: int = 1,
        color: str | None = None,
    ) -> None:
        words = _checked_argv(argv)
        if name is None or isinstance(name, DefaultName):
            name = DefaultName(PurePath(words[0]).name or words[0])
        else:
            check_name(name)
        try:
            _set_fields(
                self,
                argv=words,
                name=name,
                cwd=None if cwd is None else checked_path("cwd", cwd),
                env=checked_env(env),
                inherit_env=inherit_env,
                stderr=stderr,
                stdin=_checked_stdin(stdin),
                pty=_checked_pty(pty),
                success_codes=checked_codes(success_codes),
                capture=capture,
                restart=restart,
                kill_others_on=kill_others_on,
                stop_signal=checked_signal("stop_signal", stop_signal),
                grace=grace,
                ready=ready,
                alive=alive,
                failure_threshold=failure_threshold,
                after=_checked_after(after),
                timeout=timeout,
                replicas=replicas,
                color=color,
            )
            self._check_options()
        except CommandError as error:
            raise CommandError(f"command {name!r}: {error}") from None

    def _check_options(self) -> None:
        if self.stderr not in ("separate", "stdout"):
            raise CommandError(f"stderr must be 'separate' or 'stdout', not {self.stderr!r}")
        check_flag("inherit_env", self.inherit_env)
        if self.pty and isinstance(self.stdin, Path):
            raise CommandError(
                f"stdin cannot be a file where pty is set: the terminal is the input; "
                f"not {self.stdin!r}"
            )
        check_policies(self.restart, self.kill_others_on, self.grace, self.capture)
        _check_probes(self.ready, self.alive)
        if self.ready is not None and (self.pty or self.stderr == "stdout"):
            _check_seeks_nothing_on_stderr(self.ready)
        check_count("failure_threshold", self.failure_threshold)
        check_seconds("timeout", self.timeout)
        check_count("replicas", self.replicas)
        check_color(self.color)

    @classmethod
    def parse(cls, text: str, **options: Unpack[CommandOptions]) -> Command:
        """Build a command from one line, split by the shell's rules of quoting, without a shell.

        Args:
            text: such as ``"ls -la 'a b'"``; variables, pipes and patterns mean nothing here.
            options: as for `Command`.

        Raises:
            CommandParseError: a quotation is not closed; it carries the text.
            EmptyCommandError: there is nothing in the text.
        """
        check_is_text(text)
        try:
            argv = shlex.split(text)
        except ValueError as error:
            raise CommandParseError(text, str(error)) from error
        return cls(argv, **options)

    @classmethod
    def shell(cls, text: str, **options: Unpack[CommandOptions]) -> Command:
        """Build a command that has ``/bin/sh -c`` run `text`: pipes, variables, loops.

        Args:
            text: what the shell is to run.
            options: as for `Command`.

        Raises:
            EmptyCommandError: there is nothing in the text.
        """
        check_is_text(text)
        if not text.strip():
            raise EmptyCommandError("a shell command needs a text to run, got a blank one")
        return cls(["/bin/sh", "-c", text], **options)

    def __repr__(self) -> str:
        shown = [repr(list(self.argv))]
        for name, default in _DEFAULTS.items():
            value = getattr(self, name)
            # No values of variables and no input: they may be secrets, and a repr ends up in logs.
            if name == "after":
                shown += [f"after={dict(value)}"] if value else []
            elif name == "env":
                shown += [f"env={sorted(value)}"] if value else []
            elif name == "stdin" and isinstance(value, bytes):
                shown.append(f"stdin=<{len(value)} bytes>")
            elif value != default and not isinstance(value, DefaultName):
                shown.append(f"{name}={value!r}")
        return f"Command({', '.join(shown)})"

    def __str__(self) -> str:
        return shlex.join(self.argv)

    def __hash__(self) -> int:
        return hash((self.argv, self.name, self.cwd))

    def __reduce__(self) -> tuple[partial[Command], tuple[()]]:
        values = {spec.name: getattr(self, spec.name) for spec in fields(self)}
        plain = {name: dict(values[name]) for name in ("env", "after")}
        return partial(type(self), **values | plain), ()


CommandLike: TypeAlias = Command | str | Sequence[StrOrPath]
"""What a Runner takes for a command; a `str` is read as by `Command.parse`."""


def as_command(value: CommandLike) -> Command:
    """Return `value` as a `Command`."""
    if isinstance(value, Command):
        return value
    return Command.parse(value) if isinstance(value, str) else Command(value)


def with_grace(command: Command, grace: float) -> Command:
    """Return `command` with the grace that it has in its Runner."""
    return _copied(command, grace=grace)


def with_name(command: Command, name: str) -> Command:
    """Return `command` under another name."""
    return _copied(command, name=name)


def with_pty(command: Command, pty: Pty) -> Command:
    """Return `command` with a terminal of another size."""
    return _copied(command, pty=pty)


def _copied(command: Command, **changes: object) -> Command:
    """Return a copy with some other values, which are known to be good.

    Without checking again what was checked: 5 µs against the 15 µs of `dataclasses.replace`.
    """
    copied = object.__new__(Command)
    _set_fields(copied, **{name: getattr(command, name) for name in _FIELDS} | changes)
    return copied


def _set_fields(command: Command, **values: object) -> None:
    """Set the fields of a frozen value that is only being made."""
    for name, value in values.items():
        object.__setattr__(command, name, value)


_FIELDS = tuple(spec.name for spec in fields(Command))

_DEFAULTS: Mapping[str, object] = {
    parameter.name: parameter.default
    for parameter in signature(Command).parameters.values()
    if parameter.default is not Parameter.empty
}
"""The default of each option of a command, by its name."""


def _check_probes(ready: object, alive: object) -> None:
    for what, probe in (("ready", ready), ("alive", alive)):
        if not (probe is None or isinstance(probe, Probe)):
            raise CommandError(f"{what} must be a probe of currant.ready, not {probe!r}")
    if isinstance(alive, Probe) and not alive.repeats:
        raise CommandError(f"alive cannot be {alive!r}: it happens once, and tells nothing later")


def _check_seeks_nothing_on_stderr(probe: Probe) -> None:
    if any(sought.stream == "stderr" for sought in probe.line_probes):
        raise CommandError("ready: a line on stderr cannot come: that goes where stdout does")


def _checked_after(after: object) -> Mapping[str, Condition | None]:
    names: object = [after] if isinstance(after, str) else after
    if not isinstance(names, Iterable):
        raise CommandError(f"after must be names of commands, not {after!r}")
    if isinstance(names, Mapping):
        needs = dict(cast("Mapping[object, object]", names))
    else:
        given = list(cast("Iterable[object]", names))
        if not all(isinstance(name, str) for name in given):
            raise CommandError(f"after must be names of commands, not {after!r}")
        needs = dict.fromkeys(given)
    for name, condition in needs.items():
        if not isinstance(name, str) or not name:
            raise CommandError(f"after must name commands, not {name!r}")
        if condition is not None and condition not in get_args(Condition):
            raise CommandError(
                f"after: {name!r} must be 'ready', 'started', 'succeeded' or 'ended', "
                f"not {condition!r}"
            )
    return MappingProxyType(cast("dict[str, Condition | None]", needs))


def _checked_argv(argv: object) -> tuple[str, ...]:
    # No mapping and no set either: they have words, but not in an order that is meant.
    unordered = isinstance(argv, (Mapping, AbstractSet))
    if isinstance(argv, (str, bytes)) or unordered or not isinstance(argv, Iterable):
        raise CommandError(
            f"argv must be a sequence of words, not {argv!r}; "
            "Command.parse splits a line, Command.shell has a shell run it"
        )
    given = cast("Iterable[object]", argv)
    words = tuple(checked_path("a word of argv", word) for word in given)
    if not words or not words[0]:
        raise EmptyCommandError
    return words


def _checked_stdin(stdin: object) -> object:
    if isinstance(stdin, str):
        raise CommandError(
            f"stdin must be None, bytes, PIPE or a path, not the text {stdin!r}; "
            "Path(...) names a file, b'...' is what the command reads"
        )
    if isinstance(stdin, PathLike):
        return Path(checked_path("stdin", cast("object", stdin)))
    is_pipe = isinstance(stdin, int) and stdin == PIPE
    if not (stdin is None or isinstance(stdin, bytes) or is_pipe):
        raise CommandError(f"stdin must be None, bytes, PIPE or a path, not {stdin!r}")
    return stdin


def _checked_pty(pty: object) -> Pty | Literal[False]:
    if not isinstance(pty, (bool, Pty)):
        raise CommandError(f"pty must be True, False or a Pty, not {pty!r}")
    return Pty() if pty is True else pty
