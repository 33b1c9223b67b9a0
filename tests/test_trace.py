"""`TraceSink` and `Timeline`: a timeline that viewers open, whatever happens to the program."""

from __future__ import annotations

import json
import os
import time
import warnings
from collections import defaultdict
from signal import SIGKILL, SIGTERM
from typing import TYPE_CHECKING, Any

import pytest
from anyio import to_thread
from hypothesis import given
from hypothesis import strategies as st

import currant
from currant import (
    Aborted,
    CannotStopError,
    Command,
    CommandError,
    DependencyError,
    Dropped,
    Exit,
    Exited,
    Failed,
    HostLost,
    HostLostError,
    HostUp,
    LaunchError,
    Ready,
    Restarting,
    RestartPolicy,
    Runner,
    Skipped,
    Started,
    TimeLimitError,
    Usage,
    ready,
)
from currant._system.session_usage import SessionUsage
from currant.sinks import SinkWarning, TraceSink
from currant.sinks import _trace as trace_sink
from currant.sinks._rates import WINDOW
from currant.sinks._tail import Tail
from currant.sinks._trace_events import HEADER
from currant.sinks._trace_timeline import MIN_PRUNED, Timeline
from currant.testing import FakeLauncher, Script
from tests.playing import err, out, play, started
from tests.system import needs_proc
from tests.test_full_disk import NO_FULL_DISK, Steps
from tests.waiting import EXEC_FOREVER, FOREVER, LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import TypeAlias

    from currant import BatchMessage
    from tests.clis import Run, Start
    from tests.lifeline import Lifeline

    Event: TypeAlias = dict[str, Any]

OK = Exit(0, None)
PROBE = ready.line("up")
STOPPED = Exit(None, SIGTERM, stopped=True)
FORCED = Exit(None, SIGKILL, stopped=True, forced=True)


def exited(name: str, end: Exit, time: float) -> Exited:
    """Return the message that a process has exited."""
    return Exited(name, end, 1, time)


def events_of(
    messages: Sequence[BatchMessage],
    commands: Sequence[Command] = (),
    end: float = 10.0,
    *,
    in_slots: bool = False,
) -> list[Event]:
    """Return the events of a run from the time 0 to `end`."""
    by_name = {str(command.name): command for command in commands}
    timeline = Timeline(0.0, by_name, in_slots=in_slots)
    for message in messages:
        timeline.add(message)
    timeline.finish(end)
    return checked(HEADER + timeline.take() + b"]")


def checked(trace: bytes, *, is_whole: bool = True) -> list[Event]:
    """Return the events of a trace, after a check of what the format asks for.

    Args:
        trace: the content of the file, with the closing bracket.
        is_whole: whether each slice must have ended.
    """
    events: list[Event] = json.loads(trace)
    open_slices: defaultdict[int, list[str]] = defaultdict(list)
    last: defaultdict[int, int] = defaultdict(int)
    named = {event["tid"] for event in events if event["name"] == "thread_name"}
    for event in events:
        assert event["ph"] in "MBEisfC"
        assert isinstance(event["name"], str)
        assert event["pid"] == 1
        assert event["tid"] in named
        if event["ph"] == "M":
            continue
        assert isinstance(event["ts"], int)
        assert event["ts"] >= 0
        if event["ph"] in "BE":
            assert event["ts"] >= last[event["tid"]]
            last[event["tid"]] = event["ts"]
        if event["ph"] == "B":
            open_slices[event["tid"]].append(event["name"])
        if event["ph"] == "E":
            assert open_slices[event["tid"]].pop() == event["name"]
        if event["ph"] == "C":
            assert all(isinstance(value, int) for value in event["args"].values())
    assert not (is_whole and any(open_slices.values()))
    begins = {event["id"] for event in events if event["ph"] == "s"}
    ends = [event["id"] for event in events if event["ph"] == "f"]
    assert sorted(begins) == sorted(ends)
    return events


def slices(events: Sequence[Event], track: str) -> list[tuple[str, int, int]]:
    """Return the name, the begin and the end of each slice of a track, by begin."""
    found: list[tuple[str, int, int]] = []
    stack: list[int] = []
    for event in of_track(events, track):
        if event["ph"] == "B":
            stack.append(len(found))
            found.append((event["name"], event["ts"], -1))
        if event["ph"] == "E":
            name, begin, _ = found[place := stack.pop()]
            found[place] = name, begin, event["ts"]
    return found


