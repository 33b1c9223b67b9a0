"""Messages, exits and results: what they show, and that they are plain values."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Mapping
from signal import SIGKILL, SIGSEGV, SIGTERM, Signals
from typing import TYPE_CHECKING, Any, assert_never, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from currant import (
    Aborted,
    Batch,
    BatchMessage,
    CommandFailed,
    CurrantError,
    DependencyError,
    Dropped,
    Exit,
    Exited,
    Failed,
    LaunchError,
    Line,
    Message,
    Ready,
    Restarting,
    Result,
    Results,
    Skipped,
    Started,
    TimeLimitError,
)

if TYPE_CHECKING:
    from currant._values.results import Status

ERROR = LaunchError("web", "no memory")

VALUES: list[tuple[BatchMessage | Line | Exit | Result, str]] = [
    (Started("web", 17, 1, 2.5), "command pid attempt time"),
    (Line("web", "stderr", b"hi", b"\n", 2.5), "command stream data ending time"),
    (Batch("web", "stdout", b"a\nb\n", 2.5), "command stream data time"),
    (Exited("web", Exit(3, None), 1, 2.5), "command exit attempt time"),
    (Ready("web", 0.5, 2.5), "command after time"),
    (Aborted("web", TimeLimitError("web", 5), 1, 2.5), "command error attempt time"),
    (Restarting("web", 2, 0.1, 2.5), "command attempt delay time"),
    (Failed("web", ERROR, 1, 2.5), "command error attempt time"),
    (Skipped("web", DependencyError("web", "no db"), 2.5), "command error time"),
    (Dropped("web", 4, 2.5), "command lines time"),
    (Exit(None, SIGTERM, stopped=True), "code signal stopped forced timed_out"),
    (
        Result("web", Exit(0, None), None, "succeeded", 1, 0.5, 2.5, b"out", b"err"),
        "command exit error status attempts duration started_at stdout stderr tail",
    ),
]
KINDS = [type(value).__name__ for value, _ in VALUES]


def result(name: str, status: Status) -> Result:
    """Make the result of a command that ended as `status`."""
    end = Exit(3 if status == "failed" else 0, None, stopped=status == "stopped")
    return Result(name, end, None, status, attempts=1, duration=0.5, started_at=2.5)


# ---- values ----


@pytest.mark.parametrize(("value", "names"), VALUES, ids=KINDS)
def test_the_fields_are_those_of_the_contract(value: Any, names: str) -> None:
    """Each message and result has its promised fields, by position in that order."""
    if isinstance(value, Line):
        assert " ".join(value._fields) == names
    else:
        assert " ".join(spec.name for spec in dataclasses.fields(value)) == names
    # Any word of a pattern may be given by position: `case Started(name, pid)`.
    assert type(value).__match_args__ == tuple(names.split())


@pytest.mark.parametrize(("value", "names"), VALUES, ids=KINDS)
def test_a_value_can_neither_be_changed_nor_grow(value: Any, names: str) -> None:
    """Values are frozen: readers and sinks share them."""
    for name in names.split():
        with pytest.raises(AttributeError):
            setattr(value, name, getattr(value, name))
    assert not hasattr(value, "__dict__")


@pytest.mark.parametrize(("value", "names"), VALUES, ids=KINDS)
def test_a_value_survives_pickle(value: Any, names: str) -> None:
    """What was told can be sent to another process; errors are compared by what they say."""
    again = pickle.loads(pickle.dumps(value))
    assert type(again) is type(value)
    assert repr(again) == repr(value)
    if not hasattr(value, "error") or value.error is None:
        assert again == value
        assert hash(again) == hash(value)


def test_a_reader_may_match_on_every_kind_of_message() -> None:  # noqa: C901 - each kind
    """The union `Message` is closed: a `match` over its members leaves nothing over."""

    def told(message: Message) -> str:  # noqa: C901 - each kind
        match message:
            case Line(stream="stderr"):
                what = f"! {message.text}"
            case Line():
                what = f": {message.text}"
            case Started(pid=pid):
                what = f"runs as {pid}"
            case Exited():
                what = f"ended: {message.exit}"
            case Restarting(delay=delay):
                what = f"again in {delay}"
            case Failed():
                what = f"failed: {message.error}"
            case Ready(after=after):
                what = f"ready after {after}"
            case Aborted(error=error):
                what = f"aborted: {error}"
            case Skipped(error=error):
                what = f"skipped: {error}"
            case Dropped(lines=lines):
                what = f"lost {lines}"
            case _:
                assert_never(message)
        return f"{message.command} {what}"

    assert told(Started("web", 17, 1, 2.5)) == "web runs as 17"
    assert told(Ready("web", 0.5, 2.5)) == "web ready after 0.5"
    slow = TimeLimitError("web", 5)
    assert told(Aborted("web", slow, 1, 2.5)) == f"web aborted: {slow}"
    skipped = DependencyError("web", "no db")
    assert told(Skipped("web", skipped, 2.5)) == "web skipped: 'web' was skipped: no db"
    assert told(Line("web", "stderr", b"hi", b"\n", 2.5)) == "web ! hi"
    assert told(Line("web", "stdout", b"hi", b"\n", 2.5)) == "web : hi"
    assert told(Exited("web", Exit(3, None), 1, 2.5)) == "web ended: exit code 3"
    assert told(Restarting("web", 2, 0.1, 2.5)) == "web again in 0.1"
    assert told(Failed("web", ERROR, 1, 2.5)) == "web failed: cannot start 'web': no memory"
    assert told(Dropped("web", 4, 2.5)) == "web lost 4"


# ---- lines ----


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r", b""], ids=repr)
def test_the_text_of_a_line_is_without_its_ending(ending: bytes) -> None:
    """`Line.text` is the data; the ending is kept apart."""
    assert Line("web", "stdout", "café".encode(), ending, 0.0).text == "café"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        (b"caf\xc3", "caf\ufffd"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"a\0b", "a\0b"),
        (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"),
    ],
    ids=repr,
)
def test_the_text_of_a_line_replaces_what_is_no_utf8(data: bytes, text: str) -> None:
    """Bytes are the truth; reading them as text never fails."""
    line = Line("web", "stdout", data, b"\n", 0.0)
    assert line.text == text
    assert line.data == data


@given(st.binary())
def test_the_text_of_any_line_has_bytes_again(data: bytes) -> None:
    """`Line.text` never raises, and what it gives can be written anywhere."""
    Line("web", "stdout", data, b"", 0.0).text.encode()


@given(st.text(st.characters(codec="utf-8")))
def test_the_text_of_a_line_of_utf8_is_that_text(text: str) -> None:
    """`Line.text` decodes UTF-8."""
    assert Line("web", "stdout", text.encode(), b"\n", 0.0).text == text


@given(st.binary() | st.text("ab\r\n").map(str.encode))
def test_the_lines_of_a_batch_are_all_of_its_bytes(data: bytes) -> None:
    """Data and endings of the lines, put together, are the batch; the rest is the batch's."""
    lines = list(Batch("web", "stderr", data, 2.5).lines())
    assert b"".join(line.data + line.ending for line in lines) == data
    for line in lines:
        assert type(line) is Line
        assert (line.command, line.stream, line.time) == ("web", "stderr", 2.5)
        assert not {*b"\r\n"} & {*line.data}
        assert line.data + line.ending


