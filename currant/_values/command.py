"""`Command`: a program to run and how to treat it, checked when it is built.

Pure: nothing here reads the file system or the environment; the launcher looks up the program.
Everything that ``execve`` would refuse later (a NUL byte, a variable name with ``=``, text that
cannot be encoded) raises here, in the caller's frame: each event loop reports these mistakes
differently, and some do not report all of them.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import KW_ONLY, dataclass, field, fields, replace
from functools import partial
from inspect import Parameter, signature
from operator import attrgetter
from posixpath import basename
from signal import SIGTERM
from subprocess import PIPE
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, Unpack, cast

from currant._values.checks import (
    StrOrPath,
    check_account,
    check_count,
    check_delay,
    check_encodable,
    check_flag,
    check_seconds,
    check_str,
    checked_path,
    checked_signal,
    checked_words,
    naming,
)
from currant._values.emptied_files import check_own_files, is_emptied
from currant._values.errors import CommandError, CommandParseError, EmptyCommandError
from currant._values.launch_spec import (
    KillMode,
    LaunchSpec,
    Leftovers,
    Pty,
    Silent,
    check_portable,
    read_streams,
)
from currant._values.limits import Limits
from currant._values.lines import MAX_LINE
from currant._values.links import NO_NEEDS, checked_after, checked_names
from currant._values.listeners import checked_listeners
from currant._values.options import COMMAND_HINTS, explains_options
from currant._values.policies import KillOthersOn, Policies, check_policies
from currant._values.probe import Probe, check_probes, check_reads_lines, files_of
from currant._values.resources import NO_RESOURCES, checked_resources
from currant._values.shell_syntax import join_lines, join_words, why_shell
from currant._values.standard_files import (
    File,
    StderrWord,
    StdoutWord,
    checked_file,
    checked_stderr,
    checked_stdout,
)
from currant._values.terminal import check_terminal, check_terminal_is_kept, checked_pty
from currant._values.variables import NO_VARIABLES, checked_env
from currant._values.watch import Watch, checked_watch

if TYPE_CHECKING:
    from socket import socket

    from currant._values.capture import CaptureLike
    from currant._values.links import After, Condition
    from currant._values.restart import RestartPolicy, RestartWhen
    from currant._values.watch import WatchLike

__all__ = [
    "FLUSH_AFTER",
    "PIPE",
    "Command",
    "CommandLike",
    "CommandOptions",
    "DefaultName",
    "MapOptions",
    "ProcessOptions",
    "as_command",
    "check_is_plain",
    "check_name",
    "command_with",
    "flush_after_of",
    "single_command",
    "with_name",
    "with_policies",
    "with_pty",
    "with_stdin",
    "with_words",
]


FLUSH_AFTER = 0.1
"""The default `flush_after` of a `pty`, and of every command of the command line, in seconds."""


class MapOptions(TypedDict, total=False):
    """The keyword arguments of `Command` that `map` passes on."""

    name: str | None
    cwd: StrOrPath | None
    env: Mapping[str, str]
    inherit_env: bool
    stdout: File | StdoutWord
    stderr: File | StderrWord
    stdin: File | bytes | Silent | None
    pty: bool | Pty
    new_session: bool
    wrap: Sequence[StrOrPath] | None
    umask: int | None
    user: str | int | None
    group: str | int | None
    extra_groups: Sequence[str | int] | None
    limits: Limits | None
    nice: int
    listen: Sequence[socket]
    success_codes: Collection[int]
    restart: RestartWhen | RestartPolicy | None
    kill_others_on: KillOthersOn | None
    stop_command: CommandLike | None
    stop_signal: int | str
    kill_mode: KillMode | None
    leftovers: Leftovers | None
    host: str | None
    resources: Mapping[str, int] | None
    ready: Probe | None
    alive: Probe | None
    failure_threshold: int
    after: After
    idle_timeout: float | None
    max_output: int | None
    replicas: int
    color: str | None
    line_limit: int
    flush_after: float | Literal["auto"] | None


class ProcessOptions(MapOptions, total=False):
    """The keyword arguments of `Command` that `run_process` passes on."""

    grace: float | None


class CommandOptions(ProcessOptions, total=False):
    """The keyword arguments of `Command`, for `Command.parse` and `Command.shell`."""

    capture: CaptureLike | None
    timeout: float | None
    watch: WatchLike | None
    restart_with: str | Iterable[str]


class DefaultName(str):
    """A name that was derived from `argv`.

    A copy with another `argv` gets another name, and a Runner may add a number.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Command(LaunchSpec):
    r"""A program to run with its arguments, and how to treat it.

    Pass commands to a `Runner` or to `run`::

        import currant
        from currant import Command

        build = Command.shell("echo built > app", name="build", timeout=60)
        show = Command(["cat", "app"], after={"build": "succeeded"}, capture=True)
        results = currant.run(build, show)
        assert results["cat"].stdout == b"built\n"

    A command is frozen, compares by its fields and can be pickled.  `restart`, `kill_others_on`,
    `grace`, `kill_mode`, `leftovers`, `wrap` and `capture` are policies: None stands for the
    Runner's policy.

    Attributes:
        argv: the program and its arguments; a path becomes a str.  No shell is involved.
        name: the command's name in messages and results; the default is the last path component of
            ``argv[0]``.
        cwd: the working directory; None: this program's.
        env: variables to set, in addition to the inherited ones.
        inherit_env: whether the command inherits this program's variables.
        stdout: None: a pipe to currant, which reads the output; a path (`pathlib.Path` or another
            path-like object, not a str): a file, which is created if it is missing, and emptied at
            each start of an attempt; an open file or a descriptor, which the caller opens and
            closes; ``"inherit"``: the stdout of this program, descriptor 1.  Except for the pipe,
            currant sees none of the output: no message, no sink, no `capture`, no tail, no probe of
            its lines, no `max_output`, no `idle_timeout`.
        stderr: ``"separate"``: a pipe to currant; ``"stdout"``: the place of stdout, both in the
            order written; or a path, an open file, a descriptor or ``"inherit"`` (descriptor 2), as
            for `stdout`.
        stdin: None: ``/dev/null``; bytes: the input, followed by end-of-file; `PIPE`: see
            `Job.send`; a path: a file, which is opened at each start; an open file or a descriptor,
            which each start reads on from its present position.  A relative path, also that of
            `stdout` or `stderr`, starts at `cwd`.  The path of a named pipe is refused, because
            opening a named pipe may block forever.  A command with an open file cannot be pickled.
        pty: whether stdin, stdout and stderr are one pseudo-terminal, the controlling terminal of
            the command: False, True (24 rows, 80 columns) or a `Pty` of another size.  Programs
            then write line by line, use colors, and ask for passwords.  A prompt arrives after
            `flush_after`.  All output is one stream, "stdout", and its lines end with ``\r\n``.
            Input (`Job.send`, or `stdin` as bytes) acts as if typed: the terminal echoes it,
            ``b"\x03"`` interrupts, and a program that reads line by line gets at most 4095 bytes
            of a line.  The variable TERM is ``xterm-256color`` if the command would have none.
        new_session: whether the command begins a session, and so has no terminal but its `pty`.
            False: it stays in the session of the host program and keeps its terminal, for a program
            that talks to the user, with ``stdin=0, stdout="inherit", stderr="inherit"``.  It has a
            process group of its own in any case.  That group is in the background until the host
            program gives it the terminal with `os.tcsetpgrp`.
        wrap: words to put before `argv`: a program that changes something and then runs the
            program that follows, such as ``("nice", "-n", "5")`` or
            ``("bwrap", "--ro-bind", "/", "/", "--")``.  The first word is looked up before the
            start, as a program is; ``argv[0]`` is not, because a sandbox may have other files.  No
            shell is involved.
        umask: the permissions that new files do not get, such as ``0o077``, from 0 to 0o777; None:
            those of the host program.  The same holds for None as `user`, `group` and
            `extra_groups`.  A new file of `stdout` or `stderr` gets neither these permissions nor
            those that the umask of the host program takes away.
        user: the user to run as, by name or number.  The user brings their own groups, unless
            `group` or `extra_groups` says otherwise; variables such as HOME stay as they are.  A
            file of `stdin`, `stdout` or `stderr` is opened before, by the host program's user, to
            whom a new file belongs.  Only root, or a program with the capabilities CAP_SETUID and
            CAP_SETGID, can become another user.
        group: the group to run as, by name or number.
        extra_groups: the supplementary groups, by name or number; empty: none.
        limits: what each process of the command may use, as `Limits`; None: as much as the host
            program.  They are set before the program runs, by the program ``prlimit`` of Linux.
        nice: how much nicer than the host program the command is, -39 to 39: with a positive
            number it gives way to others.  A negative number needs a privilege.
        listen: listening sockets to hand over, as systemd does (``sd_listen_fds(3)``): the program
            finds them in the descriptors from 3 on, and the variables LISTEN_FDS and LISTEN_PID.
            The sockets stay open here, and belong to the caller: close them when the command has
            ended.  Such a command cannot be pickled, and compares its sockets by identity.
        success_codes: the exit codes that count as success.
        capture: the part of the output that the `Result` carries: False (nothing), True
            (everything), the number of last bytes of each stream, or a `Capture`.
        restart: ``"never"``, ``"on-failure"``, ``"always"`` or a `RestartPolicy`.
        kill_others_on: stop all commands of the Runner if the command has ended for good, by
            ``"failure"``, by ``"success"`` or, with ``"exit"``, in any way.  A command that is
            skipped, because of `after`, has ended by failure.
        stop_command: another command that stops this one, such as ``redis-cli shutdown``: a str for
            `Command.parse`, a sequence of words, or a `Command` of which only `argv`, `cwd`, `env`
            and `success_codes` may be set.  Its program is looked up on entry of the Runner.  At
            each stop it runs first, on the same host, with the working directory, the variables and
            the user of this command, and with its pid in the variable ``CURRANT_PID``; the output
            is discarded.  If it succeeds, currant waits for the exit of this command.  Both have
            half of the `grace` together.  After that, or as soon as the stop command fails, the
            `stop_signal` follows.  A second kill ends the stop command.  If the host program dies,
            the stop command does not run.
        stop_signal: the signal that requests the process group to stop: a `signal.Signals`, a
            number, or a name such as ``"TERM"``.
        grace: seconds between the request to stop and SIGKILL.
        kill_mode: the processes that are asked to stop: ``"group"``, the whole process group, or
            ``"mixed"``, the leader alone, for a parent that stops its workers itself (celery, a
            `ProcessPoolExecutor`).  SIGKILL goes to the whole group: after the grace, and with
            ``"mixed"`` as soon as the leader has exited.
        leftovers: what happens to the processes that the leader leaves behind in its group:
            ``"stop"``: they are stopped; ``"wait"``: the attempt lasts until they have exited, with
            their output, for a tool whose last child still writes; ``"leave"``: after a success
            they go on, and so do those that have left the group, for a tool that starts a daemon.
            A kill, a failure or the death of this program stops the group in any case.
        host: the name of the host to run on, for a launcher with hosts, such as
            `currant.hosts.Hosts`; None: the launcher chooses.  Any other launcher refuses such a
            command on entry of the Runner.
        resources: the amounts that the command takes of its host, such as ``{"gpus": 1}``.  The
            launcher waits until a host has so much left, and gives the amounts back when the
            command has ended.  It counts them, and does not enforce them.  Only for a launcher with
            hosts, as `host`.
        ready: a probe (see `currant.ready`): the command is ready if it succeeds; None: the command
            is ready as soon as it runs.  A command that exits before it is ready has failed,
            whatever the exit code.
        alive: a probe that is repeated while the command is ready.
        failure_threshold: the number of failures of `alive` in a row after which the attempt has
            failed.
        after: the commands to wait for before the start: a mapping from their names to
            ``"started"``, ``"ready"``, ``"succeeded"`` or ``"ended"``.  A name alone means ready if
            that command has a probe, and started if not.
        watch: files and folders, as a path, several paths or a `Watch`: if one changes, the
            command is restarted, or gets a signal.  Such a restart is not a failure: it counts for
            no limit, and has no delay.  A command that has exited by itself starts again, too, so
            it holds the Runner open until a kill, and `kill_others_on` does not apply.  Needs the
            extra ``watch``, and cannot be combined with a host.
        restart_with: names of other commands.  After a restart of one of them, for any reason, this
            command restarts, too, once the other command is up: in the state that `after` requires,
            or as for a name without a state there.  A command that has ended by itself starts
            again.
        timeout: seconds that each attempt may take; if an attempt takes longer, it is stopped and
            has failed.
        idle_timeout: seconds for which each attempt may write nothing, from its start on; if an
            attempt is silent for longer, it is stopped and has failed.  The time in which a slow
            reader holds the output up does not count, nor does output that goes elsewhere than to
            currant.
        max_output: the bytes that each attempt may write, stdout and stderr together; if an attempt
            writes more, it is stopped and has failed.  Readers, sinks and `capture` get exactly
            this many bytes, and what follows is discarded.
        replicas: the number of copies to run: ``web`` becomes ``web.1`` to ``web.N``.  The variable
            ``CURRANT_REPLICA`` holds the number of each copy.
        color: the style of the name on a console, as the package rich writes styles: ``"cyan"``,
            ``"bold #ff8800"``, ``"white on blue"``; None: the console chooses.
        line_limit: the most bytes of a line, without the ending, that stay together.  A longer line
            comes in pieces, `Line`s with the ending ``b""``, which are cut between characters of
            UTF-8 if the text is UTF-8.  This much of an unfinished line is held in memory.
        flush_after: seconds of silence after which an unfinished line is passed on, such as a
            prompt: a `Line` with the ending ``b""``.  The rest of the line follows as another
            `Line`.  If the command writes without such a silence, as with dots, the line so far is
            passed on after ten times that.  0: at once; None: not before the line ends.  ``"auto"``
            is 0.1 with a `pty`, and None without.
        probe_files: the files that `ready` and `alive` look at; this is no argument.

    Raises:
        EmptyCommandError: `argv` contains no program.
        UnknownOptionError: a `TypeError`: there is no such argument.
        CommandError: another argument is invalid.
    """

    _: KW_ONLY
    probe_files: tuple[str, ...] = field(init=False)  # those of the probes, and no option
    success_codes: tuple[int, ...]
    capture: CaptureLike | None
    restart: RestartWhen | RestartPolicy | None
    kill_others_on: KillOthersOn | None
    stop_command: Command | None
    ready: Probe | None
    alive: Probe | None
    failure_threshold: int
    after: Mapping[str, Condition | None]
    watch: Watch | None
    restart_with: tuple[str, ...]
    timeout: float | None
    idle_timeout: float | None
    max_output: int | None
    replicas: int
    color: str | None
    line_limit: int
    flush_after: float | Literal["auto"] | None

    # Written by hand, because the parameters accept wider types than the fields have.
    @explains_options("Command", COMMAND_HINTS, "a list of words")
    def __init__(
        self,
        argv: Sequence[StrOrPath],
        *,
        name: str | None = None,
        cwd: StrOrPath | None = None,
        env: Mapping[str, str] = NO_VARIABLES,
        inherit_env: bool = True,
        stdout: File | StdoutWord = None,
        stderr: File | StderrWord = "separate",
        stdin: File | bytes | Silent | None = None,
        pty: bool | Pty = False,
        new_session: bool = True,
        wrap: Sequence[StrOrPath] | None = None,
        umask: int | None = None,
        user: str | int | None = None,
        group: str | int | None = None,
        extra_groups: Sequence[str | int] | None = None,
        limits: Limits | None = None,
        nice: int = 0,
        listen: Sequence[socket] = (),
        success_codes: Collection[int] = (0,),
        capture: CaptureLike | None = None,
        restart: RestartWhen | RestartPolicy | None = None,
        kill_others_on: KillOthersOn | None = None,
        stop_command: CommandLike | None = None,
        stop_signal: int | str = SIGTERM,
        grace: float | None = None,
        kill_mode: KillMode | None = None,
        leftovers: Leftovers | None = None,
        host: str | None = None,
        resources: Mapping[str, int] | None = None,
        ready: Probe | None = None,
        alive: Probe | None = None,
        failure_threshold: int = 3,
        after: After = (),
        watch: WatchLike | None = None,
        restart_with: str | Iterable[str] = (),
        timeout: float | None = None,
        idle_timeout: float | None = None,
        max_output: int | None = None,
        replicas: int = 1,
        color: str | None = None,
        line_limit: int = MAX_LINE,
        flush_after: float | Literal["auto"] | None = "auto",
    ) -> None:
        options = locals()
        words = _checked_argv(argv)
        if name is None or isinstance(name, DefaultName):
            name = DefaultName(basename(words[0].rstrip("/")) or words[0])
        else:
            check_name(name)
        # Most options of most commands have their defaults, which need no check.
        given = {
            key: options[key]
            for key, default in _DEFAULTS.items()
            if options[key] is not default and key != "name"
        }
        _fill(self, _USUAL)
        _set_fields(self, {**given, "argv": words, "name": name})
        if given:
            with naming(name):
                checked = {key: check(given[key]) for key, check in _CHECKS.items() if key in given}
                _set_fields(self, checked)
                self._check_options()

    def _check_options(self) -> None:
        check_flag("inherit_env", self.inherit_env)
        check_flag("new_session", self.new_session)
        check_terminal(self)
        check_own_files(self, self.capture)
        _check_umask(self.umask)
        if not (self.limits is None or isinstance(cast("object", self.limits), Limits)):
            raise CommandError(f"limits must be a Limits or None, not {self.limits!r}")
        check_count("nice", self.nice, 39, minimum=-39)
        for what, account in (("user", self.user), ("group", self.group)):
            if account is not None:
                check_account(what, account)
        check_policies(
            self.restart,
            self.kill_others_on,
            self.grace,
            self.capture,
            self.kill_mode,
            self.leftovers,
        )
        check_terminal_is_kept(self.pty, self.leftovers)
        _check_host(self.host)
        if self.watch is not None and self.host is not None:
            raise CommandError(
                f"watch looks at the files of this machine, and the command runs on {self.host!r}; "
                "use watch without host"
            )
        check_probes(self.ready, self.alive)
        _set_fields(self, {"probe_files": files_of(self.ready, self.alive)})
        if self.ready is not None:
            check_reads_lines(self, self.ready)
        check_count("failure_threshold", self.failure_threshold)
        check_seconds("timeout", self.timeout)
        _check_limits_of_output(self)
        check_count("replicas", self.replicas)
        if self.replicas > 1 and (is_emptied(self.stdout) or is_emptied(self.stderr)):
            raise CommandError(
                "stdout and stderr cannot be a path if there are replicas, because each start "
                "empties the file; use a file that is open for appending"
            )
        check_count("line_limit", self.line_limit)
        if self.flush_after not in (None, "auto"):
            check_delay("flush_after", self.flush_after, finite=True)
        if self.color is not None:
            check_str("color", self.color)

    @classmethod
    def parse(cls, text: str, **options: Unpack[CommandOptions]) -> Command:
        """Build a command from a line, split by the shell's quoting rules but run without a shell.

        Text that needs a shell raises an error, unless it is quoted or escaped: ``|``, ``&``,
        ``;``, ``<``, ``>``, backquotes, ``$`` before a name or a parenthesis and the like, ``A=1``
        before the program, and builtins such as ``cd``.  Inside double quotes, ``$`` is literal
        too.  Patterns (``*.py``), ``~`` and ``#`` are always literal.  A newline is a space,
        and a backslash before it joins two lines.

        Args:
            text: a line such as ``"ls -la 'a b'"``.
            options: as for `Command`.

        Raises:
            CommandParseError: a quotation is not closed, or the line needs a shell; the error
                carries the text.
            EmptyCommandError: the text is blank.
        """
        check_str("a command line", text)
        line = join_lines(text)
        try:
            argv = shlex.split(line)
        except ValueError as error:
            raise CommandParseError(text, str(error)) from error
        if reason := why_shell(line):
            raise CommandParseError(text, reason)
        return cls(argv, **options)

    @classmethod
    def shell(cls, text: str, **options: Unpack[CommandOptions]) -> Command:
        """Build a command that runs `text` with ``/bin/sh -c``: pipes, variables, loops.

        Args:
            text: the script for the shell.
            options: as for `Command`.

        Raises:
            EmptyCommandError: the text is blank.
        """
        check_str("a shell command", text)
        if not text.strip():
            raise EmptyCommandError("a shell command needs a script to run, got a blank one")
        return cls(["/bin/sh", "-c", text], **options)

    def __repr__(self) -> str:
        shown = [repr(list(self.argv))]
        for name, default in _DEFAULTS.items():
            value = getattr(self, name)
            # Variables and input may be secrets, and a repr ends up in logs, so neither is shown.
            if name == "after":
                shown += [f"after={dict(value)}"] if value else []
            elif name == "resources":
                shown += [f"resources={dict(value)}"] if value else []
            elif name == "env":
                shown += [f"env={sorted(value)}"] if value else []
            elif name == "listen":
                shown += [f"listen=<{len(value)} sockets>"] if value else []
            elif name == "stdin" and isinstance(value, bytes):
                shown.append(f"stdin=<{len(value)} bytes>")
            elif value != default and not isinstance(value, DefaultName):
                shown.append(f"{name}={value!r}")
        return f"Command({', '.join(shown)})"

    def __str__(self) -> str:
        return join_words(self.argv)

    def __hash__(self) -> int:
        return hash((self.argv, self.name, self.cwd))

    def __reduce__(self) -> tuple[partial[Command], tuple[()]]:
        check_portable(self)
        values = {spec.name: getattr(self, spec.name) for spec in fields(self) if spec.init}
        plain = {name: dict(values[name]) for name in ("env", "after", "resources")}
        return partial(type(self), **values | plain), ()