def marks(events: Sequence[Event], track: str) -> list[str]:
    """Return the names of the marks on a track."""
    return [event["name"] for event in of_track(events, track) if event["ph"] == "i"]


def of_track(events: Sequence[Event], track: str) -> list[Event]:
    """Return the events of the track with that name."""
    names = tracks(events)
    return [event for event in events if event["ph"] != "M" and names[event["tid"]] == track]


def tracks(events: Sequence[Event]) -> Mapping[int, str]:
    """Return the names of the tracks."""
    return {each["tid"]: each["args"]["name"] for each in events if each["name"] == "thread_name"}


def arrows(events: Sequence[Event]) -> list[tuple[str, int, str, int]]:
    """Return the arrows: from which track and when, to which track and when."""
    names = tracks(events)
    ends = {event["id"]: event for event in events if event["ph"] == "f"}
    return [
        (names[begin["tid"]], begin["ts"], names[end["tid"]], end["ts"])
        for begin in events
        if begin["ph"] == "s"
        for end in [ends[begin["id"]]]
    ]


def samples(events: Sequence[Event], counter: str) -> list[tuple[int, int]]:
    """Return the times and values of a counter."""
    name, _, unit = counter.partition(" ")
    return [(each["ts"], each["args"][unit]) for each in events if each["name"] == name]


# ---- what is in a timeline ----


def test_command_with_a_probe_has_all_phases() -> None:
    """A track shows the wait, the attempt, and in it the time until ready, and the stop."""
    command = Command([FOREVER], name="web", ready=PROBE)
    events = events_of(
        [
            started("web", time=1.0),
            Ready("web", 0.5, 1.5),
            Aborted("web", TimeLimitError("web", 1.0), 1, 2.0),
            exited("web", STOPPED, 2.25),
        ],
        [command],
    )
    assert slices(events, "web") == [
        ("waiting", 0, 1_000_000),
        ("web", 1_000_000, 2_250_000),
        ("until ready", 1_000_000, 1_500_000),
        ("running", 1_500_000, 2_000_000),
        ("stopping", 2_000_000, 2_250_000),
    ]
    assert marks(events, "web") == ["aborted", "failed"]


def test_launch_and_requested_stop_are_slices() -> None:
    """A launch is before an attempt, a stop at its end; the message comes after the slice."""
    messages: list[BatchMessage] = [
        Started("a", 1, 1, 1.0, launching=0.25),
        Exited("a", STOPPED, 1, 3.0, stopping=0.5),
        Restarting("a", 2, 0.5, 3.0),
        Started("a", 2, 2, 3.5, launching=0.25),
        Exited("a", STOPPED, 1, 4.0, stopping=2.5),
    ]
    assert slices(events_of(messages, [Command(["x"], name="a")]), "a") == [
        ("waiting", 0, 750_000),
        ("starting", 750_000, 1_000_000),
        ("a", 1_000_000, 3_000_000),
        ("stopping", 2_500_000, 3_000_000),
        ("waiting to restart", 3_000_000, 3_250_000),
        ("starting", 3_250_000, 3_500_000),
        ("a", 3_500_000, 4_000_000),
        ("stopping", 3_500_000, 4_000_000),
    ]


def test_attempt_tells_its_process_and_its_end() -> None:
    """The begin of an attempt has its process and command line, its end all that is known then."""
    messages: list[BatchMessage] = [
        Started("a", 42, 1, 0.5, "h1"),
        out("a", b"123\n", 0.6),
        out("a", b"4\n", 0.7),
        err("a", b"!\n", 0.8),
        Exited("a", Exit(3, None), 1, 0.9, Usage(0.25, 0.5, 4096)),
    ]
    events = events_of(messages, [Command(["x", "y z"], name="a")])
    begin, end = [each for each in of_track(events, "a") if each["name"] == "a"]
    assert begin["args"] == {"pid": 42, "attempt": 1, "host": "h1", "command": "x 'y z'"}
    assert end["args"] == {
        "status": "failed",
        "exit": "exit code 3",
        "stdout bytes": 6,
        "stderr bytes": 2,
        "user seconds": 0.25,
        "system seconds": 0.5,
        "peak memory bytes": 4096,
        "last lines": ["123", "4", "!"],
    }


