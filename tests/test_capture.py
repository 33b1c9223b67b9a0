"""The captured output of a command: everything, its ends, or nothing, as bytes and as text."""

from __future__ import annotations

import pickle
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import currant
from currant import (
    Capture,
    Command,
    CommandError,
    NotCapturedError,
    Omitted,
    RestartPolicy,
    Result,
    Runner,
)
from currant._channel.capture import CapturedOutput
from currant._values.capture import as_capture
from currant.testing import FakeLauncher, Script

if TYPE_CHECKING:
    from currant._values.capture import CaptureLike
    from currant._values.lines import StreamName

CHUNKS = st.lists(st.binary(max_size=30))
SIZES = st.integers(0, 50)


def captured(
    how: CaptureLike, *chunks: bytes, stream: StreamName = "stdout"
) -> tuple[bytes | None, Omitted]:
    """Return what a capture keeps of `chunks`, and how much it omits."""
    output = CapturedOutput(as_capture(how))
    for chunk in chunks:
        output.add(stream, chunk)
    return output.get(stream), output.omitted


def result_of(kept: bytes | None, omitted: int = 0, after: int = 0) -> Result:
    """Return a result with this stdout and the same stderr."""
    return Result(
        "web",
        None,
        None,
        "succeeded",
        1,
        0.0,
        None,
        stdout=kept,
        stderr=kept,
        omitted=Omitted(omitted, omitted, after),
    )


# ---- bytes ----


def test_capture_is_none_unless_asked_for() -> None:
    """Without a capture the result is None, unlike empty output, and nothing counts as omitted."""
    assert captured(False, b"abc") == (None, Omitted(0, 0))


@pytest.mark.parametrize("how", [True, 0, 1, 100, Capture(1, 1), Capture()])
def test_capture_of_no_output_is_empty(how: CaptureLike) -> None:
    """A command that wrote nothing has captured b"" on both streams."""
    assert captured(how) == (b"", Omitted(0, 0))
    assert captured(how, stream="stderr") == (b"", Omitted(0, 0))


def test_streams_are_captured_separately() -> None:
    """Each stream has its own bytes, in order."""
    output = CapturedOutput(as_capture(True))
    output.add("stdout", b"a")
    output.add("stderr", b"b")
    output.add("stdout", b"c")
    assert output.get("stdout") == b"ac"
    assert output.get("stderr") == b"b"


@given(CHUNKS)
def test_full_capture_keeps_all_bytes(chunks: list[bytes]) -> None:
    """``capture=True`` keeps everything."""
    assert captured(True, *chunks) == (b"".join(chunks), Omitted(0, 0))


@given(CHUNKS, SIZES, SIZES)
def test_capture_keeps_the_first_and_the_last_bytes(
    chunks: list[bytes], head: int, tail: int
) -> None:
    """At any time and for any chunks, all bytes are in the head, in the tail or counted."""
    output = CapturedOutput(Capture(head, tail))
    written = b""
    for chunk in chunks:
        output.add("stderr", chunk)
        written += chunk
        omitted = max(0, len(written) - head - tail)
        assert output.get("stderr") == written[:head] + written[head:][omitted:]
        assert output.omitted == Omitted(0, omitted, head if omitted else 0)


@given(CHUNKS, SIZES)
def test_a_number_keeps_the_last_bytes(chunks: list[bytes], limit: int) -> None:
    """An int means a tail without a head."""
    assert captured(limit, *chunks) == captured(Capture(tail=limit), *chunks)


def test_capture_of_one_byte_is_not_a_full_capture() -> None:
    """1 is a number of bytes, although it equals True."""
    assert captured(1, b"abc") == (b"c", Omitted(2, 0))


def test_bounded_capture_uses_bounded_memory() -> None:
    """A capture holds little more than its head and twice its tail (as its pickle shows)."""
    output = CapturedOutput(Capture(head=500, tail=1000))
    for _ in range(1000):
        output.add("stdout", b"x" * 999)
        assert len(pickle.dumps(output)) < 500 + 2 * 1000 + 1000


# ---- text ----


@pytest.mark.parametrize(
    ("kept", "after", "omitted", "text"),
    [
        (b"", 0, 0, ""),
        (b"one\ntwo", 0, 0, "one\ntwo"),
        ("né\xff".encode("latin-1"), 0, 0, "n\ufffd\ufffd"),
        (b"one\nfour\n", 4, 1_234_567, "one\n[... 1,234,567 bytes omitted ...]\nfour\n"),
        (b"onefour", 3, 1, "one\n[... 1 byte omitted ...]\nfour"),
        (b"one\n", 4, 5, "one\n[... 5 bytes omitted ...]\n"),
        (b"four", 0, 5, "[... 5 bytes omitted ...]\nfour"),
        (b"", 0, 5, "[... 5 bytes omitted ...]\n"),
        # A character that is cut on either side.
        (b"a\xc3\xa9b", 2, 9, "a\n[... 9 bytes omitted ...]\nb"),
        (b"a\xf0\x9f\x98\x9f\x98\x80b", 4, 9, "a\n[... 9 bytes omitted ...]\nb"),
        # Bytes that are no UTF-8 are replaced and not left out.
        (b"a\xffb", 2, 9, "a\ufffd\n[... 9 bytes omitted ...]\nb"),
        (b"a\xff", 1, 9, "a\n[... 9 bytes omitted ...]\n\ufffd"),
    ],
)
def test_text_marks_the_place_of_the_omitted_bytes(
    kept: bytes, after: int, omitted: int, text: str
) -> None:
    """The mark is a line of its own, and no half of a character is beside it."""
    result = result_of(kept, omitted, after)
    assert result.text == result.stderr_text == text