CommandLike: TypeAlias = Command | str | Sequence[StrOrPath]
"""The forms in which a Runner accepts a command; a `str` is parsed by `Command.parse`."""


def as_command(value: CommandLike) -> Command:
    """Return `value` as a `Command`."""
    if isinstance(value, Command):
        return value
    return Command.parse(value) if isinstance(value, str) else Command(value)


def command_with(value: CommandLike, options: CommandOptions) -> Command:
    """Build a command, or copy one with other options.

    Raises:
        CommandError: the command or an option is wrong.
    """
    if isinstance(value, Command):
        changes: dict[str, Any] = {**options}  # The constructor takes other types than it keeps.
        return replace(value, **changes)
    if isinstance(value, str):
        return Command.parse(value, **options)
    return Command(value, **options)


def single_command(call: str, value: CommandLike, options: CommandOptions) -> Command:
    """Build a command, or copy one with other options, for a call that runs a single process.

    Raises:
        CommandError: the command or an option is wrong, or needs a Runner.
    """
    command = command_with(value, options)
    needs_runner = (command.replicas != 1, command.after, command.watch, command.restart_with)
    if any(needs_runner):
        raise CommandError(
            f"command {command.name!r}: {call} runs a single process; replicas, after, watch and "
            "restart_with need a Runner"
        )
    return command


