"""The state of a command, as its messages tell it."""

from __future__ import annotations

from functools import reduce
from signal import SIGKILL, SIGTERM

import pytest

from currant import (
    Aborted,
    Batch,
    BatchMessage,
    CannotStopError,
    Command,
    DependencyError,
    Dropped,
    Exit,
    Exited,
    Failed,
    HostLost,
    HostLostError,
    HostUp,
    LaunchError,
    Line,
    Ready,
    Restarting,
    RestartPolicy,
    Runner,
    Skipped,
    Started,
    TimeLimitError,
    ready,
)
from currant._values.state import CommandState, Phase, is_expected, state_after
from tests.waiting import FOREVER

COMMAND = Command(["a"], success_codes=(0, 4))
UP = ready.line("up", timeout=0.2)
PROBED = Command(["a"], ready=UP)
ONCE_MORE = RestartPolicy("always", max_restarts=1, delay=0)

STARTED = Started("a", 4711, 1, 100.0)
READY = Ready("a", 0.5, 100.5)
OUTPUT: list[BatchMessage] = [Batch("a", "stdout", b"1\n", 101.0), Dropped("a", 3, 102.0)]
ABORTED = Aborted("a", TimeLimitError("a", 5), 1, 105.0)
CANNOT_STOP = Aborted("a", CannotStopError("a", 4711, 5), 1, 113.0)
RESTARTING = Restarting("a", 2, 0.1, 110.0)
FAILED = Failed("a", LaunchError("a", "no memory"), 2, 111.0)
SKIPPED = Skipped("a", DependencyError("a", "db has failed"), 112.0)
LOST = Aborted("a", HostLostError("h1", "no route"), 1, 113.0)
STOPPED = Exit(None, SIGTERM, stopped=True)


def exited(end: Exit) -> Exited:
    """Return the message of the end of attempt 1."""
    return Exited("a", end, 1, 109.0)


def state_of(messages: list[BatchMessage], command: Command | None = COMMAND) -> CommandState:
    """Return the state after all `messages` of `command`, which may exit with 0 or 4."""
    return reduce(lambda state, each: state_after(each, state, command), messages, CommandState())


@pytest.mark.parametrize(
    ("messages", "phase"),
    [
        ([], "queued"),
        ([STARTED], "running"),
        ([STARTED, *OUTPUT], "running"),
        ([STARTED, READY], "ready"),
        ([STARTED, READY, *OUTPUT], "ready"),
        ([STARTED, exited(Exit(0, None))], "succeeded"),
        ([STARTED, exited(Exit(4, None))], "succeeded"),
        ([STARTED, exited(Exit(3, None))], "failed"),
        ([STARTED, exited(Exit(None, SIGKILL))], "failed"),
        ([STARTED, exited(STOPPED)], "stopped"),
        ([STARTED, exited(Exit(0, None, stopped=True))], "stopped"),
        ([STARTED, READY, ABORTED], "ready"),
        ([STARTED, ABORTED, exited(STOPPED)], "failed"),
        ([STARTED, ABORTED, exited(Exit(0, None))], "failed"),
        ([STARTED, CANNOT_STOP], "failed"),
        ([STARTED, exited(STOPPED), CANNOT_STOP], "failed"),
        ([STARTED, LOST], "failed"),
        ([STARTED, LOST, RESTARTING], "restarting"),
        ([STARTED, exited(Exit(3, None)), RESTARTING], "restarting"),
        ([STARTED, ABORTED, exited(STOPPED), RESTARTING, STARTED], "running"),
        ([STARTED, exited(Exit(3, None)), RESTARTING, FAILED], "failed"),
        ([FAILED], "failed"),
        ([SKIPPED], "skipped"),
    ],
)
def test_phase_follows_from_the_messages(messages: list[BatchMessage], phase: Phase) -> None:
    """An aborted attempt has failed when it has exited, although currant stopped the process."""
    assert state_of(messages).phase == phase


