"""Messages, exits and results: their fields and texts, and that they are plain values."""

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
    HostLost,
    HostLostError,
    HostUp,
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
    (Started("web", 17, 1, 2.5), "command pid attempt time host launching"),
    (Line("web", "stderr", b"hi", b"\n", 2.5), "command stream data ending time"),
    (Batch("web", "stdout", b"a\nb\n", 2.5), "command stream data time"),
    (Exited("web", Exit(3, None), 1, 2.5), "command exit attempt time usage stopping"),
    (Ready("web", 0.5, 2.5), "command after time"),
    (Aborted("web", TimeLimitError("web", 5), 1, 2.5), "command error attempt time"),
    (Restarting("web", 2, 0.1, 2.5), "command attempt delay time reason"),
    (Failed("web", ERROR, 1, 2.5), "command error attempt time"),
    (Skipped("web", DependencyError("web", "no db"), 2.5), "command error time"),
    (Dropped("web", 4, 2.5), "command lines time"),
    (HostUp("h1", 2.5), "host time"),
    (HostLost("h1", HostLostError("h1", "no route"), 2.5), "host error time"),
    (Exit(None, SIGTERM, stopped=True), "code signal stopped forced timed_out"),
    (
        Result("web", Exit(0, None), None, "succeeded", 1, 0.5, 2.5, b"out", b"err"),
        (
            "command exit error status attempts duration started_at stdout stderr tail usage "
            "omitted places host"
        ),
    ),
]
KINDS = [type(value).__name__ for value, _ in VALUES]


def result(name: str, status: Status) -> Result:
    """Return the result of a command that ended as `status`."""
    end = Exit(3 if status == "failed" else 0, None, stopped=status == "stopped")
    return Result(name, end, None, status, attempts=1, duration=0.5, started_at=2.5)


# ---- values ----


@pytest.mark.parametrize(("value", "names"), VALUES, ids=KINDS)
def test_fields_match_the_contract(value: Any, names: str) -> None:
    """Each message and result has the promised fields, in the promised order."""
    if isinstance(value, Line):
        assert " ".join(value._fields) == names
    else:
        assert " ".join(spec.name for spec in dataclasses.fields(value)) == names
    # Patterns may use positions: `case Started(name, pid)`.
    assert type(value).__match_args__ == tuple(names.split())


@pytest.mark.parametrize(("value", "names"), VALUES, ids=KINDS)
def test_value_is_immutable(value: Any, names: str) -> None:
    """Values are frozen, because readers and sinks share them."""
    for name in names.split():
        with pytest.raises(AttributeError):
            setattr(value, name, getattr(value, name))
    # An agent on Python 3.9, whose dataclasses have no slots, makes an `Exit`, too.
    assert isinstance(value, Exit) or not hasattr(value, "__dict__")


@pytest.mark.parametrize(("value", "names"), VALUES, ids=KINDS)
def test_value_survives_pickle(value: Any, names: str) -> None:
    """A value can be sent to another process; errors compare by their text here."""
    again = pickle.loads(pickle.dumps(value))
    assert type(again) is type(value)
    assert repr(again) == repr(value)
    if not hasattr(value, "error") or value.error is None:
        assert again == value
        assert hash(again) == hash(value)


def test_match_over_all_messages_is_exhaustive() -> None:  # noqa: C901 - each kind
    """The union `Message` is closed: type checkers accept a `match` over its members."""

    def described(message: Message) -> str:  # noqa: C901, PLR0912 - each kind
        match message:
            case Line(stream="stderr"):
                text = f"! {message.text}"
            case Line():
                text = f": {message.text}"
            case Started(pid=pid):
                text = f"runs as {pid}"
            case Exited():
                text = f"ended: {message.exit}"
            case Restarting(delay=delay):
                text = f"again in {delay}"
            case Failed():
                text = f"failed: {message.error}"
            case Ready(after=after):
                text = f"ready after {after}"
            case Aborted(error=error):
                text = f"aborted: {error}"
            case Skipped(error=error):
                text = f"skipped: {error}"
            case Dropped(lines=lines):
                text = f"lost {lines}"
            case HostUp(host=host):
                text = f"host {host} is up"
            case HostLost(host=host, error=error):
                text = f"host {host}: {error.reason}"
            case _:
                assert_never(message)
        return f"{message.command} {text}"

    assert described(Started("web", 17, 1, 2.5)) == "web runs as 17"
    assert described(Ready("web", 0.5, 2.5)) == "web ready after 0.5"
    slow = TimeLimitError("web", 5)
    assert described(Aborted("web", slow, 1, 2.5)) == f"web aborted: {slow}"
    skipped = DependencyError("web", "no db")
    assert described(Skipped("web", skipped, 2.5)) == "web skipped: 'web' was skipped: no db"
    assert described(Line("web", "stderr", b"hi", b"\n", 2.5)) == "web ! hi"
    assert described(Line("web", "stdout", b"hi", b"\n", 2.5)) == "web : hi"
    assert described(Exited("web", Exit(3, None), 1, 2.5)) == "web ended: exit code 3"
    assert described(Restarting("web", 2, 0.1, 2.5)) == "web again in 0.1"
    assert described(Failed("web", ERROR, 1, 2.5)) == "web failed: cannot start 'web': no memory"
    assert described(Dropped("web", 4, 2.5)) == "web lost 4"


