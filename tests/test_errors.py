"""The errors: their base classes, messages and fields, and that they can be pickled."""

from __future__ import annotations

import copy
import errno
import pickle
import traceback
from typing import TYPE_CHECKING

import pytest

import currant
from currant import (
    CannotStopError,
    CommandError,
    CommandFailed,
    CommandNotFoundError,
    CommandParseError,
    CurrantError,
    DependencyError,
    DuplicateNameError,
    EmptyCommandError,
    Exit,
    ExitStatusLostError,
    ExpectError,
    HostListError,
    HostLostError,
    HostUnreachableError,
    JobEndedError,
    LaunchError,
    Line,
    MissingExtraError,
    NoCapacityError,
    NotCapturedError,
    NotPermittedError,
    NotReadyError,
    OutputDiscardedError,
    OutputLimitError,
    Result,
    RunningLoopError,
    SpillError,
    StdinClosedError,
    TimeLimitError,
    UnknownNameError,
    UnknownOptionError,
    UnreadOutputWarning,
    UnresponsiveError,
    WrongLoopError,
    WrongTaskError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

FAILED = Result("web", Exit(3, None), None, "failed", attempts=2, duration=1.5, started_at=0.0)

LOST = (
    "the exit status of 'web' is lost: another part of this program reaped the process, or SIGCHLD "
    "is ignored; keep SIGCHLD at signal.SIG_DFL while commands run, and wait only for your own "
    "processes instead of os.waitpid(-1, ...)"
)

ANOTHER_LOOP = (
    "works only in the event loop in which the Runner was entered; from another thread, use "
    "anyio.from_thread.run; from a signal handler, only kill and throw work"
)

ERRORS: list[tuple[CurrantError, dict[str, object], str]] = [
    (CurrantError("all is lost"), {}, "all is lost"),
    (CommandError("grace is wrong"), {}, "grace is wrong"),
    (EmptyCommandError(), {}, "a command needs a program to run, got nothing"),
    (EmptyCommandError("nothing here"), {}, "nothing here"),
    (
        CommandParseError("ls 'a", "No closing quotation"),
        {"text": "ls 'a", "reason": "No closing quotation"},
        'cannot parse the command "ls \'a": No closing quotation',
    ),
    (
        CommandNotFoundError("web", "its cwd is missing"),
        {"name": "web", "reason": "its cwd is missing"},
        "command 'web': its cwd is missing",
    ),
    (
        DuplicateNameError("web"),
        {"name": "web"},
        "two commands are named 'web'; give each a unique name",
    ),
    (
        HostListError("gpu[1-4", "a bracket is not closed"),
        {"text": "gpu[1-4", "reason": "a bracket is not closed"},
        "cannot read the host list 'gpu[1-4': a bracket is not closed",
    ),
    (
        NoCapacityError("web", "it needs 4 gpus, and there are 2 on a host at most"),
        {"name": "web", "reason": "it needs 4 gpus, and there are 2 on a host at most"},
        "no host can run 'web': it needs 4 gpus, and there are 2 on a host at most",
    ),
    (
        LaunchError("web", "no memory"),
        {"name": "web", "reason": "no memory"},
        "cannot start 'web': no memory",
    ),
    (
        CannotStopError("web", 17, 2.0),
        {"name": "web", "pid": 17, "waited": 2.0},
        (
            "'web' (process group 17) still exists 2 s after SIGKILL; "
            "look at its state with 'ps': a process in state D waits for the kernel"
        ),
    ),
    (
        HostLostError("h1", "no route"),
        {"host": "h1", "reason": "no route"},
        "the host 'h1' is lost: no route",
    ),
    (
        HostUnreachableError("h1", "no route"),
        {"host": "h1", "reason": "no route"},
        "cannot reach the host 'h1': no route",
    ),
    (
        NotPermittedError("web", 17),
        {"name": "web", "pid": 17, "waited": 0.0},
        (
            "'web' (process group 17) cannot be stopped: it runs as another user (sudo, su), and "
            "this program may not signal it; stop it with 'sudo kill -- -17', or run this program "
            "as that user"
        ),
    ),
    (
        JobEndedError("web", "restart"),
        {"name": "web", "request": "restart"},
        (
            "cannot restart 'web': the command or the Runner has ended or is being stopped; "
            "after Job.kill, await Job.wait() first"
        ),
    ),
    (
        StdinClosedError("web", "it is closed"),
        {"name": "web", "reason": "it is closed", "tail": (), "exit": None},
        "'web' has no open stdin: it is closed",
    ),
    (
        StdinClosedError(
            "web", "it has ended", [Line("web", "stdout", b"bye", b"", 0.0)], Exit(3, None)
        ),
        {
            "name": "web",
            "reason": "it has ended",
            "tail": (Line("web", "stdout", b"bye", b"", 0.0),),
            "exit": Exit(3, None),
        },
        "'web' has no open stdin: it has ended\n    stdout: bye",
    ),
    (
        ExpectError("web", b"ok$", "its output has ended", b"bad\n", Exit(3, None)),
        {
            "name": "web",
            "pattern": b"ok$",
            "reason": "its output has ended",
            "before": b"bad\n",
            "exit": Exit(3, None),
        },
        ("no output of 'web' matches b'ok$': its output has ended; the last output: b'bad\\n'"),
    ),
    (
        OutputDiscardedError("web", "stdout", 12),
        {"name": "web", "stream": "stdout", "size": 12},
        (
            "12 bytes of the stdout of 'web' were discarded before a task read them; begin to read "
            "before the command has written much, and keep reading while other tasks wait for the "
            "command; the next read goes on after the gap"
        ),
    ),
    (
        UnknownNameError("wroker", ["web", "worker"]),
        {
            "name": "wroker",
            "known": ("web", "worker"),
            "problem": "there is no command 'wroker'",
        },
        "there is no command 'wroker'; did you mean 'worker'? There are: 'web', 'worker'",
    ),
    (
        UnknownNameError(3, ["web"], "there is no result 3"),
        {"name": 3, "known": ("web",), "problem": "there is no result 3"},
        "there is no result 3; there are: 'web'",
    ),
    (UnknownOptionError("no option 'x'"), {}, "no option 'x'"),
    (
        MissingExtraError("colours", "rich", "cli"),
        {"purpose": "colours", "package": "rich", "extra": "cli"},
        "colours need the package rich: pip install 'currant[cli]'",
    ),
    (
        NotReadyError("web", "it has ended: exit code 3", [Line("web", "stdout", b"hi", b"", 0.0)]),
        {
            "name": "web",
            "reason": "it has ended: exit code 3",
            "tail": (Line("web", "stdout", b"hi", b"", 0.0),),
        },
        "'web' is not ready: it has ended: exit code 3\n    stdout: hi",
    ),
    (
        NotCapturedError("web", "stderr"),
        {"name": "web", "stream": "stderr", "place": None},
        (
            "the stderr of 'web' was not captured; give the command or its Runner capture=True, "
            "a number of last bytes, or a Capture"
        ),
    ),
    (
        NotCapturedError("web", "stdout", "the file 'log'"),
        {"name": "web", "stream": "stdout", "place": "the file 'log'"},
        "the stdout of 'web' was not captured, because it went to the file 'log'",
    ),
    (ExitStatusLostError("web"), {"name": "web"}, LOST),
    (
        UnresponsiveError("web", 3, "status 500"),
        {"name": "web", "failures": 3, "reason": "status 500"},
        "'web' failed its `alive` probe 3 times in a row: status 500",
    ),
    (
        TimeLimitError("web", 5),
        {"name": "web", "seconds": 5, "kind": "command"},
        "'web' exceeded its time limit of 5 s",
    ),
    (
        TimeLimitError("web", 0.5, "runner"),
        {"name": "web", "seconds": 0.5, "kind": "runner"},
        "'web' exceeded the Runner's time limit of 0.5 s",
    ),
    (
        TimeLimitError("web", 2, "idle"),
        {"name": "web", "seconds": 2, "kind": "idle"},
        "'web' wrote nothing for 2 s, the limit of its idle_timeout",
    ),
    (
        SpillError("web", "/full/web.log", "No space left on device"),
        {"name": "web", "path": "/full/web.log", "reason": "No space left on device"},
        (
            "'web' has failed: its output cannot be written to '/full/web.log': "
            "No space left on device"
        ),
    ),
    (
        OutputLimitError("web", 1000),
        {"name": "web", "limit": 1000},
        "'web' wrote more than 1000 bytes, the limit of its max_output",
    ),
    (
        DependencyError("web", "'db' was to be ready, and has ended: exit code 1"),
        {"name": "web", "reason": "'db' was to be ready, and has ended: exit code 1"},
        "'web' was skipped: 'db' was to be ready, and has ended: exit code 1",
    ),
    (
        RunningLoopError("currant.run"),
        {"call": "currant.run"},
        (
            "currant.run starts an event loop, but this thread runs one already, as a notebook "
            "does; write 'await currant.run_process(...)' here, or for several commands "
            "'async with Runner(...) as runner: await runner.join()'"
        ),
    ),
    (
        WrongLoopError("Runner.join"),
        {"call": "Runner.join", "advice": ANOTHER_LOOP},
        f"Runner.join {ANOTHER_LOOP}",
    ),
    (
        WrongLoopError("currant.map", "works only where an event loop runs"),
        {"call": "currant.map", "advice": "works only where an event loop runs"},
        "currant.map works only where an event loop runs",
    ),
    (
        WrongTaskError(),
        {},
        (
            "a task left a Runner that another running task had entered; all its commands were "
            "stopped; enter and leave a Runner in the same task, as in the fixtures of a test that "
            "is marked with pytest.mark.anyio (close an async generator that yields inside the "
            "block with contextlib.aclosing); or use currant.blocking.Runner, which any task may "
            "leave; or, in tests, the fixture 'processes' of currant.pytest_plugin"
        ),
    ),
    (CommandFailed(FAILED), {"result": FAILED}, "'web': exit code 3"),
]


def test_every_public_error_is_in_the_table() -> None:
    """A new error must be added to the table above."""
    public = {
        value
        for value in map(vars(currant).get, currant.__all__)
        if isinstance(value, type)
        and issubclass(value, BaseException)
        and not issubclass(value, Warning)
    }
    assert public == {type(error) for error, _, _ in ERRORS}


def test_warning_about_unread_output_can_be_filtered_and_pickled() -> None:
    """The category is a `UserWarning`, and the fields survive."""
    warning = UnreadOutputWarning("web", 1.0)
    assert issubclass(UnreadOutputWarning, UserWarning)
    again = pickle.loads(pickle.dumps(warning))
    assert (again.name, again.seconds, str(again)) == ("web", 1.0, str(warning))


@pytest.mark.parametrize(
    ("error", "bases"),
    [
        (CurrantError, {Exception}),
        (CommandError, {CurrantError, ValueError}),
        (EmptyCommandError, {CommandError}),
        (CommandParseError, {CommandError}),
        (CommandNotFoundError, {CommandError, FileNotFoundError}),
        (DuplicateNameError, {CommandError}),
        (LaunchError, {CurrantError}),
        (CannotStopError, {CurrantError}),
        (JobEndedError, {CurrantError}),
        (StdinClosedError, {CurrantError}),
        (NotReadyError, {CurrantError}),
        (ExpectError, {CurrantError}),
        (OutputDiscardedError, {CurrantError}),
        (UnresponsiveError, {CurrantError}),
        (TimeLimitError, {CurrantError}),
        (DependencyError, {CurrantError}),
        (CommandFailed, {CurrantError}),
        (UnknownNameError, {CurrantError, KeyError}),
        (UnknownOptionError, {CommandError, TypeError}),
        (MissingExtraError, {CurrantError, ModuleNotFoundError}),
    ],
)
def test_error_has_the_bases_that_callers_catch(
    error: type[CurrantError], bases: set[type[Exception]]
) -> None:
    """One base for all; a mistake is a `ValueError` too, a missing program as in `subprocess`."""
    assert set(error.__bases__) == bases


@pytest.mark.parametrize(("error", "kept", "text"), ERRORS, ids=repr)
def test_error_shows_its_fields_and_keeps_them(
    error: CurrantError, kept: dict[str, object], text: str
) -> None:
    """The message is built from the fields, which a program can read."""
    assert str(error) == text
    assert vars(error) == kept


@pytest.mark.parametrize(
    "duplicate",
    [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy],
    ids=["pickle", "copy", "deepcopy"],
)
@pytest.mark.parametrize(("error", "kept", "text"), ERRORS, ids=repr)
def test_error_survives_pickle_and_copy(
    error: CurrantError,
    kept: dict[str, object],
    text: str,
    duplicate: Callable[[CurrantError], CurrantError],
) -> None:
    """The copy has the same class, fields and message, in another process too."""
    again = duplicate(error)
    assert type(again) is type(error)
    assert str(again) == text
    assert vars(again) == kept


def test_missing_program_has_the_number_of_a_missing_file() -> None:
    """Code written for `subprocess` finds ENOENT in `errno`, in a copy too."""
    error = CommandNotFoundError("web", "no program 'web' in PATH")
    assert error.errno == pickle.loads(pickle.dumps(error)).errno == errno.ENOENT


def test_copy_keeps_notes() -> None:
    """A note that a caller has added survives pickling."""
    error = LaunchError("web", "no memory")
    error.add_note("while starting the stack")
    assert pickle.loads(pickle.dumps(error)).__notes__ == ["while starting the stack"]


def test_failed_command_is_shown_with_its_exit_and_last_lines() -> None:
    """`CommandFailed` shows how the command ended, and the last lines with their streams."""
    tail = (
        Line("web", "stdout", b"listening", b"\n", 0.0),
        Line("web", "stderr", b"caf\xff", b"", 0.0),
    )
    result = Result("web", Exit(3, None), None, "failed", 1, 1.0, 0.0, tail=tail)
    assert str(CommandFailed(result)).splitlines() == [
        "'web': exit code 3",
        "    stdout: listening",
        "    stderr: caf\ufffd",
    ]


def test_last_lines_are_shown_without_control_sequences() -> None:
    """What a command wrote does not clear the terminal on which a traceback is shown."""
    tail = (
        Line("web", "stdout", b"\x1b[2J\x1bc\x1b[31mno module\x1b[0m\t'x'\b\a\x00", b"\n", 0.0),
        Line("web", "stderr", b"\xc2\x9b2Jcaf\xc3\xa9\x1b]52;c;aGk=\x07\x1b[3", b"", 0.0),
    )
    result = Result("web", Exit(3, None), None, "failed", 1, 1.0, 0.0, tail=tail)
    for error in CommandFailed(result), NotReadyError("web", "no", tail):
        assert str(error).splitlines()[1:] == [
            "    stdout: no module\t'x'",
            "    stderr: 2Jcaf\xe9",
        ]


def test_command_that_could_not_be_started_is_shown_with_the_error() -> None:
    """`CommandFailed` shows the error if there is no exit to show."""
    result = Result("web", None, LaunchError("web", "no memory"), "failed", 1, 0.0, 0.0)
    assert str(CommandFailed(result)) == "cannot start 'web': no memory"


def test_long_list_of_names_is_cut() -> None:
    """The message about an unknown name lists twenty names, and counts the others."""
    text = str(UnknownNameError("x", [f"job{n}" for n in range(10_000)]))
    assert text.startswith("there is no command 'x'; there are: 'job0', 'job1', ")
    assert text.endswith(", 'job19' and 9980 more")


def test_unknown_replica_is_near_the_command_of_that_name() -> None:
    """The names differ by a number that may be longer than the name itself."""
    text = str(UnknownNameError("db.12", ["web", "db"]))
    assert text == "there is no command 'db.12'; did you mean 'db'? There are: 'web', 'db'"


def test_unknown_name_is_printed_without_quotes_around_the_message() -> None:
    """A traceback shows the message as a sentence; `KeyError` itself shows its `repr`."""
    (shown,) = traceback.format_exception_only(UnknownNameError("x", ["a"]))
    assert shown.endswith(".UnknownNameError: there is no command 'x'; there are: 'a'\n")