@given(st.binary(min_size=1) | st.text("a\r\n", min_size=1).map(str.encode))
def test_the_count_of_a_batch_is_the_number_of_its_lines(data: bytes) -> None:
    """`Batch.count` tells how many lines there are without making them."""
    batch = Batch("web", "stdout", data, 2.5)
    assert batch.count() == len(list(batch.lines()))


def test_a_batch_of_nothing_has_no_lines() -> None:
    """No bytes are no line, neither made nor counted."""
    batch = Batch("web", "stdout", b"", 2.5)
    assert not list(batch.lines())
    assert batch.count() == 0


def test_a_batch_knows_all_three_endings_and_an_unfinished_line() -> None:
    """Each line keeps the ending that it was written with."""
    lines = Batch("web", "stdout", b"a\nb\r\n\rc", 2.5).lines()
    assert [(line.data, line.ending) for line in lines] == [
        (b"a", b"\n"),
        (b"b", b"\r\n"),
        (b"", b"\r"),
        (b"c", b""),
    ]


# ---- exits ----


@pytest.mark.parametrize(
    ("end", "text"),
    [
        (Exit(0, None), "exit code 0"),
        (Exit(3, None), "exit code 3"),
        (Exit(None, SIGSEGV), "SIGSEGV"),
        (Exit(None, 40), "signal 40"),
        (Exit(None, SIGTERM, stopped=True), "stopped (SIGTERM)"),
        (Exit(None, SIGKILL, stopped=True, forced=True), "stopped (SIGKILL)"),
        (Exit(143, None, stopped=True), "stopped (exit code 143)"),
    ],
    ids=repr,
)
def test_an_exit_reads_as_a_person_would_tell_it(end: Exit, text: str) -> None:
    """``str(exit)`` names the code or the signal, and says where we stopped it."""
    assert str(end) == text