def flush_after_of(command: Command) -> float | None:
    """Return the `flush_after` of a command in seconds, also if it is ``"auto"``."""
    if command.flush_after == "auto":
        return FLUSH_AFTER if command.pty else None
    return command.flush_after


def with_policies(command: Command, policies: Policies) -> Command:
    """Return `command` with the policies that its launcher has to know, as the Runner has them."""
    return _copied(
        command,
        grace=policies.grace,
        kill_mode=policies.kill_mode,
        leftovers=policies.leftovers,
        wrap=policies.wrap,
    )


def with_name(command: Command, name: str) -> Command:
    """Return `command` under another name."""
    return _copied(command, name=name)


def with_words(command: Command, argv: tuple[str, ...], name: str) -> Command:
    """Return `command` with another program and arguments, and under another name."""
    return _copied(command, argv=argv, name=name)


def with_pty(command: Command, pty: Pty) -> Command:
    """Return `command` with a terminal of another size."""
    return _copied(command, pty=pty)


def with_stdin(command: Command, stdin: bytes | None) -> Command:
    """Return `command` with another input."""
    return _copied(command, stdin=stdin)


def _copied(command: Command, **changes: object) -> Command:
    """Return a copy with `changes`, which the caller knows to be valid.

    The copy is not checked again: that takes 5 µs, `dataclasses.replace` takes 15 µs.
    """
    copied = object.__new__(Command)
    _fill(copied, _values_of(command))
    _set_fields(copied, changes)
    return copied


