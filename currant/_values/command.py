"""What to run: `Command`, a value that is checked when it is built.

Pure: nothing here looks at the file system or the environment (whether a program exists is the
launcher's question).  All that ``execve`` would refuse later (a NUL byte, a name with ``=``, text
that has no bytes) is refused here, in the frame of whoever wrote it, since each event loop reports
it differently and some not at all.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import KW_ONLY, dataclass, field, fields
from functools import partial
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
from currant._values.launch_spec import Pty
from currant._values.policies import KillOthersOn, check_policies
from currant._values.probe import Probe

if TYPE_CHECKING:
    from currant._values.restart import RestartPolicy, RestartWhen

__all__ = [
    "Command",
    "CommandLike",
    "CommandOptions",
    "Condition",
    "DefaultName",
    "as_command",
    "grace_of",
    "has_input",
    "name_of",
    "needs_of",
    "with_grace",
    "with_name",
    "with_pty",
]


Condition: TypeAlias = Literal["ready", "started", "succeeded", "ended"]

After: TypeAlias = "str | Iterable[str] | Mapping[str, Condition | None]"


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
    misses: int
    after: After
    timeout: float | None
    replicas: int
    color: str | None


class DefaultName(str):
    """A command's name that nobody gave: a Runner may number it, and it follows `argv`."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, repr=False)
class Command:
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
        misses: after so many misses of `alive` in a row, the attempt has failed.
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

    argv: Sequence[StrOrPath]
    _: KW_ONLY
    name: str | None = None
    cwd: StrOrPath | None = None
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    inherit_env: bool = True
    stderr: Literal["separate", "stdout"] = "separate"
    stdin: bytes | int | PathLike[str] | None = None
    pty: bool | Pty = False
    success_codes: Collection[int] = (0,)
    capture: bool | int | None = None
    restart: RestartWhen | RestartPolicy | None = None
    kill_others_on: KillOthersOn | None = None
    stop_signal: int = SIGTERM
    grace: float | None = None
    ready: Probe | None = None
    alive: Probe | None = None
    misses: int = 3
    after: After = ()
    timeout: float | None = None
    replicas: int = 1
    color: str | None = None

    def __post_init__(self) -> None:
        self._set("argv", _checked_argv(self.argv))
        if self.name is None or isinstance(self.name, DefaultName):
            program = os.fspath(self.argv[0])
            self._set("name", DefaultName(PurePath(program).name or program))
        else:
            check_name(self.name)
        try:
            self._check_options()
        except CommandError as error:
            raise CommandError(f"command {self.name!r}: {error}") from None

    def _set(self, name: str, value: object) -> None:
        """Set a field: a frozen value normalises its own, once, and nothing else may do so."""
        object.__setattr__(self, name, value)

    def _check_options(self) -> None:
        if self.cwd is not None:
            self._set("cwd", checked_path("cwd", self.cwd))
        self._set("env", checked_env(self.env))
        if self.stderr not in ("separate", "stdout"):
            raise CommandError(f"stderr must be 'separate' or 'stdout', not {self.stderr!r}")
        check_flag("inherit_env", self.inherit_env)
        self._set("stdin", _checked_stdin(self.stdin))
        self._set("pty", _checked_pty(self.pty))
        if self.pty and isinstance(self.stdin, PathLike):
            raise CommandError(
                f"stdin cannot be a file where pty is set: the terminal is the input; "
                f"not {self.stdin!r}"
            )
        self._set("success_codes", checked_codes(self.success_codes))
        self._set("stop_signal", checked_signal("stop_signal", self.stop_signal))
        check_policies(self.restart, self.kill_others_on, self.grace, self.capture)
        _check_probes(self.ready, self.alive)
        if self.ready is not None and (self.pty or self.stderr == "stdout"):
            _check_seeks_nothing_on_stderr(self.ready)
        check_count("misses", self.misses)
        self._set("after", _checked_after(self.after))
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
        for spec in fields(self)[1:]:
            value = getattr(self, spec.name)
            # No values of variables and no input: they may be secrets, and a repr ends up in logs.
            if spec.name == "after":
                shown += [f"after={dict(value)}"] if value else []
            elif spec.name == "env":
                shown += [f"env={sorted(value)}"] if value else []
            elif spec.name == "stdin" and isinstance(value, bytes):
                shown.append(f"stdin=<{len(value)} bytes>")
            elif value != spec.default and not isinstance(value, DefaultName):
                shown.append(f"{spec.name}={value!r}")
        return f"Command({', '.join(shown)})"

    def __str__(self) -> str:
        return shlex.join(os.fspath(word) for word in self.argv)

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


def name_of(command: Command) -> str:
    """Return the command's name, which every `Command` has once it is built."""
    assert command.name is not None
    return command.name


def grace_of(command: Command) -> float:
    """Return the command's grace, which it has once it is in a Runner (`with_grace`)."""
    assert command.grace is not None
    return command.grace


def needs_of(command: Command) -> Mapping[str, Condition | None]:
    """Return what the command waits for, by the names of the other commands."""
    return cast("Mapping[str, Condition | None]", command.after)


def has_input(command: Command) -> bool:
    """Tell whether we write to the command's stdin: to a pipe, or to its terminal."""
    return bool(command.pty) or isinstance(command.stdin, (bytes, int))


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
    for name in _FIELDS:
        value = changes[name] if name in changes else getattr(command, name)
        object.__setattr__(copied, name, value)
    return copied


_FIELDS = tuple(spec.name for spec in fields(Command))


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