def test_only_a_failure_has_last_lines() -> None:
    """The lines of a command that succeeded or was stopped are not in the trace."""
    for end in (OK, STOPPED):
        events = events_of([started("a"), out("a", b"1\n"), exited("a", end, 0.9)])
        assert "last lines" not in of_track(events, "a")[-1]["args"]


@pytest.mark.parametrize(
    ("output", "lines"),
    [
        ([], []),
        ([b"a\n", b"b"], ["a", "b"]),
        ([b"\x1b[31mred\x1b[0m\r\n"], ["red"]),
        ([b"\xff\n"], ["\N{REPLACEMENT CHARACTER}"]),
        ([b"%d\n" % number for number in range(20)], [str(number) for number in range(10, 20)]),
        ([b"x" * 2000 + b"\n", b"y" * 2000 + b"\n"], ["y" * 2000]),
        ([b"x" * 5000], ["x" * 2048]),
    ],
)
def test_last_lines_are_few(output: Sequence[bytes], lines: Sequence[str]) -> None:
    """A `Tail` has the last 10 lines, at most 2 KiB, as text."""
    tail = Tail()
    for data in output:
        tail.add(data)
    assert tail.lines() == lines


def test_restart_has_a_wait_of_its_own() -> None:
    """After a failure, the track shows the wait for the next attempt."""
    events = events_of(
        [
            started("a", time=1.0),
            exited("a", Exit(1, None), 2.0),
            Restarting("a", 2, 0.5, 2.0),
            started("a", attempt=2, time=2.5),
            exited("a", OK, 3.0),
        ],
        [Command(["x"], name="a")],
    )
    assert [name for name, *_ in slices(events, "a")] == ["waiting", "a", "waiting to restart", "a"]
    assert marks(events, "a") == ["failed", "restarting"]


def test_marks_show_what_went_wrong() -> None:
    """Commands that never ran, SIGKILL, lost output and lost hosts are marked."""
    lost = HostLostError("h1", "gone")
    events = events_of(
        [
            HostUp("h1", 0.1),
            Failed("a", LaunchError("a", "no"), 1, 0.2),
            Skipped("b", DependencyError("b", "a has failed"), 0.3),
            started("c", time=0.4),
            Dropped("c", 7, 0.5),
            exited("c", FORCED, 0.6),
            started("d", time=0.7),
            Aborted("d", lost, 1, 0.8),
            HostLost("h1", lost, 0.8),
            started("e", time=0.9),
            Aborted("e", CannotStopError("e", 1, 5.0), 1, 1.0),
        ],
        [Command(["x"], name=name) for name in "abcde"],
    )
    assert [marks(events, name) for name in "abcde"] == [
        ["failed"],
        ["skipped"],
        ["output dropped", "killed"],
        ["failed"],
        ["failed"],
    ]
    assert marks(events, "currant") == ["host up", "host lost"]
    assert [slices(events, name)[-1][2] for name in "abcde"] == [
        200_000,
        300_000,
        600_000,
        800_000,
        1_000_000,
    ]


def test_arrow_leads_from_what_a_command_waited_for() -> None:
    """An arrow starts where the condition was met, within the slice of that command."""
    commands = [
        Command(["x"], name="build"),
        Command(["x"], name="db", ready=PROBE),
        Command(["x"], name="cache.1"),
        Command(["x"], name="cache.2"),
        Command(["x"], name="app", after={"build": "succeeded", "db": None, "cache": None}),
    ]
    events = events_of(
        [
            started("build", time=1.0),
            started("db", time=1.0),
            started("cache.1", time=1.1),
            started("cache.2", time=1.2),
            Ready("db", 1.0, 2.0),
            exited("build", OK, 3.0),
            started("app", time=3.5),
        ],
        commands,
    )
    assert arrows(events) == [
        ("build", 2_999_999, "app", 3_500_000),
        ("db", 2_000_000, "app", 3_500_000),
        ("cache.1", 1_100_000, "app", 3_500_000),
        ("cache.2", 1_200_000, "app", 3_500_000),
    ]
    for name, when, *_ in arrows(events):
        assert any(begin <= when < end for _, begin, end in slices(events, name)[1:])