def _fill(command: Command, values: Iterable[object]) -> None:
    """Set all fields of a frozen command that is being built."""
    for set_field, value in zip(_SETTERS, values, strict=True):
        set_field(command, value)


def _set_fields(command: Command, values: Mapping[str, object]) -> None:
    """Set some fields of a frozen command that is being built."""
    for name, value in values.items():
        object.__setattr__(command, name, value)


def _checked_argv(argv: object) -> tuple[str, ...]:
    if not isinstance(argv, (list, tuple)) and not _has_words(argv):
        raise CommandError(
            f"argv must be a sequence of str or paths, not {argv!r}; "
            "Command.parse splits a line, Command.shell runs a line with a shell"
        )
    given = cast("Iterable[object]", argv)
    words = tuple(checked_path("each item of argv", word) for word in given)
    if not words or not words[0]:
        raise EmptyCommandError
    return words


def _has_words(argv: object) -> bool:
    """Return whether `argv` has words in an order that the caller can have intended."""
    is_unordered = isinstance(argv, (Mapping, AbstractSet))
    return not isinstance(argv, (str, bytes)) and not is_unordered and isinstance(argv, Iterable)


def check_name(name: object) -> None:
    """Check that a command may have that name."""
    if not isinstance(name, str) or not name:
        raise CommandError(f"name must be a non-empty str, not {name!r}")
    check_encodable("name", name)