@given(st.text(), SIZES, SIZES)
def test_text_of_a_cut_has_no_replacement_character(text: str, head: int, tail: int) -> None:
    """Wherever the two cuts are, the rest is decoded as it was written."""
    data = text.replace("\ufffd", "").encode()
    kept, omitted = captured(Capture(head, tail), data)
    shown = result_of(kept, omitted.stdout, omitted.after).text
    assert "\ufffd" not in shown
    if omitted.stdout:
        before, after = re.split(
            r"\n?\[\.\.\. [0-9,]+ bytes? omitted \.\.\.\]\n", shown, maxsplit=1
        )
        assert data.decode().startswith(before)
        assert data.decode().endswith(after)
        assert len((before + after).encode()) >= len(kept or b"") - 7


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_text_without_a_capture_is_an_error(stream: str) -> None:
    """The error names the command and the stream, and says what to do."""
    result = result_of(None)
    with pytest.raises(NotCapturedError, match=f"the {stream} of 'web' .* capture=True") as caught:
        _ = result.text if stream == "stdout" else result.stderr_text
    assert (caught.value.name, caught.value.stream) == ("web", stream)


@pytest.mark.parametrize(
    ("options", "stream", "place"),
    [
        ({"stdout": Path("log")}, "stdout", "the file 'log'"),
        ({"stdout": Path("log"), "stderr": "stdout"}, "stderr", "the file 'log'"),
        ({"stderr": Path("log")}, "stderr", "the file 'log'"),
        ({"stdout": "inherit"}, "stdout", "the stdout of this program"),
        ({"stdout": "inherit", "stderr": "stdout"}, "stderr", "the stdout of this program"),
        ({"stderr": "inherit"}, "stderr", "the stderr of this program"),
        ({"stdout": 1}, "stdout", "the descriptor 1"),
        ({"stdout": sys.__stdout__}, "stdout", "the open file <_io.TextIOWrapper"),
    ],
)
def test_text_of_a_redirected_stream_is_an_error(
    options: Any, stream: str, place: str, tmp_path: Path
) -> None:
    """The error says where the stream went, and does not blame the capture."""
    command = Command(["true"], name="web", cwd=tmp_path, **options)
    result = currant.run(command, capture=True, launcher=FakeLauncher())["web"]
    with pytest.raises(NotCapturedError) as caught:
        _ = result.text if stream == "stdout" else result.stderr_text
    begin = f"the {stream} of 'web' was not captured, because it went to {place}"
    assert str(caught.value).startswith(begin)


# ---- the value ----


@pytest.mark.parametrize("size", [-1, True, 1.5, "1", None])
@pytest.mark.parametrize("field", ["head", "tail"])
def test_an_invalid_size_is_rejected(field: str, size: Any) -> None:
    """The error names the field."""
    with pytest.raises(CommandError, match=f"{field} must be a number of bytes"):
        Capture(**{field: size})


@pytest.mark.parametrize("capture", [-1, 1.5, "all", b"x"])
def test_an_invalid_capture_is_rejected(capture: Any) -> None:
    """The command and the Runner say what is possible."""
    with pytest.raises(CommandError, match=r"command 'a': capture must be .* or a Capture"):
        Command(["a"], capture=capture)
    with pytest.raises(CommandError, match="capture must be"):
        Runner(capture=capture)


def test_a_capture_is_a_value() -> None:
    """A Capture compares by its fields, and a command with a Capture can be pickled."""
    command = Command(["a"], capture=Capture(1, tail=2))
    assert pickle.loads(pickle.dumps(command)) == command
    assert repr(command) == "Command(['a'], capture=Capture(head=1, tail=2, spill=None))"
    assert command != Command(["a"], capture=Capture(1))


# ---- commands ----


def test_both_ends_of_a_real_output_are_kept() -> None:
    """The Runner's capture holds for both streams of each command."""
    both = Command.shell("seq 100000; seq 20000 >&2", name="both")
    result = currant.run(both, capture=Capture(head=4, tail=7))["both"]
    assert (result.stdout, result.stderr) == (b"1\n2\n100000\n", b"1\n2\n\n20000\n")
    assert result.omitted == Omitted(588_895 - 11, 108_894 - 11, after=4)
    assert result.text == "1\n2\n[... 588,884 bytes omitted ...]\n100000\n"


def test_the_capture_of_a_command_wins_over_that_of_the_runner() -> None:
    """As for every policy."""
    launcher = FakeLauncher(default=Script(stdout=b"abc"))
    own = Command(["own"], capture=Capture(head=1))
    results = currant.run(own, "other", capture=True, launcher=launcher)
    assert {name: result.stdout for name, result in results.items()} == {
        "own": b"a",
        "other": b"abc",
    }
    assert results["other"].omitted == Omitted()


def test_a_result_has_the_output_of_the_last_attempt() -> None:
    """The counts are those of the last attempt too."""
    scripts = [Script(stdout=b"x" * 100, exit=1), Script(stdout=b"abcdef")]
    policy = RestartPolicy("on-failure", delay=0)
    launcher = FakeLauncher({"a": scripts})
    result = currant.run("a", restart=policy, launcher=launcher, capture=Capture(1, 2))["a"]
    assert (result.stdout, result.omitted) == (b"aef", Omitted(3, 0, after=1))