@pytest.mark.parametrize(
    ("returncode", "end"),
    [
        (0, Exit(0, None)),
        (255, Exit(255, None)),
        (-11, Exit(None, SIGSEGV)),
        (-9, Exit(None, SIGKILL)),
        (-50, Exit(None, 50)),
    ],
)
def test_an_exit_is_read_from_a_return_code(returncode: int, end: Exit) -> None:
    """A code is a code, a number below 0 is a signal; one without a name is its number."""
    built = Exit.from_returncode(returncode)
    assert built == end
    assert isinstance(built.signal, Signals) == (returncode in (-11, -9))
    assert Exit.from_returncode(returncode, stopped=True) == dataclasses.replace(end, stopped=True)


def test_an_exit_is_not_by_us_unless_told() -> None:
    """Neither `stopped` nor `forced` is set by default."""
    end = Exit(0, None)
    assert (end.stopped, end.forced) == (False, False)


def test_a_result_carries_no_output_unless_told() -> None:
    """`stdout` and `stderr` are None where nothing was captured, which b"" is not."""
    bare = result("web", "succeeded")
    assert (bare.stdout, bare.stderr, bare.tail) == (None, None, ())


# ---- results ----


def test_results_are_a_mapping_in_the_order_given() -> None:
    """`Results` maps names to results, in no order of its own."""
    given_in_order = {name: result(name, "succeeded") for name in ("web", "db", "api")}
    results = Results(given_in_order)
    assert isinstance(results, Mapping)
    assert list(results) == ["web", "db", "api"]
    assert results["db"] is given_in_order["db"]
    assert len(results) == 3
    assert "web" in results
    assert "none" not in results
    assert results.get("none") is None
    with pytest.raises(KeyError):
        results["none"]
    assert results == given_in_order


def test_results_cannot_be_changed() -> None:
    """They stay what they were, whatever becomes of what they were made from."""
    source = {"web": result("web", "failed")}
    results = Results(source)
    source.clear()
    assert list(results) == ["web"]
    with pytest.raises(TypeError):
        cast("Any", results)["db"] = result("db", "failed")


def test_results_survive_pickle() -> None:
    """Results can be sent to another process, order included."""
    results = Results({name: result(name, "succeeded") for name in ("web", "db")})
    again = pickle.loads(pickle.dumps(results))
    assert type(again) is Results
    assert list(again.items()) == list(results.items())


def test_results_show_their_commands() -> None:
    """The repr shows each result by its name."""
    results = Results({"web": result("web", "failed")})
    assert repr(results) == f"Results({{'web': {results['web']!r}}})"


@pytest.mark.parametrize(
    ("statuses", "failed"),
    [
        ([], []),
        (["succeeded"], []),
        (["stopped"], []),
        (["succeeded", "stopped"], []),
        (["failed"], ["0"]),
        (["failed", "succeeded", "stopped", "failed"], ["0", "3"]),
    ],
)
def test_any_failure_makes_results_not_ok(statuses: list[Status], failed: list[str]) -> None:
    """A command that we stopped is no failure; no commands are no failure either."""
    results = Results({str(n): result(str(n), status) for n, status in enumerate(statuses)})
    assert results.ok is not bool(failed)
    assert isinstance(results.failed, Results)
    assert list(results.failed) == failed


def test_check_is_silent_where_none_has_failed() -> None:
    """`Results.check` raises for failures only."""
    Results({}).check()
    Results({"a": result("a", "succeeded"), "b": result("b", "stopped")}).check()


def test_check_raises_a_group_of_all_that_failed() -> None:
    """`Results.check` leaves out none of the failures, and each tells its command."""
    statuses: list[Status] = ["failed", "succeeded", "failed"]
    results = Results({str(n): result(str(n), status) for n, status in enumerate(statuses)})
    with pytest.raises(ExceptionGroup, match="2 of 3 commands failed") as caught:
        results.check()
    errors = caught.value.exceptions
    assert [type(error) for error in errors] == [CommandFailed, CommandFailed]
    assert [cast("CommandFailed", error).result for error in errors] == [results["0"], results["2"]]
    assert caught.group_contains(CurrantError, match=r"'2': exit code 3")