def _checked_stop_command(given: CommandLike | None) -> Command | None:
    if given is None:
        return None
    with naming("stop_command", "option"):
        command = as_command(given)
    check_is_plain("stop_command", command)
    return command


def check_is_plain(what: str, command: Command) -> None:
    """Check that no field is set that has no effect for a command that runs beside another."""
    options = {name: getattr(command, name) for name in ("cwd", "env", "success_codes")}
    plain = Command(command.argv, name=command.name, **options)
    for spec in fields(command):
        given = getattr(command, spec.name)
        if given != getattr(plain, spec.name):
            raise CommandError(
                f"{what}: only argv, cwd, env and success_codes of the command may be set, "
                f"not {spec.name}={given!r}"
            )


def _check_host(host: object) -> None:
    if host is None:
        return
    if not isinstance(host, str) or not host:
        raise CommandError(f"host must be the name of a host or None, not {host!r}")
    check_encodable("host", host)


def _checked_stdin(stdin: object) -> object:
    is_pipe = isinstance(stdin, int) and stdin == PIPE
    if stdin is None or isinstance(stdin, (bytes, Silent)) or is_pipe:
        return stdin
    return checked_file("stdin", stdin, "None, bytes, PIPE, ")


def _check_limits_of_output(command: Command) -> None:
    check_seconds("idle_timeout", command.idle_timeout)
    check_count("max_output", 1 if command.max_output is None else command.max_output)
    for what in ("idle_timeout", "max_output"):
        if getattr(command, what) is not None and not read_streams(command):
            raise CommandError(f"{what} needs output that goes to currant, and all goes to files")