def test_restart_draws_no_second_arrow() -> None:
    """A command waits for others before its first start alone."""
    commands = [Command(["x"], name="a"), Command(["x"], name="b", after="a")]
    messages: list[BatchMessage] = [
        started("a", time=1.0),
        started("b", time=2.0),
        exited("b", Exit(1, None), 3.0),
        started("b", attempt=2, time=4.0),
    ]
    assert len(arrows(events_of(messages, commands))) == 1


def test_counters_have_a_sample_for_each_window() -> None:
    """A counter falls to zero after the last output, and rises to the most that ran at a time."""
    messages: list[BatchMessage] = [started("a", time=0.01), started("b", time=0.02)]
    messages += [out("a", b"x" * 5, 0.101), out("a", b"x" * 5, 0.102), exited("b", OK, 0.11)]
    messages += [exited("a", OK, 1.0)]
    events = events_of(messages, end=1.0)
    running, output = "running commands", "output bytes per second"
    assert samples(events, running) == [(0, 2), (200_000, 1), (1_100_000, 0)]
    assert samples(events, output) == [(0, 0), (100_000, 100), (200_000, 0)]


def test_counters_are_sampled_ten_times_a_second_at_most() -> None:
    """However many messages there are, a second has ten samples of a counter."""
    messages = [out("a", b"x" * number, number / 10_000) for number in range(10_000)]
    events = events_of([started("a"), *messages], end=1.0)
    assert len(samples(events, "output bytes per second")) <= 1_000_000 // WINDOW + 2


def test_usage_is_a_sum_over_all_commands() -> None:
    """Memory is that of the present; the processor time includes what ended between two samples."""
    timeline = Timeline(0.0, {}, in_slots=False)
    timeline.add_usage(0.5, {})
    for pid, name in enumerate("abc", 1):
        timeline.add(Started(name, pid, 1, 0.5, "h1" if name == "c" else None))
    assert timeline.local_pids() == {1, 2}
    timeline.add_usage(1.0, {1: SessionUsage(1, 100, 0.5), 2: SessionUsage(1, 10, 1.0)})
    timeline.add(Exited("a", OK, 1, 1.5, Usage(1.0, 0.5, 100)))
    timeline.add(Exited("c", OK, 1, 1.5, Usage(9.0, 9.0, 100)))
    timeline.add_usage(2.0, {2: SessionUsage(1, 10, 1.0)})
    timeline.add(exited("b", OK, 2.5))
    timeline.finish(3.0)
    events = checked(HEADER + timeline.take() + b"]")
    assert samples(events, "memory bytes") == [(1_000_000, 110), (2_000_000, 10), (3_000_000, 0)]
    assert samples(events, "processor percent") == [(0, 150), (1_000_000, 100), (2_000_000, 0)]


def test_usage_of_short_commands_is_seen() -> None:
    """Commands that no sample finds running have used processor time."""
    timeline = Timeline(0.0, {}, in_slots=True)
    timeline.add(started("a", time=0.25))
    timeline.add(Exited("a", OK, 1, 0.5, Usage(0.25, 0.25, 100)))
    timeline.add_usage(1.0, {})
    timeline.finish(2.0)
    events = checked(HEADER + timeline.take() + b"]")
    assert samples(events, "processor percent") == [(0, 50), (1_000_000, 0)]


def test_commands_of_a_map_share_the_tracks_of_slots() -> None:
    """A slot has one track, and nothing is kept of a command that has ended."""
    timeline = Timeline(0.0, {}, in_slots=True)
    messages: list[BatchMessage] = []
    for number in range(0, 1000, 2):
        pair = (f"x#{number}", f"x#{number + 1}")
        messages += [started(name, time=float(number)) for name in pair]
        messages += [exited(name, OK, number + 1.0) for name in pair]
    for message in messages:
        timeline.add(message)
    timeline.finish(1001.0)
    events = checked(HEADER + timeline.take() + b"]")
    assert sorted(tracks(events).values()) == ["currant", "slot 1", "slot 2"]
    assert len(slices(events, "slot 1")) == len(slices(events, "slot 2")) == 500
    assert vars(timeline)["_tracks"] == {}


