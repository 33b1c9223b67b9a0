"""The console: what stands before a line, what currant says, in which order, in what file."""

from __future__ import annotations

import io
import os
import pty
import re
import termios
import time
from typing import TYPE_CHECKING, BinaryIO, cast

import anyio
import pytest

from currant import Command, CommandError, Exit, Failed, LaunchError, Restarting, Runner
from currant.sinks import ConsoleSink
from tests.playing import begun, ended, err, out, play
from tests.waiting import LIMIT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from currant import BatchMessage
    from tests.lifeline import Gate

pytestmark = pytest.mark.anyio

A, LONG = Command(["a"]), Command(["longer"])


async def shown(
    messages: Sequence[BatchMessage], commands: Sequence[Command] = (), **options: object
) -> tuple[bytes, bytes]:
    """Return what the console shows of `messages` on stdout and stderr."""
    stdout, stderr = io.BytesIO(), io.BytesIO()
    options = {"color": "never", **options}
    await play(ConsoleSink(stdout, stderr, **options), messages, commands)  # type: ignore[arg-type]
    return stdout.getvalue(), stderr.getvalue()


class Terminal:
    """A pseudo-terminal, to write to and to look at."""

    def __init__(self) -> None:
        self._ours, theirs = pty.openpty()
        attributes = termios.tcgetattr(theirs)
        attributes[1] &= ~termios.OPOST  # what is written is what is read
        termios.tcsetattr(theirs, termios.TCSANOW, attributes)
        self.resize(80)
        self.file = cast("BinaryIO", os.fdopen(theirs, "wb", buffering=0))

    def resize(self, columns: int) -> None:
        """Make it that wide."""
        termios.tcsetwinsize(self._ours, (24, columns))

    def close(self) -> bytes:
        """Close it, and return all that was written to it."""
        os.write(self.file.fileno(), b"\0")
        data = b""
        while not data.endswith(b"\0"):
            data += os.read(self._ours, 65536)
        self.file.close()
        os.close(self._ours)
        return data[:-1]


# ---- labels ----


async def test_names_are_padded_to_the_longest_of_all_commands() -> None:
    """The text of all lines begins in the same column, also before the longest name is seen."""
    messages: list[BatchMessage] = [out("a", b"1\n"), out("longer", b"2\n")]
    assert await shown(messages, [A, LONG]) == (b"a      | 1\nlonger | 2\n", b"")


async def test_a_runner_tells_its_sinks_the_names_from_the_start() -> None:
    """The first command's lines are padded although the second has not said anything."""
    stdout = io.BytesIO()
    commands = {"a": "echo 1", "longer": "true"}
    async with Runner(commands, sinks=[ConsoleSink(stdout, stdout)]):
        pass
    assert stdout.getvalue() == b"a      | 1\n"


async def test_commands_that_are_started_later_widen_the_names() -> None:
    """A command that comes in later counts from then on."""
    stdout = io.BytesIO()
    async with Runner({"a": "echo 1"}, sinks=[ConsoleSink(stdout, stdout)]) as runner:
        await runner.join()
        await runner.start(Command(["true"], name="longer"))
        await runner.start(Command(["echo", "2"], name="b"))
    assert stdout.getvalue() == b"a | 1\nb      | 2\n"


async def test_wide_letters_count_as_two_columns() -> None:
    """A name is padded by the columns that it takes on a terminal."""
    messages: list[BatchMessage] = [out("葡萄", b"1\n"), out("aaaaa", b"2\n")]
    commands = [Command(["x"], name="葡萄"), Command(["aaaaa"])]
    assert (await shown(messages, commands))[0].decode() == "葡萄  | 1\naaaaa | 2\n"


@pytest.mark.parametrize(
    ("prefix", "label"),
    [
        ("{name}: ", "a: "),
        ("", ""),
        ("[{name}] ", "[a] "),
        ("{{{name}}} ", "{a} "),
        ("{pid} {attempt} {stream} ", "4711 2 stdout "),
        ("{name:>3}|{name!r}|", "  a|'a'|"),
        ("{elapsed}s ", "1.5s "),
        ("{elapsed:.3f} ", "1.500 "),
        ("é ", "é "),
    ],
)
async def test_a_prefix_shows_what_it_names(prefix: str, label: str) -> None:
    """Fields show the line's command, process and stream, and the time since its start."""
    messages: list[BatchMessage] = [begun("a", 4711, 2, 100.0), out("a", b"1\n2\n", 101.5)]
    stdout, _ = await shown(messages, [A], prefix=prefix)
    assert stdout.decode() == f"{label}1\n{label}2\n"