@pytest.mark.parametrize(
    ("messages", "phase"),
    [
        ([STARTED, exited(Exit(0, None))], "failed"),
        ([STARTED, READY, exited(Exit(0, None))], "succeeded"),
        ([STARTED, READY, exited(Exit(4, None))], "failed"),
        ([STARTED, exited(STOPPED)], "stopped"),
    ],
)
def test_command_that_exits_before_it_is_ready_has_failed(
    messages: list[BatchMessage], phase: Phase
) -> None:
    """If the command has a probe `ready`, a success without `Ready` is a failure."""
    assert state_of(messages, PROBED).phase == phase


def test_state_keeps_the_facts_about_the_last_attempt() -> None:
    """A start forgets the exit and the error of the attempt before."""
    first = state_of([STARTED, ABORTED, exited(STOPPED)])
    assert first == CommandState("failed", 1, 4711, 100.0, STOPPED, ABORTED.error)
    second = state_after(Started("a", 4712, 2, 120.0), first)
    assert second == CommandState("running", 2, 4712, 120.0)
    assert state_after(FAILED, second) == CommandState("failed", 2, error=FAILED.error)
    assert state_of([SKIPPED]) == CommandState("skipped", error=SKIPPED.error)


def test_line_does_not_change_the_state() -> None:
    """The messages of iteration, with lines instead of batches, give the same state."""
    state = state_of([STARTED])
    assert state_after(Line("a", "stdout", b"1", b"\n", 101.0), state) is state


def test_state_has_the_host_of_the_last_attempt() -> None:
    """News of the host itself changes no state; the command has messages of its own."""
    state = state_of([Started("a", 4711, 1, 100.0, "h1")])
    assert state.host == "h1"
    assert state_after(HostUp("h1", 101.0), state) is state
    assert state_after(HostLost("h1", HostLostError("h1", "no route"), 102.0), state) is state
    assert state_after(Started("a", 4712, 2, 120.0), state).host is None


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (Exit(0, None), True),
        (Exit(3, None), False),
        (Exit(None, SIGKILL), False),
        (Exit(3, None, stopped=True), True),
        (STOPPED, True),
    ],
)
def test_success_and_stop_are_expected(end: Exit, *, expected: bool) -> None:
    """A success and a stop by currant are no news; every other end is."""
    assert is_expected(end, None) is expected


def test_success_is_what_the_command_says() -> None:
    """The exit of an unknown command is a success if the code is 0."""
    assert is_expected(Exit(4, None), COMMAND)
    assert not is_expected(Exit(4, None), None)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "command",
    [
        pytest.param(Command(["true"], name="a"), id="success"),
        pytest.param(Command.shell("exit 4", name="a", success_codes=(4,)), id="own success code"),
        pytest.param(Command(["false"], name="a"), id="failure"),
        pytest.param(Command(["false"], name="a", restart=ONCE_MORE), id="failure after a restart"),
        pytest.param(Command(["echo", "up"], name="a", ready=UP), id="ready"),
        pytest.param(Command(["echo", "down"], name="a", ready=UP), id="success before ready"),
        pytest.param(Command.parse(FOREVER, name="a", ready=UP), id="not ready in time"),
        pytest.param(Command.parse(FOREVER, name="a", timeout=0.05), id="out of time"),
        pytest.param(
            Command.shell(f"echo up; exec {FOREVER}", name="a", ready=UP, timeout=0.2),
            id="ready, out of time",
        ),
        pytest.param(Command(["true"], name="a", after={"b": "succeeded"}), id="skipped"),
    ],
)
async def test_last_phase_is_the_status_of_the_result(command: Command) -> None:
    """Folding the messages of a real command gives the same verdict as the Runner."""
    state = CommandState()
    async with Runner([command, Command(["false"], name="b")]) as runner:
        async for message in runner:
            if message.command == "a":
                state = state_after(message, state, command)
    assert state.phase == runner.results["a"].status
    assert state.exit == runner.results["a"].exit