def _check_umask(umask: object) -> None:
    is_int = isinstance(umask, int) and not isinstance(umask, bool)
    if umask is not None and not (is_int and 0 <= cast("int", umask) <= 0o777):
        raise CommandError(f"umask must be an integer from 0 to 0o777, not {umask!r}")


def _checked_groups(groups: object) -> tuple[str | int, ...] | None:
    if groups is None:
        return None
    if isinstance(groups, (str, bytes)) or not isinstance(groups, Iterable):
        raise CommandError(f"extra_groups must be a sequence of names or numbers, not {groups!r}")
    given = tuple(cast("Iterable[str | int]", groups))
    for group in given:
        check_account("each of extra_groups", group)
    return given


def _checked_codes(codes: object) -> tuple[int, ...]:
    if not isinstance(codes, Iterable):
        raise CommandError(f"success_codes must be a collection of exit codes, not {codes!r}")
    given = tuple(cast("Iterable[object]", codes))
    checked = tuple(code for code in given if isinstance(code, int) and 0 <= code <= 255)
    if checked != given:
        raise CommandError(f"success_codes must be exit codes from 0 to 255, not {given!r}")
    return checked


_FIELDS = tuple(spec.name for spec in fields(Command))

_SETTERS: tuple[Callable[[Command, object], None], ...] = tuple(
    getattr(Command, name).__set__ for name in _FIELDS
)