async def test_times_are_local(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both the field and `timestamps` are the local time at which a line was read."""
    monkeypatch.setenv("TZ", "XYZ-3")
    time.tzset()
    try:
        messages: list[BatchMessage] = [out("a", b"1\n", 3661.25)]
        assert (await shown(messages, prefix="{time} "))[0] == b"04:01:01 1\n"
        assert (await shown(messages, prefix="{time:%H.%M %z} "))[0] == b"04.01 +0300 1\n"
        assert (await shown(messages, timestamps=True))[0] == b"04:01:01 a | 1\n"
        assert (await shown(messages, timestamps="%S.%f"))[0] == b"01.250000 a | 1\n"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            {"prefix": "{nmae} "},
            "prefix '{nmae} ': unknown field {nmae}; the fields are {name}, {pid}",
        ),
        ({"prefix": "{name.x}"}, "unknown field {name.x}"),
        ({"prefix": "{name[0]}"}, "unknown field {name[0]}"),
        ({"prefix": "{} "}, "unknown field {}"),
        ({"prefix": "{name"}, "prefix '{name'"),
        ({"prefix": "{pid:%H}"}, "prefix '{pid:%H}'"),
        ({"prefix": "{name!x}"}, "prefix '{name!x}'"),
        ({"timestamps": "{"}, "timestamps"),
        ({"texts": {"ended": "x"}}, "'ended' is not one of started, ready"),
        ({"texts": {"started": "{exit}"}}, "texts['started'] '{exit}': unknown field {exit}"),
        ({"mode": "grouped"}, "mode must be 'line', 'group' or 'raw', not 'grouped'"),
        ({"color": "sometimes"}, "color must be"),
    ],
)
def test_a_wrong_option_is_refused_when_the_sink_is_built(
    options: dict[str, object], told: str
) -> None:
    """The error says which option, which text, and what there is instead."""
    with pytest.raises(ValueError, match=re.escape(told)):
        ConsoleSink(io.BytesIO(), io.BytesIO(), **options)  # type: ignore[arg-type]


async def test_a_name_cannot_break_a_line_or_reach_the_terminal() -> None:
    """What is not printable in a name is shown as an escape, and counts so for the width."""
    stdout, _ = await shown([out("a\n\x1b[2J", b"1\n"), out("b", b"2\n")])
    assert stdout == b"a\\n\\x1b[2J | 1\nb          | 2\n"


# ---- what currant says ----


ALL_EVENTS: list[BatchMessage] = [
    begun("a", 4711),
    ended("a", 3),
    Restarting("a", 2, 1.26, 0.0),
    Failed("a", LaunchError("a", "no memory"), 2, 0.0),
]


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ({}, ["a: exit code 3", "a: restarting in 1.3 s", "cannot start 'a': no memory"]),
        (
            {"started": "{name} is {pid}"},
            [
                "a is 4711",
                "a: exit code 3",
                "a: restarting in 1.3 s",
                "cannot start 'a': no memory",
            ],
        ),
        ({"exited": "<{exit}>", "restarting": None, "failed": None}, ["<exit code 3>"]),
        (
            {"exited": None, "restarting": "{attempt} {delay:.2f}", "failed": "{error!r:.11}"},
            ["2 1.26", "LaunchError"],
        ),
    ],
)
async def test_each_text_can_be_replaced(texts: dict[str, str | None], said: list[str]) -> None:
    """A text replaces the default one, None silences it, and the others stay."""
    lines = b"".join(b"currant: %s\n" % line.encode() for line in said)
    assert await shown(ALL_EVENTS, texts=texts) == (b"", lines)


async def test_quiet_leaves_the_commands_words_only() -> None:
    """With `quiet` currant says nothing itself, and output stays."""
    messages: list[BatchMessage] = [*ALL_EVENTS, out("a", b"1\n"), err("a", b"2\n")]
    assert await shown(messages, quiet=True) == (b"a | 1\n", b"a | 2\n")


@pytest.mark.parametrize(
    ("end", "by_default"),
    [
        (Exit(0, None), False),
        (Exit(4, None), False),
        (Exit(3, None), True),
        (Exit(0, None, stopped=True), False),
        (Exit(None, 15, stopped=True), False),
        (Exit(None, 9, stopped=True, forced=True), False),
        (Exit(None, 9), True),
    ],
)
async def test_ends_that_are_expected_are_told_only_by_a_text_that_was_given(
    end: Exit, *, by_default: bool
) -> None:
    """A success, by the command's own codes, and what currant stopped are no news."""
    command = Command(["a"], success_codes=(0, 4))
    assert bool((await shown([ended("a", end)], [command]))[1]) is by_default
    text = {"exited": "{name} ended"}
    assert (await shown([ended("a", end)], [command], texts=text))[1] == b"currant: a ended\n"


# ---- modes ----


async def test_group_holds_output_until_the_command_ends() -> None:
    """Each command's output is one block, in the order of their ends; words on an end follow it."""
    both = io.BytesIO()
    messages: list[BatchMessage] = [
        out("a", b"1\n"),
        out("b", b"2\n"),
        err("a", b"3"),
        out("a", b"4\n"),
        ended("b"),
        out("a", b"5\n"),
        ended("a", 3),
    ]
    await play(ConsoleSink(both, both, mode="group"), messages)
    assert both.getvalue().decode().splitlines() == [
        "b | 2",
        "a | 1",
        "a | 3",
        "a | 4",
        "a | 5",
        "currant: a: exit code 3",
    ]


async def test_group_shows_what_never_ended() -> None:
    """What is held when there are no more messages is shown then."""
    assert await shown([out("a", b"1\n")], mode="group") == (b"a | 1\n", b"")


async def test_group_holds_much_output_on_disk(tmp_path: Path) -> None:
    """Ten megabytes that one command wrote come out whole; only a part of them was in memory."""
    data = b"x" * 99 + b"\n"
    batches = [out("a", data * 1000) for _ in range(100)]
    stdout, _ = await shown([*batches, ended("a")], mode="group")
    assert stdout == (b"a | " + data) * 100_000


async def test_raw_is_the_bytes_as_written() -> None:
    """Without prefix, with every byte, and without a newline that nobody wrote."""
    data = b"1\r\n2\r\0\xff\x1b[1m\n\n3"
    assert await shown([out("a", data), out("a", b"4"), err("a", b"5")], mode="raw") == (
        data + b"4",
        b"5",
    )


async def test_raw_glues_nothing_to_an_unfinished_line() -> None:
    """Where another command, stream or currant itself goes on, the line is ended first."""
    both = io.BytesIO()
    messages: list[BatchMessage] = [
        out("a", b"1"),
        out("b", b"2"),
        err("b", b"3"),
        ended("b", 3),
        out("a", b"4"),
    ]
    await play(ConsoleSink(both, both, mode="raw"), messages)
    assert both.getvalue() == b"1\n2\n3\ncurrant: b: exit code 3\n4"


PROGRESS: list[BatchMessage] = [out("a", b"1%\r"), out("a", b"2%\r3%\r"), out("a", b"done\n")]


@pytest.fixture
def terminal() -> Terminal:
    """A terminal, which the test closes."""
    return Terminal()


async def test_a_progress_bar_is_shown_in_place_where_there_is_one_command(
    terminal: Terminal,
) -> None:
    r"""A lone \r goes to the terminal, and the prefix stands there again."""
    await play(ConsoleSink(terminal.file, terminal.file, color="never"), PROGRESS, [A])
    assert terminal.close() == b"a | 1%\ra | 2%\ra | 3%\ra | done\n"


async def test_a_progress_bar_is_lines_beside_other_commands(terminal: Terminal) -> None:
    r"""A lone \r ends the line, so that nothing is written over another command's."""
    await play(ConsoleSink(terminal.file, terminal.file, color="never"), PROGRESS, [A, LONG])
    label = b"a      | "
    assert terminal.close() == label + label.join([b"1%\n", b"2%\n", b"3%\n", b"done\n"])


async def test_a_progress_bar_is_lines_in_a_file() -> None:
    """What is no terminal has no place to go back to."""
    assert await shown(PROGRESS, [A]) == (b"a | 1%\na | 2%\na | 3%\na | done\n", b"")


async def test_nothing_is_written_over_a_progress_bar(terminal: Terminal) -> None:
    """What currant says, or the other stream, comes on a line below."""
    messages: list[BatchMessage] = [
        out("a", b"1%\r"),
        err("a", b"oh\n"),
        out("a", b"2%\r"),
        ended("a", 3),
    ]
    await play(ConsoleSink(terminal.file, terminal.file, color="never"), messages, [A])
    assert terminal.close() == b"a | 1%\r\na | oh\na | 2%\r\ncurrant: a: exit code 3\n"


# ---- colours ----


def colors_of(text: bytes) -> dict[str, str]:
    """Return the code of the colour of each name in front of a line."""
    found = re.findall(rb"^\x1b\[0;([0-9;]+)m(\w+) *\| \x1b\[0m", text, re.MULTILINE)
    return {name.decode(): code.decode() for code, name in found}


async def test_a_command_has_the_colour_that_it_was_given() -> None:
    """`Command.color` is a style of rich's."""
    commands = [Command(["a"], color="bold #ff0000 on blue"), Command(["b"], color="magenta")]
    messages: list[BatchMessage] = [out("a", b"1\n"), out("b", b"1\n")]
    stdout, _ = await shown(messages, commands, color="always")
    assert colors_of(stdout)["b"] == "35"
    assert colors_of(stdout)["a"].startswith("1;")


@pytest.mark.parametrize("given", [[], ["a"], ["b"], ["a", "c"], ["d", "e"]])
async def test_neighbours_have_different_colours(given: list[str]) -> None:
    """Whatever colours some were given, those of the others differ from the ones beside them."""
    names = "abcdefghijklmnopqrst"
    for color in ("cyan", "yellow", "green"):
        commands = [Command([name], color=color if name in given else None) for name in names]
        messages: list[BatchMessage] = [out(name, b"1\n") for name in reversed(names)]
        stdout, _ = await shown(messages, commands, color="always")
        colors = [colors_of(stdout)[name] for name in names]
        for one, other, name in zip(colors, colors[1:], names, strict=False):
            assert one != other or {name, chr(ord(name) + 1)} <= set(given)


async def test_a_colour_that_there_is_not_is_told_with_its_command() -> None:
    """The block ends with an error that names both."""
    with pytest.raises(
        CommandError, match=r"command 'b': color is not a style of the package rich: .*'blurple'"
    ):
        async with Runner(
            ["sleep 9999", Command(["sleep", "9999"], name="b", color="blurple")],
            sinks=[ConsoleSink(io.BytesIO(), io.BytesIO(), color="always")],
        ):
            pass


async def test_where_there_are_no_colours_none_is_looked_at() -> None:
    """A style means nothing where it is not shown."""
    assert await shown([out("a", b"1\n")], [Command(["a"], color="blurple")]) == (b"a | 1\n", b"")


async def test_a_style_that_a_command_leaves_on_does_not_reach_further() -> None:
    """Neither a prefix, nor what currant says, nor what comes after it all is shown in it."""
    both = io.BytesIO()
    messages: list[BatchMessage] = [
        out("a", b"\x1b[31mred\n"),
        ended("a", 3),
        out("a", b"\x1b[1mbold\n"),
    ]
    await play(ConsoleSink(both, both, color="always"), messages)
    label = b"\x1b[0;36ma | \x1b[0m"
    assert both.getvalue() == (
        label + b"\x1b[31mred\n\x1b[0mcurrant: a: exit code 3\n" + label + b"\x1b[1mbold\n\x1b[0m"
    )


# ---- files ----


async def test_text_files_are_written_to_as_well() -> None:
    """A StringIO, as notebooks have for stdout, gets text; a letter cut in two is put together."""
    stdout, stderr = io.StringIO(), io.StringIO()
    messages: list[BatchMessage] = [
        out("a", "é".encode()[:1]),
        out("a", "é".encode()[1:] + b"\n"),
        err("a", b"\xff\n"),
    ]
    await play(ConsoleSink(stdout, stderr), messages)
    assert (stdout.getvalue(), stderr.getvalue()) == ("a | é\n", "a | \ufffd\n")


@pytest.mark.parametrize("at_most", [1, 3, 7, 1000])
async def test_a_file_may_take_a_part_at_a_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, at_most: int
) -> None:
    """As a pipe does that is nearly full: what it did not take comes next, nothing twice."""

    def writev(fd: int, buffers: Sequence[bytes]) -> int:
        return os.write(fd, b"".join(buffers)[:at_most])

    monkeypatch.setattr(os, "writev", writev)
    with (tmp_path / "out").open("wb", buffering=0) as file:
        messages = [out("a", b"1\n2"), out("b", b"3\n"), err("a", b"4\n"), out("b", b"5\n6\n")]
        await play(ConsoleSink(file, file), messages)
    expected = b"a | 1\na | 2\nb | 3\na | 4\nb | 5\nb | 6\n"
    assert (tmp_path / "out").read_bytes() == expected