def test_restart_in_a_slot_names_the_command() -> None:
    """In a track that several commands share, the wait to restart says of which command it is."""
    messages: list[BatchMessage] = [
        started("x#1", time=1.0),
        exited("x#1", Exit(1, None), 2.0),
        Restarting("x#1", 2, 0.5, 2.0),
        started("x#2", time=2.1),
        exited("x#2", OK, 2.2),
        started("x#1", attempt=2, time=2.5),
    ]
    events = events_of(messages, in_slots=True)
    names = [name for name, *_ in slices(events, "slot 1")]
    assert names == ["x#1", "x#1: waiting to restart", "x#1"]
    assert [name for name, *_ in slices(events, "slot 2")] == ["x#2"]


def test_times_in_a_slot_do_not_go_back_between_commands() -> None:
    """If the clock is set back, the next command of a slot begins at the end of the last."""
    events = events_of(
        [started("x#1", time=1.0), exited("x#1", OK, 3.0), started("x#2", time=2.0)],
        end=2.5,
        in_slots=True,
    )
    assert slices(events, "slot 1") == [
        ("x#1", 1_000_000, 3_000_000),
        ("x#2", 3_000_000, 3_000_000),
    ]


def test_commands_that_a_runner_forgets_are_forgotten() -> None:
    """The tracks in memory are few if the Runner keeps few commands."""
    timeline = Timeline(0.0, {}, in_slots=False)
    for number in range(10_000):
        timeline.add(started(f"x#{number}", time=1.0))
        timeline.add(exited(f"x#{number}", OK, 2.0))
    assert len(vars(timeline)["_tracks"]) <= MIN_PRUNED
    timeline.finish(3.0)
    checked(HEADER + timeline.take() + b"]")


NAMES = ["a", 'q"\\', "new\nline", "\udcff", "waiting", "é\U0001f600\0"]

MAKERS: Sequence[Callable[[str, float], BatchMessage]] = [
    lambda name, time: Started(name, 1, 1, time, launching=abs(time)),
    lambda name, time: Ready(name, 1.0, time),
    lambda name, time: Exited(name, OK, 1, time),
    lambda name, time: Exited(name, FORCED, 1, time, stopping=abs(time)),
    lambda name, time: Restarting(name, 2, 1.0, time),
    lambda name, time: Aborted(name, TimeLimitError(name, 1.0), 1, time),
    lambda name, time: Aborted(name, HostLostError("h", "x"), 1, time),
    lambda name, time: Failed(name, LaunchError(name, "no"), 1, time),
    lambda name, time: Skipped(name, DependencyError(name, "no"), time),
    lambda name, time: Dropped(name, 1, time),
    lambda name, time: out(name, b"x\n", time),
]
"""Functions that build any message of a command at a time."""


@given(
    st.lists(st.tuples(st.sampled_from(MAKERS), st.sampled_from(NAMES), st.floats(-5, 20))),
    st.booleans(),
)
def test_any_messages_give_a_timeline_that_is_right(
    steps: Sequence[tuple[Callable[[str, float], BatchMessage], str, float]], in_slots: bool
) -> None:
    """Slices nest and end, and times do not go back, in whatever order the messages come."""
    commands = [Command(["x"], name=name, ready=PROBE) for name in ("a", "waiting")]
    messages = [make(name, time) for make, name, time in steps]
    events_of(messages, [] if in_slots else commands, in_slots=in_slots)


# ---- real runs ----


@pytest.mark.anyio
async def test_runner_leaves_a_whole_trace(tmp_path: Path) -> None:
    """Each command has a track with its attempts, and the file is an array of events."""
    path = tmp_path / "folder" / "trace.json"
    twice = RestartPolicy("on-failure", max_restarts=1, delay=0.0)
    commands = [
        Command(["true"], name="build"),
        Command.shell(
            f"echo up; {EXEC_FOREVER}", name='"web"\n', after={"build": "succeeded"},
            ready=ready.line("up"), timeout=0.01,
        ),
        Command(["false"], name="flaky", restart=twice),
    ]  # fmt: skip
    async with Runner(commands, sinks=[TraceSink(path)]):
        pass
    events = checked(path.read_bytes())
    assert sorted(tracks(events).values()) == sorted(["currant", "build", '"web"\n', "flaky"])
    assert [name for name, *_ in slices(events, "build")] == ["waiting", "starting", "build"]
    assert [name for name, *_ in slices(events, "flaky")] == [
        "waiting", "starting", "flaky", "waiting to restart", "starting", "flaky",
    ]  # fmt: skip
    assert marks(events, '"web"\n') == ["aborted", "failed"]
    assert [(begin, end) for begin, _, end, _ in arrows(events)] == [("build", '"web"\n')]