_values_of: Callable[[Command], tuple[object, ...]] = attrgetter(*_FIELDS)

_DEFAULTS: dict[str, object] = {
    parameter.name: parameter.default
    for parameter in signature(Command).parameters.values()
    if parameter.default is not Parameter.empty
}
"""The default of each parameter of `Command`, by name."""

_USUAL = tuple(
    (_DEFAULTS | {"after": NO_NEEDS, "resources": NO_RESOURCES, "probe_files": ()}).get(name)
    for name in _FIELDS
)
"""The value of each field if no option is given; the name and the words take another."""

_CHECKS: Mapping[str, Callable[[Any], object]] = {
    "cwd": partial(checked_path, "cwd"),
    "env": checked_env,
    "stdout": checked_stdout,
    "stderr": checked_stderr,
    "stdin": _checked_stdin,
    "pty": checked_pty,
    "wrap": partial(checked_words, "wrap"),
    "extra_groups": _checked_groups,
    "listen": checked_listeners,
    "success_codes": _checked_codes,
    "stop_command": _checked_stop_command,
    "stop_signal": partial(checked_signal, "stop_signal"),
    "resources": checked_resources,
    "after": checked_after,
    "watch": checked_watch,
    "restart_with": partial(checked_names, "restart_with"),
}
"""How an option is checked, and brought into the form in which its field keeps it."""