class Slow(io.BytesIO):
    """A file that takes nothing before it is let go, and counts how often it is written to."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0
        self.entered = anyio.Event()
        self.let_go = anyio.Event()

    def write(self, data: object) -> int:
        """Wait, then write."""
        self.writes += 1
        if self.writes == 1:
            anyio.from_thread.run_sync(self.entered.set)
            anyio.from_thread.run(self.let_go.wait)
        return super().write(cast("bytes", data))


async def test_what_has_piled_up_is_written_in_one_go(gate: Gate) -> None:
    """While one write hangs, the event loop and the command go on; then one write does the rest."""
    file = Slow()
    rest = "for n in 2 3 4 5 6 7 8; do echo $n; sleep 0.01; done"
    command = Command.shell(f"echo 1; {gate.wait}; {rest}", name="a")
    with anyio.fail_after(LIMIT):
        async with Runner([command], sinks=[ConsoleSink(file, io.BytesIO())]) as runner:
            await file.entered.wait()
            gate.open()
            await runner["a"].wait()
            file.let_go.set()
    assert file.getvalue() == b"".join(b"a | %d\n" % n for n in range(1, 9))
    assert file.writes == 2


async def test_one_console_may_serve_several_runners() -> None:
    """Two Runners at the same time: every line is whole, and each comes once."""
    stdout = io.BytesIO()
    console = ConsoleSink(stdout, io.BytesIO())
    async with (
        Runner({"a": "seq 5000"}, sinks=[console]),
        Runner({"b": "seq 5000"}, sinks=[console]),
    ):
        pass
    lines = stdout.getvalue().decode().splitlines()
    for name in "ab":
        assert [line for line in lines if line[0] == name] == [
            f"{name} | {n}" for n in range(1, 5001)
        ]


# ---- the line below ----


async def test_progress_is_told_below_the_output_on_a_terminal(terminal: Terminal) -> None:
    """The line is cleared before output and written again behind it; nothing of it is left."""
    messages: list[BatchMessage] = [
        begun("a"),
        out("a", b"1\n"),
        ended("a", 3),
        begun("longer"),
        ended("longer"),
    ]
    sink = ConsoleSink(terminal.file, terminal.file, color="never", quiet=True, progress=True)
    await play(sink, messages, [A, LONG])
    below = "currant: {} done, {} running, {} failed"
    clear = "\r\x1b[K"
    assert terminal.close().decode() == "".join(
        [
            below.format("0/2", 0, 0),
            clear + below.format("0/2", 1, 0),
            clear + "a      | 1\n" + below.format("0/2", 1, 0),
            clear + below.format("1/2", 0, 1),
            clear + below.format("1/2", 1, 1),
            clear + below.format("2/2", 0, 1),
            clear,
        ]
    )


async def test_progress_fits_a_narrow_terminal_and_waits_for_the_end_of_a_line(
    terminal: Terminal,
) -> None:
    """It is cut to the width of that moment, and nothing is glued to an unfinished line."""
    terminal.resize(13)
    sink = ConsoleSink(terminal.file, terminal.file, color="never", progress=True)
    await play(sink, [out("a", b"1"), out("a", b"2\n")], [A])
    begin, end = b"currant: 0/1\r\x1b[Ka | 1", b"2\ncurrant: 0/1\r\x1b[K"
    assert terminal.close() == begin + end


async def test_progress_is_not_told_in_a_file() -> None:
    """What is no terminal has no line below its output."""
    assert await shown([out("a", b"1\n")], [A], progress=True) == (b"a | 1\n", b"")