# ---- lines ----


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r", b""], ids=repr)
def test_text_of_a_line_excludes_the_ending(ending: bytes) -> None:
    """`Line.text` is the decoded data; the ending is a separate field."""
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
def test_text_of_a_line_replaces_invalid_utf8(data: bytes, text: str) -> None:
    """Decoding never fails, and `Line.data` keeps the original bytes."""
    line = Line("web", "stdout", data, b"\n", 0.0)
    assert line.text == text
    assert line.data == data


@given(st.binary())
def test_text_of_any_line_can_be_encoded(data: bytes) -> None:
    """`Line.text` never raises, and the result can be written anywhere."""
    Line("web", "stdout", data, b"", 0.0).text.encode()


@given(st.text(st.characters(codec="utf-8")))
def test_text_of_a_line_decodes_utf8(text: str) -> None:
    """`Line.text` decodes UTF-8."""
    assert Line("web", "stdout", text.encode(), b"\n", 0.0).text == text


@given(st.binary() | st.text("ab\r\n").map(str.encode))
def test_lines_of_a_batch_contain_all_of_its_bytes(data: bytes) -> None:
    """The data and endings of the lines, joined, equal the data of the batch."""
    lines = list(Batch("web", "stderr", data, 2.5).lines())
    assert b"".join(line.data + line.ending for line in lines) == data
    for line in lines:
        assert type(line) is Line
        assert (line.command, line.stream, line.time) == ("web", "stderr", 2.5)
        assert not {*b"\r\n"} & {*line.data}
        assert line.data + line.ending


@given(st.binary(min_size=1) | st.text("a\r\n", min_size=1).map(str.encode))
def test_count_of_a_batch_is_the_number_of_its_lines(data: bytes) -> None:
    """`Batch.count` counts the lines without building them."""
    batch = Batch("web", "stdout", data, 2.5)
    assert batch.count() == len(list(batch.lines()))


def test_empty_batch_has_no_lines() -> None:
    """Without bytes there is no line, neither built nor counted."""
    batch = Batch("web", "stdout", b"", 2.5)
    assert not list(batch.lines())
    assert batch.count() == 0


def test_batch_splits_at_all_three_endings() -> None:
    """Each line keeps the ending with which it was written; the last line may have none."""
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
def test_text_of_an_exit(end: Exit, text: str) -> None:
    """``str(exit)`` shows the code or the signal, and whether currant stopped the process."""
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
def test_exit_from_a_return_code(returncode: int, end: Exit) -> None:
    """A negative number is a signal; a signal without a name stays a number."""
    built = Exit.from_returncode(returncode)
    assert built == end
    assert isinstance(built.signal, Signals) == (returncode in (-11, -9))
    assert Exit.from_returncode(returncode, stopped=True) == dataclasses.replace(end, stopped=True)


def test_exit_is_not_stopped_by_default() -> None:
    """Neither `stopped` nor `forced` is set by default."""
    end = Exit(0, None)
    assert (end.stopped, end.forced) == (False, False)


def test_result_has_no_output_by_default() -> None:
    """`stdout` and `stderr` are None if nothing was captured; b"" means an empty output."""
    bare = result("web", "succeeded")
    assert (bare.stdout, bare.stderr, bare.tail) == (None, None, ())


# ---- results ----


def test_results_are_a_mapping_in_the_order_given() -> None:
    """`Results` maps names to results and keeps the order in which they were given."""
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


def test_results_are_immutable() -> None:
    """A later change of the source mapping does not change the results."""
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


def test_repr_of_results_shows_each_command() -> None:
    """The repr shows each result with its name."""
    results = Results({"web": result("web", "failed")})
    assert repr(results) == f"Results({{'web': {results['web']!r}}})"


def test_repr_of_a_result_is_short() -> None:
    """A terminal is not flooded: a long output is shown by its size."""
    result = Result("web", Exit(3, None), None, "failed", 1, 0.5, 2.5, b"x" * 201, b"x" * 200)
    assert repr(result) == (
        "Result(command='web', exit=Exit(code=3, signal=None, stopped=False, forced=False, "
        "timed_out=False), error=None, status='failed', attempts=1, duration=0.5, started_at=2.5, "
        f"stdout=<201 bytes>, stderr=b'{'x' * 200}', omitted=Omitted(stdout=0, stderr=0, after=0))"
    )


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
def test_results_are_ok_unless_a_command_failed(statuses: list[Status], failed: list[str]) -> None:
    """A stopped command is not a failure; neither is an empty set of commands."""
    results = Results({str(n): result(str(n), status) for n, status in enumerate(statuses)})
    assert results.ok is not bool(failed)
    assert isinstance(results.failed, Results)
    assert list(results.failed) == failed


def test_check_is_silent_if_no_command_failed() -> None:
    """`Results.check` raises for failures only."""
    Results({}).check()
    Results({"a": result("a", "succeeded"), "b": result("b", "stopped")}).check()


def test_check_raises_a_group_of_all_failures() -> None:
    """The group has one error for each failed command, which shows its name."""
    statuses: list[Status] = ["failed", "succeeded", "failed"]
    results = Results({str(n): result(str(n), status) for n, status in enumerate(statuses)})
    with pytest.raises(ExceptionGroup, match="2 of 3 commands failed") as caught:
        results.check()
    errors = caught.value.exceptions
    assert [type(error) for error in errors] == [CommandFailed, CommandFailed]
    assert [cast("CommandFailed", error).result for error in errors] == [results["0"], results["2"]]
    assert caught.group_contains(CurrantError, match=r"'2': exit code 3")