@pytest.mark.anyio
async def test_map_has_a_track_for_each_slot(tmp_path: Path) -> None:
    """The jobs of a map are slices in as many tracks as run at the same time."""
    path = tmp_path / "trace.json"
    sink = TraceSink(path)
    async for _ in currant.map("true", range(20), max_processes=3, sinks=[sink]):
        pass
    events = checked(path.read_bytes())
    found = [name for slot in (1, 2, 3) for name, *_ in slices(events, f"slot {slot}")]
    names = [f"true#{number}" for number in range(1, 21)]
    assert sorted(found) == sorted([*names, *(f"{name}: starting" for name in names)])
    assert set(tracks(events).values()) <= {"currant", "slot 1", "slot 2", "slot 3"}


@needs_proc
@pytest.mark.anyio
async def test_memory_is_sampled_and_the_stop_has_a_slice(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The memory of a command is sampled even if it is silent; a requested stop is shown."""
    monkeypatch.setattr(trace_sink, "SAMPLE_PAUSE", 0.001)
    path = tmp_path / "trace.json"
    async with Runner({"web": FOREVER}, sinks=[TraceSink(path)]) as runner:
        await to_thread.run_sync(wait_for_text, path, b'"memory"')
        runner.kill()
    events = checked(path.read_bytes())
    assert [name for name, *_ in slices(events, "web")][-2:] == ["web", "stopping"]
    memory = [value for _, value in samples(events, "memory bytes")]
    assert max(memory) > 0
    assert memory[-1] == samples(events, "processor percent")[-1][1] == 0


@pytest.mark.anyio
async def test_another_run_replaces_the_file(tmp_path: Path) -> None:
    """A sink that serves a second Runner begins again, and so does a sink of the same path."""
    path = tmp_path / "trace.json"
    path.write_text("old" * 10_000)
    sink = TraceSink(path)
    for name in ("first", "second"):
        async with Runner({name: "x"}, launcher=FakeLauncher({name: Script()}), sinks=[sink]):
            pass
        assert set(tracks(checked(path.read_bytes())).values()) == {"currant", name}


def read_killed(path: Path) -> list[Event]:
    """Return the events of a trace whose program was killed."""
    return checked(path.read_bytes() + b"]", is_whole=False)


def wait_for_text(path: Path, text: bytes, size: int = 0) -> None:
    """Wait until a file has a text and a size."""
    deadline = time.monotonic() + LIMIT
    while not path.exists() or path.stat().st_size < size or text not in path.read_bytes():
        assert time.monotonic() < deadline, "the file does not grow"
        os.sched_yield()


def test_trace_of_a_killed_program_shows_what_ran(
    start: Start, lifeline: Lifeline, tmp_path: Path
) -> None:
    """After SIGKILL only the closing bracket is missing, and what ran is an open slice."""
    path = tmp_path / "trace.json"
    holds = f"{lifeline.hold('on')}; {EXEC_FOREVER}"
    cli = start("-n", "stays,ends", "--trace", str(path), holds, "true")
    lifeline.wait_for("on")
    wait_for_text(path, b'"status":"succeeded"')
    wait_for_text(path, b'"name":"stays","cat":"command","args"')
    cli.signal(SIGKILL)
    cli.wait()
    lifeline.wait_for_end()
    events = read_killed(path)
    assert slices(events, "ends")[-1][2] > 0
    assert [end for name, _, end in slices(events, "stays") if name == "stays"] == [-1]


def test_trace_of_a_killed_map_is_right_up_to_the_kill(start: Start, tmp_path: Path) -> None:
    """SIGKILL in the middle of many writes leaves whole events."""
    path = tmp_path / "trace.json"
    numbers = [str(number) for number in range(100_000)]
    cli = start("-j", "4", "--trace", str(path), "true", ":::", *numbers, subcommand="map")
    wait_for_text(path, b"true#40", size=10_000)
    cli.signal(SIGKILL)
    cli.wait()
    events = read_killed(path)
    assert sum(len(slices(events, f"slot {slot}")) for slot in (1, 2, 3, 4)) >= 40


# ---- files that cannot be written ----


@NO_FULL_DISK
@pytest.mark.anyio
async def test_full_disk_is_told_and_the_rest_is_a_trace(tmp_path: Path) -> None:
    """Events are lost while the disk is full, and what is written later is a trace."""
    path = tmp_path / "trace.json"
    path.symlink_to("/dev/full")
    messages = Steps((started("a"), None), (started("b"), path.unlink), (started("c"), None))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        await TraceSink(path, on_error="warn")(messages)
    assert [warning.category for warning in caught] == [SinkWarning] * 2
    first, last = (str(warning.message) for warning in caught)
    assert str(path) in first
    assert "the trace is lost until the file can be written again" in first
    assert "bytes of the trace: No space left on device" in last
    assert {"a", "b"}.isdisjoint(tracks_left := set(slices_of_broken(path)))
    assert "c" in tracks_left


def slices_of_broken(path: Path) -> list[str]:
    """Return the names of the slices that begin in a trace that lacks events."""
    return [event["name"] for event in json.loads(path.read_bytes()) if event["ph"] == "B"]


@NO_FULL_DISK
@pytest.mark.anyio
async def test_error_of_a_trace_names_the_file(tmp_path: Path) -> None:
    """By default, a trace that cannot be written stops all commands."""
    path = tmp_path / "trace.json"
    path.symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"trace\.json"):
        async with Runner({"a": FOREVER}, sinks=[TraceSink(path)]):
            pass
    with pytest.raises(IsADirectoryError, match=str(tmp_path)):
        await play(TraceSink(tmp_path), [])


def test_mistakes_are_found_when_the_sink_is_built() -> None:
    """A wrong option is an error of the caller."""
    with pytest.raises(CommandError):
        TraceSink("x", on_error="ignore")  # type: ignore[arg-type]
    with pytest.raises(CommandError):
        TraceSink("a\0b")


# ---- the command line ----


def test_command_line_traces_run_and_map(run: Run, tmp_path: Path) -> None:
    """``--trace`` changes neither output nor status; a teardown is not in the file."""
    path = tmp_path / "trace.json"
    options = ("-q", "-n", "a,b", "--teardown", "echo down", "--trace", str(path))
    ended = run(*options, "echo 1", "exit 3")
    assert ended.status == 3
    assert ended.out == b"a | 1\necho | down\n"
    assert set(tracks(checked(path.read_bytes())).values()) == {"currant", "a", "b"}
    mapped = run(
        "-k", "-q", "-j", "2", "--trace", str(path), "echo", ":::", "1", "2", "3", subcommand="map"
    )
    assert mapped == (0, b"1\n2\n3\n", b"")
    events = checked(path.read_bytes())
    found = {name for slot in (1, 2) for name, *_ in slices(events, f"slot {slot}")}
    assert found >= {"echo#1", "echo#2", "echo#3"}
    sizes = [each["args"]["stdout bytes"] for each in events if "status" in each.get("args", {})]
    assert sizes == [2, 2, 2]


def test_command_line_traces_the_commands_of_a_file(run: Run, tmp_path: Path) -> None:
    """``currant start --trace`` has a track for each command of the configuration."""
    (tmp_path / "currant.toml").write_text('[commands]\nbuild = "true"\n')
    path = tmp_path / "trace.json"
    ended = run("--trace", "trace.json", subcommand="start", cwd=tmp_path)
    assert ended.status == 0
    assert set(tracks(checked(path.read_bytes())).values()) == {"currant", "build"}


@pytest.mark.parametrize("subcommand", ["run", "map"])
def test_trace_that_cannot_be_written_starts_nothing(
    subcommand: str, run: Run, tmp_path: Path
) -> None:
    """One line names the file, and the status is 2."""
    path = tmp_path / "no" / "trace.json"
    words = ("echo 1",) if subcommand == "run" else ("echo", ":::", "1")
    ended = run("--trace", str(path), *words, subcommand=subcommand)
    expected = f"currant: --trace {path}: No such file or directory\n"
    assert ended == (2, b"", expected.encode())
