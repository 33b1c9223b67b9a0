"""Test the options of the console: prefixes, notes, modes, colours, files and the progress line."""

from __future__ import annotations

import io
import os
import pty
import re
import termios
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, BinaryIO, cast

import anyio
import pytest

import currant
from currant import Command, CommandError, Exit, Failed, LaunchError, Restarting, Runner
from currant.sinks import ConsoleSink
from currant.sinks._colors import color_system_of, colors_wanted
from currant.sinks._line_writer import LineWriter
from currant.sinks._live import AGENTS, is_live
from currant.sinks._progress import ProgressLine
from tests.playing import err, exited, out, play, started
from tests.waiting import LIMIT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from currant import BatchMessage
    from currant.sinks import Color
    from tests.lifeline import Gate

pytestmark = [pytest.mark.anyio, pytest.mark.backends("asyncio", "trio")]

A, LONG = Command(["a"]), Command(["longer"])


async def console_output(
    messages: Sequence[BatchMessage], commands: Sequence[Command] = (), **options: object
) -> tuple[bytes, bytes]:
    """Return the console output for `messages`, on stdout and on stderr."""
    stdout, stderr = io.BytesIO(), io.BytesIO()
    options = {"color": "never", **options}
    await play(ConsoleSink(stdout, stderr, **options), messages, commands)  # type: ignore[arg-type]
    return stdout.getvalue(), stderr.getvalue()


class Terminal:
    """A pseudo-terminal that records the bytes written to it."""

    def __init__(self) -> None:
        self._master, slave = pty.openpty()
        attributes = termios.tcgetattr(slave)
        attributes[1] &= ~termios.OPOST  # bytes are read exactly as written
        termios.tcsetattr(slave, termios.TCSANOW, attributes)
        self.resize(80)
        self.file = cast("BinaryIO", os.fdopen(slave, "wb", buffering=0))

    def resize(self, columns: int) -> None:
        """Set the width of the terminal."""
        termios.tcsetwinsize(self._master, (24, columns))

    def close(self) -> bytes:
        """Close the terminal, and return all bytes that were written."""
        os.write(self.file.fileno(), b"\0")
        data = b""
        while not data.endswith(b"\0"):
            data += os.read(self._master, 65536)
        self.file.close()
        os.close(self._master)
        return data[:-1]


# ---- prefixes ----


async def test_names_are_padded_to_the_longest_name() -> None:
    """Text begins in the same column on all lines, even before the longest name has output."""
    messages: list[BatchMessage] = [out("a", b"1\n"), out("longer", b"2\n")]
    assert await console_output(messages, [A, LONG]) == (b"a      | 1\nlonger | 2\n", b"")


async def test_runner_gives_all_names_to_its_sinks_at_the_start() -> None:
    """Lines of the first command are padded although the second command has no output."""
    stdout = io.BytesIO()
    commands = {"a": "echo 1", "longer": "true"}
    async with Runner(commands, sinks=[ConsoleSink(stdout, stdout)]):
        pass
    assert stdout.getvalue() == b"a      | 1\n"


async def test_command_that_is_started_later_widens_the_name_column() -> None:
    """A command that is started later counts for the padding of later lines."""
    stdout = io.BytesIO()
    async with Runner({"a": "echo 1"}, sinks=[ConsoleSink(stdout, stdout)]) as runner:
        await runner.join()
        await runner.start(Command(["true"], name="longer"))
        await runner.start(Command(["echo", "2"], name="b"))
    assert stdout.getvalue() == b"a | 1\nb      | 2\n"


async def test_wide_characters_count_as_two_columns() -> None:
    """A name is padded by the number of columns that the name takes on a terminal."""
    messages: list[BatchMessage] = [out("葡萄", b"1\n"), out("aaaaa", b"2\n")]
    commands = [Command(["x"], name="葡萄"), Command(["aaaaa"])]
    assert (await console_output(messages, commands))[0].decode() == "葡萄  | 1\naaaaa | 2\n"


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
        ("{index} {index:02d} ", "0 00 "),
    ],
)
async def test_prefix_fields_are_replaced_by_their_values(prefix: str, label: str) -> None:
    """Fields show the command, process and stream of a line, and the time since the start."""
    messages: list[BatchMessage] = [started("a", 4711, 2, 100.0), out("a", b"1\n2\n", 101.5)]
    stdout, _ = await console_output(messages, [A], prefix=prefix)
    assert stdout.decode() == f"{label}1\n{label}2\n"


@pytest.mark.parametrize(
    ("command", "prefix", "label"),
    [
        (Command.shell("echo Hello there"), "{command} ", "echo..here "),
        (Command.shell("echo Hello there"), "{command:.30} ", "echo Hello there "),
        (Command.shell("echo Hello there"), "{command:8.5}|", "ec..e   |"),
        (Command.shell("echo Hello there"), "{command:.1}|", ".|"),
        (Command.shell("0123456789"), "{command} ", "0123456789 "),
        (Command.shell("a\nb"), "{command} ", "a\\nb "),
        (Command(["ls", "a b"]), "{command} ", "ls 'a b' "),
        (Command.shell("echo"), "{index}", "0"),
    ],
)
async def test_prefix_may_show_the_command_line(command: Command, prefix: str, label: str) -> None:
    """A line that is longer than ten characters, or the given number, loses its middle."""
    messages: list[BatchMessage] = [out(command.name, b"1\n")]
    assert (await console_output(messages, [command], prefix=prefix))[0].decode() == f"{label}1\n"


async def test_index_counts_the_commands_from_0() -> None:
    """The index is the place of the command among those of the Runner."""
    commands = [Command(["a"]), Command(["b"])]
    messages: list[BatchMessage] = [out("b", b"1\n"), out("a", b"2\n")]
    assert (await console_output(messages, commands, prefix="{index} "))[0] == b"1 1\n0 2\n"


async def test_times_are_local(monkeypatch: pytest.MonkeyPatch) -> None:
    """The field `time` and the option `timestamps` show the local time at which a line was read."""
    monkeypatch.setenv("TZ", "XYZ-3")
    time.tzset()
    try:
        messages: list[BatchMessage] = [out("a", b"1\n", 3661.25)]
        assert (await console_output(messages, prefix="{time} "))[0] == b"04:01:01 1\n"
        assert (await console_output(messages, prefix="{time:%H.%M %z} "))[0] == b"04.01 +0300 1\n"
        assert (await console_output(messages, timestamps=True))[0] == b"04:01:01 a | 1\n"
        assert (await console_output(messages, timestamps="%S.%f"))[0] == b"01.250000 a | 1\n"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (
            {"prefix": "{nmae} "},
            "prefix '{nmae} ': unknown field {nmae}; the fields are {name}, {pid}",
        ),
        ({"prefix": "{name.x}"}, "unknown field {name.x}"),
        ({"prefix": "{name[0]}"}, "unknown field {name[0]}"),
        ({"prefix": "{} "}, "unknown field {}"),
        ({"prefix": "{name"}, "prefix '{name'"),
        ({"prefix": "{pid:>100000}"}, "the format '>100000' has a number of more than five"),
        ({"prefix": "{pid:%H}"}, "prefix '{pid:%H}'"),
        ({"prefix": "{name!x}"}, "prefix '{name!x}'"),
        ({"timestamps": "{"}, "timestamps"),
        ({"texts": {"ended": "x"}}, "'ended' is not one of started, ready"),
        ({"texts": {"started": "{exit}"}}, "texts['started'] '{exit}': unknown field {exit}"),
        ({"mode": "grouped"}, "mode must be 'line', 'group', 'raw' or 'same', not 'grouped'"),
        ({"color": "sometimes"}, "color must be"),
    ],
)
def test_invalid_option_is_rejected_at_construction(options: dict[str, object], error: str) -> None:
    """The error names the option, the invalid text, and the valid choices if there are any."""
    with pytest.raises(ValueError, match=re.escape(error)):
        ConsoleSink(io.BytesIO(), io.BytesIO(), **options)  # type: ignore[arg-type]


async def test_unprintable_characters_in_a_name_are_escaped() -> None:
    """An unprintable character in a name is shown as an escape, and the escape counts as width."""
    stdout, _ = await console_output([out("a\n\x1b[2J", b"1\n"), out("b", b"2\n")])
    assert stdout == b"a\\n\\x1b[2J | 1\nb          | 2\n"


# ---- notes ----


ALL_EVENTS: list[BatchMessage] = [
    started("a", 4711),
    exited("a", 3),
    Restarting("a", 2, 1.26, 0.0),
    Failed("a", LaunchError("a", "no memory"), 2, 0.0),
]


@pytest.mark.parametrize(
    ("texts", "notes"),
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
async def test_each_note_can_be_replaced_or_silenced(
    texts: dict[str, str | None], notes: list[str]
) -> None:
    """A given text replaces the default note, None silences the note, and other notes stay."""
    lines = b"".join(b"currant: %s\n" % line.encode() for line in notes)
    assert await console_output(ALL_EVENTS, texts=texts) == (b"", lines)


async def test_quiet_hides_notes_and_keeps_output() -> None:
    """With `quiet`, currant writes no notes, and the output of commands is still shown."""
    messages: list[BatchMessage] = [*ALL_EVENTS, out("a", b"1\n"), err("a", b"2\n")]
    assert await console_output(messages, quiet=True) == (b"a | 1\n", b"a | 2\n")


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
async def test_expected_exits_are_noted_only_with_a_custom_text(
    end: Exit, *, by_default: bool
) -> None:
    """A success, by the success codes of the command, or a requested stop has no default note."""
    command = Command(["a"], success_codes=(0, 4))
    assert bool((await console_output([exited("a", end)], [command]))[1]) is by_default
    text = {"exited": "{name} ended"}
    _, stderr = await console_output([exited("a", end)], [command], texts=text)
    assert stderr == b"currant: a ended\n"


# ---- lines in pieces ----


@pytest.mark.parametrize(
    ("messages", "shown"),
    [
        ([out("a", b"1"), out("a", b"2"), out("a", b"\n3\n")], b"a | 12\na | 3\n"),
        ([out("a", b"1"), out("a", b"\r\n"), out("a", b"3\n")], b"a | 1\na | 3\n"),
        ([out("a", b"1"), out("b", b"x\n"), out("a", b"2\n")], b"a | 1\nb | x\na | 2\n"),
        ([out("a", b"1"), out("b", b"x\n"), out("a", b"\n")], b"a | 1\nb | x\n"),
        (
            [out("a", b"1"), out("b", b"x\n"), out("a", b"\r\n\n2\n")],
            b"a | 1\nb | x\na | \na | 2\n",
        ),
        (
            [out("a", b"1"), out("b", b"x\n"), started("a", 2, 2), out("a", b"\n")],
            b"a | 1\nb | x\na | \n",
        ),
        ([out("a", b"1"), out("b", b"x"), out("a", b"\n"), out("b", b"y\n")], b"a | 1\nb | xy\n"),
    ],
    ids=repr,
)
async def test_line_in_pieces_is_shown_as_one_line(
    messages: list[BatchMessage], shown: bytes
) -> None:
    """The label comes once, unless another command wrote; no empty line is added."""
    assert await console_output(messages) == (shown, b"")


@pytest.mark.parametrize(
    ("mode", "shown"), [("line", b"a | 1\na | 2\n"), ("group", b"a | 1\na | 2\n"), ("raw", b"12")]
)
async def test_attempt_does_not_continue_the_line_of_the_attempt_before(
    mode: str, shown: bytes
) -> None:
    """A line that an attempt left unfinished ends before the next one; raw output has no lines."""
    messages: list[BatchMessage] = [
        started("a"),
        out("a", b"1"),
        exited("a"),
        started("a", attempt=2),
        out("a", b"2"),
        exited("a"),
    ]
    assert await console_output(messages, mode=mode, quiet=True) == (shown, b"")


# ---- modes ----


async def test_group_mode_holds_output_until_the_command_exits() -> None:
    """Output is one block per command, in the order of exits, and a note on the exit follows it."""
    both = io.BytesIO()
    messages: list[BatchMessage] = [
        out("a", b"1\n"),
        out("b", b"2\n"),
        err("a", b"3"),
        out("a", b"4\n"),
        exited("b"),
        out("a", b"5\n"),
        exited("a", 3),
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


async def test_group_mode_flushes_held_output_when_the_messages_end() -> None:
    """Output of a command that has not exited is shown when the messages end."""
    assert await console_output([out("a", b"1\n")], mode="group") == (b"a | 1\n", b"")


async def test_group_mode_loses_nothing_of_a_large_output(tmp_path: Path) -> None:
    """Ten megabytes of one command, which partly spill to disk, are shown completely."""
    data = b"x" * 99 + b"\n"
    batches = [out("a", data * 1000) for _ in range(100)]
    stdout, _ = await console_output([*batches, exited("a")], mode="group")
    assert stdout == (b"a | " + data) * 100_000


async def test_raw_mode_writes_the_exact_bytes() -> None:
    """Raw mode writes every byte, and adds neither a prefix nor a final newline."""
    data = b"1\r\n2\r\0\xff\x1b[1m\n\n3"
    assert await console_output([out("a", data), out("a", b"4"), err("a", b"5")], mode="raw") == (
        data + b"4",
        b"5",
    )


async def test_raw_mode_ends_an_unfinished_line_before_other_output() -> None:
    """An unfinished line ends before output of another command or stream, or a note of currant."""
    both = io.BytesIO()
    messages: list[BatchMessage] = [
        out("a", b"1"),
        out("b", b"2"),
        err("b", b"3"),
        exited("b", 3),
        out("a", b"4"),
    ]
    await play(ConsoleSink(both, both, mode="raw"), messages)
    assert both.getvalue() == b"1\n2\n3\ncurrant: b: exit code 3\n4"


PROGRESS: list[BatchMessage] = [out("a", b"1%\r"), out("a", b"2%\r3%\r"), out("a", b"done\n")]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal that a person watches, and that the test closes."""
    monkeypatch.setenv("TERM", "xterm")
    for name in ("CI", *AGENTS):
        monkeypatch.delenv(name, raising=False)
    return Terminal()


async def test_progress_bar_of_a_single_command_is_updated_in_place(
    terminal: Terminal,
) -> None:
    r"""With one command, a lone \r goes to the terminal, and the prefix is written again."""
    await play(ConsoleSink(terminal.file, terminal.file, color="never"), PROGRESS, [A])
    assert terminal.close() == b"a | 1%\ra | 2%\ra | 3%\ra | done\n"


@pytest.mark.parametrize(
    ("pieces", "shown"),
    [
        ([b"a long name\r\x1b[Kup\n"], b"a | a long name\ra | \x1b[Kup\n"),
        ([b"a long name", b"\r\x1b", b"[2Kup\n"], b"a | a long name\ra | \ra | \x1b[Kup\n"),
        ([b"a long name\x1b[2K\rup\n"], b"a | a long name\ra | \x1b[K\ra | up\n"),
        ([b"a long name\r", b"up\x1b[0K\n"], b"a | a long name\ra | up\x1b[K\n"),
        (
            [b"\x1b[31mred\r\x1b[31mup\x1b[K\n"],
            b"a | \x1b[31mred\x1b[0m\ra | \x1b[31mup\x1b[K\x1b[0m\n",
        ),
        ([b"a long name\r\x1b[Jup\x1b[2J\n"], b"a | a long name\ra | \x1b[Kup\n"),
        ([b"\x1b[2Kone\x1b[K\n\x1b[1Ktwo\n"], b"a | one\na | two\n"),
    ],
)
async def test_rewound_line_of_a_single_command_is_erased_as_the_command_says(
    terminal: Terminal, pieces: list[bytes], shown: bytes
) -> None:
    """Nothing is left of a longer text that was overwritten; the prefix stays."""
    messages = [out("a", piece) for piece in pieces]
    await play(ConsoleSink(terminal.file, terminal.file, color="never"), messages, [A])
    assert terminal.close() == shown


async def test_erases_beside_other_commands_are_removed(terminal: Terminal) -> None:
    """With several commands no line is rewound, so there is nothing to erase."""
    messages = [out("a", b"a long name\r\x1b[Kup\x1b[2K\n")]
    await play(ConsoleSink(terminal.file, terminal.file, color="never"), messages, [A, LONG])
    assert terminal.close() == b"a      | a long name\na      | up\n"


async def test_progress_bar_beside_other_commands_becomes_separate_lines(
    terminal: Terminal,
) -> None:
    r"""With several commands, a lone \r ends the line, so no other line is overwritten."""
    await play(ConsoleSink(terminal.file, terminal.file, color="never"), PROGRESS, [A, LONG])
    label = b"a      | "
    assert terminal.close() == label + label.join([b"1%\n", b"2%\n", b"3%\n", b"done\n"])


async def test_progress_bar_that_moves_the_cursor_is_one_that_returns_the_carriage(
    terminal: Terminal,
) -> None:
    """The updates neither run together nor leave empty lines between them."""
    updates = b"1%\x1b[2K\x1b[1G\x1b[1G2%", b"\x1b[1", b"G3%\n"
    messages: list[BatchMessage] = [out("a", update) for update in updates]
    sink = ConsoleSink(terminal.file, terminal.file, color="never")
    await play(sink, messages, [A, Command(["b"])])
    assert terminal.close() == b"a | 1%\na | 2%\na | 3%\n"


@pytest.mark.parametrize("commands", [[A], [Command(["b"]), A]])
async def test_carriage_return_that_a_terminal_has_doubled_shows_no_empty_line(
    terminal: Terminal, commands: list[Command]
) -> None:
    r"""A program that writes ``\r\n`` in a pseudo-terminal, as ssh does, writes ``\r\r\n``."""
    messages = [out("a", b"1\r\r\n2\r\n\r\r\n3\n")]
    await play(ConsoleSink(terminal.file, terminal.file, color="never"), messages, commands)
    shown = b"a | 1\na | 2\na | \na | 3\n"
    assert terminal.close() == shown
    assert await console_output(messages, commands) == (shown, b"")


async def test_progress_bar_in_a_file_becomes_separate_lines() -> None:
    r"""In a file that is not a terminal, a lone \r ends the line."""
    assert await console_output(PROGRESS, [A]) == (b"a | 1%\na | 2%\na | 3%\na | done\n", b"")


async def test_other_output_does_not_overwrite_a_progress_bar(terminal: Terminal) -> None:
    """A note of currant or a line of the other stream begins on the next line."""
    messages: list[BatchMessage] = [
        out("a", b"1%\r"),
        err("a", b"oh\n"),
        out("a", b"2%\r"),
        exited("a", 3),
    ]
    await play(ConsoleSink(terminal.file, terminal.file, color="never"), messages, [A])
    assert terminal.close() == b"a | 1%\r\na | oh\na | 2%\r\ncurrant: a: exit code 3\n"


# ---- control sequences ----


@pytest.mark.parametrize("mode", ["line", "group"])
async def test_control_sequences_do_not_reach_a_terminal(terminal: Terminal, mode: str) -> None:
    """Cursor movements are removed, also if cut; colours pass and end with their line."""
    messages: list[BatchMessage] = [
        out("a", b"\x1b[2J\x1b[H\x1b[31mred\x1b"),
        out("a", b"[1A\x1b[?1049h text\n"),
        err("a", b"\x1b]0;title\x07\x1b7err\b\n"),
        exited("a"),
    ]
    sink = ConsoleSink(terminal.file, terminal.file, color="never", mode=mode)  # type: ignore[arg-type]
    await play(sink, messages, [A])
    assert terminal.close() == b"a | \x1b[31mred text\x1b[0m\na | err\n"


async def test_style_of_an_unfinished_line_does_not_leak(terminal: Terminal) -> None:
    """A style ends before the output of another command, a note, and the end of the console."""
    messages: list[BatchMessage] = [
        out("a", b"\x1b[31mred"),
        out("b", b"plain\n"),
        out("b", b"\x1b]8;;u\x07link"),
        exited("a", 3),
        out("a", b"\x1b[1mbold"),
    ]
    await play(ConsoleSink(terminal.file, terminal.file, color="never"), messages)
    assert terminal.close() == (
        b"a | \x1b[31mred\x1b[0m\nb | plain\n"
        b"b | \x1b]8;;u\x07link\x1b]8;;\x1b\\\ncurrant: a: exit code 3\n"
        b"a | \x1b[1mbold\x1b[0m\n"
    )


async def test_incomplete_sequence_ends_with_its_attempt(terminal: Terminal) -> None:
    """A sequence that a killed process did not complete hides nothing of the next attempt."""
    messages: list[BatchMessage] = [
        out("a", b"1\x1b["),
        exited("a"),
        out("a", b"2\n"),
        out("a", b"caf\xe9"),
        exited("a"),
    ]
    await play(ConsoleSink(terminal.file, terminal.file, color="never"), messages)
    assert terminal.close() == b"a | 12\na | caf\xe9\n"


async def test_output_of_sequences_alone_shows_no_line(terminal: Terminal) -> None:
    """A command that only clears the screen, as `clear` does, shows nothing."""
    messages: list[BatchMessage] = [out("a", b"\x1b[H\x1b[2J\x1b[3J"), exited("a")]
    await play(ConsoleSink(terminal.file, terminal.file, color="never"), messages)
    assert terminal.close() == b""


async def test_dumb_terminal_gets_no_sequences(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With TERM=dumb, a terminal gets neither the colours of commands nor carriage returns."""
    monkeypatch.setenv("TERM", "dumb")
    messages: list[BatchMessage] = [out("a", b"\x1b[31m1%\x1b[0m\r2%\r"), exited("a")]
    await play(ConsoleSink(terminal.file, terminal.file), messages, [A])
    assert terminal.close() == b"a | 1%\na | 2%\n"


@pytest.mark.parametrize(("color", "forced"), [("always", ""), ("auto", "1")])
async def test_dumb_terminal_gets_colours_on_demand(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, color: Color, forced: str
) -> None:
    """If the user demands colours, those of the commands pass as the colours of the names do."""
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("FORCE_COLOR", forced)
    monkeypatch.delenv("NO_COLOR", raising=False)
    messages: list[BatchMessage] = [out("a", b"\x1b[31mred\x1b[0m\n")]
    await play(ConsoleSink(terminal.file, terminal.file, color=color), messages, [A])
    assert terminal.close().endswith(b"\x1b[31mred\x1b[0m\n")


async def test_raw_mode_and_files_get_all_sequences(terminal: Terminal) -> None:
    """Raw mode passes every byte on to a terminal, and a file gets every byte in each mode."""
    data = b"\x1b[2J\x1b[31mred\b\n"
    await play(ConsoleSink(terminal.file, terminal.file, mode="raw"), [out("a", data)])
    assert terminal.close() == data
    assert await console_output([out("a", data)]) == (b"a | " + data, b"")


# ---- colours ----


def prefix_colors(text: bytes) -> dict[str, str]:
    """Return the colour code of each name in a prefix."""
    found = re.findall(rb"^\x1b\[0;([0-9;]+)m(\w+) *\| \x1b\[0m", text, re.MULTILINE)
    return {name.decode(): code.decode() for code, name in found}


async def test_command_has_its_configured_colour() -> None:
    """`Command.color` is a style of rich, and applies to the prefix of the command."""
    commands = [Command(["a"], color="bold #ff0000 on blue"), Command(["b"], color="magenta")]
    messages: list[BatchMessage] = [out("a", b"1\n"), out("b", b"1\n")]
    stdout, _ = await console_output(messages, commands, color="always")
    assert prefix_colors(stdout)["b"] == "35"
    assert prefix_colors(stdout)["a"].startswith("1;")


@pytest.mark.parametrize("given", [[], ["a"], ["b"], ["a", "c"], ["d", "e"]])
async def test_neighbouring_commands_have_different_colours(given: list[str]) -> None:
    """An automatic colour differs from the colours of both neighbours for any given colours."""
    names = "abcdefghijklmnopqrst"
    for color in ("cyan", "yellow", "green"):
        commands = [Command([name], color=color if name in given else None) for name in names]
        messages: list[BatchMessage] = [out(name, b"1\n") for name in reversed(names)]
        stdout, _ = await console_output(messages, commands, color="always")
        colors = [prefix_colors(stdout)[name] for name in names]
        for one, other, name in zip(colors, colors[1:], names, strict=False):
            assert one != other or {name, chr(ord(name) + 1)} <= set(given)


async def test_unknown_colour_is_reported_with_the_command() -> None:
    """An unknown colour ends the block with an error that names the colour and the command."""
    with pytest.raises(
        CommandError, match=r"command 'b': color is not a style of the package rich: .*'blurple'"
    ):
        async with Runner(
            ["sleep 9999", Command(["sleep", "9999"], name="b", color="blurple")],
            sinks=[ConsoleSink(io.BytesIO(), io.BytesIO(), color="always")],
        ):
            pass


async def test_unknown_colour_is_ignored_if_colours_are_off() -> None:
    """A style is not validated if colours are off."""
    command = Command(["a"], color="blurple")
    assert await console_output([out("a", b"1\n")], [command]) == (b"a | 1\n", b"")


async def test_unterminated_style_in_output_is_reset() -> None:
    """A style in the output affects no prefix, no note, and no text after the console."""
    both = io.BytesIO()
    messages: list[BatchMessage] = [
        out("a", b"\x1b[31mred\n"),
        exited("a", 3),
        out("a", b"\x1b[1mbold\n"),
    ]
    await play(ConsoleSink(both, both, color="always"), messages)
    label = b"\x1b[0;36ma | \x1b[0m"
    assert both.getvalue() == (
        label + b"\x1b[31mred\n\x1b[0mcurrant: a: exit code 3\n" + label + b"\x1b[1mbold\n\x1b[0m"
    )


# ---- files ----


async def test_console_writes_text_to_a_text_file() -> None:
    """A StringIO, like stdout in a notebook, gets text, and a split character is joined."""
    stdout, stderr = io.StringIO(), io.StringIO()
    messages: list[BatchMessage] = [
        out("a", "é".encode()[:1]),
        out("a", "é".encode()[1:] + b"\n"),
        err("a", b"\xff\n"),
    ]
    await play(ConsoleSink(stdout, stderr), messages)
    assert (stdout.getvalue(), stderr.getvalue()) == ("a | é\n", "a | \ufffd\n")


@pytest.mark.parametrize("at_most", [1, 3, 7, 1000])
async def test_partial_writes_lose_and_repeat_no_bytes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, at_most: int
) -> None:
    """After a partial write, as on a pipe that is almost full, the next write continues there."""

    def writev(fd: int, buffers: Sequence[bytes]) -> int:
        return os.write(fd, b"".join(buffers)[:at_most])

    monkeypatch.setattr(os, "writev", writev)
    with (tmp_path / "out").open("wb", buffering=0) as file:
        messages = [out("a", b"1\n2"), out("b", b"3\n"), err("a", b"4\n"), out("b", b"5\n6\n")]
        await play(ConsoleSink(file, file), messages)
    expected = b"a | 1\na | 2\nb | 3\na | 4\nb | 5\nb | 6\n"
    assert (tmp_path / "out").read_bytes() == expected


class BlockedFile(io.BytesIO):
    """A file whose first write blocks until `release` is set, and which counts its writes."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0
        self.entered = anyio.Event()
        self.release = anyio.Event()

    def write(self, data: object) -> int:
        """Write `data`; the first write waits for `release`."""
        self.writes += 1
        if self.writes == 1:
            anyio.from_thread.run_sync(self.entered.set)
            anyio.from_thread.run(self.release.wait)
        return super().write(cast("bytes", data))


async def test_backlog_is_written_in_one_write(gate: Gate) -> None:
    """The event loop and the command continue while a write blocks, and one write does the rest."""
    file = BlockedFile()
    rest = "for n in 2 3 4 5 6 7 8; do echo $n; sleep 0.01; done"
    command = Command.shell(f"echo 1; {gate.wait}; {rest}", name="a")
    with anyio.fail_after(LIMIT):
        async with Runner([command], sinks=[ConsoleSink(file, io.BytesIO())]) as runner:
            await file.entered.wait()
            gate.open()
            await runner["a"].wait()
            file.release.set()
    assert file.getvalue() == b"".join(b"a | %d\n" % n for n in range(1, 9))
    assert file.writes == 2


async def test_one_console_serves_two_runners_at_once() -> None:
    """Lines of two concurrent Runners stay whole, and each line is written once."""
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


# ---- the progress line ----


async def test_progress_line_stays_below_the_output_on_a_terminal(terminal: Terminal) -> None:
    """The progress line is cleared before output, rewritten afterwards, and removed at the end."""
    messages: list[BatchMessage] = [
        started("a"),
        out("a", b"1\n"),
        exited("a", 3),
        started("longer"),
        exited("longer"),
    ]
    sink = ConsoleSink(terminal.file, terminal.file, color="never", quiet=True, progress=True)
    await play(sink, messages, [A, LONG])
    below = "currant: {} done, {} running, {} failed"
    clear = "\r\x1b[J"
    below += "\r"
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


@pytest.mark.parametrize("names", ["numbered", "all the same"])
async def test_progress_line_of_a_map_has_no_total(terminal: Terminal, names: str) -> None:
    """Nobody knows how many items there are; a command that runs again counts once."""

    def command(item: str) -> Command:
        return Command(["test", item, "!=", "2"])

    template = "test {} != 2" if names == "numbered" else command
    sink = ConsoleSink(terminal.file, terminal.file, color="never", quiet=True, progress=True)
    results = currant.map(template, ["1", "2", "3"], max_processes=1, retries=1, sinks=[sink])
    assert [result.status async for _, result in results] == ["succeeded", "failed", "succeeded"]
    *lines, end = terminal.close().decode().removesuffix("\r\x1b[J").split("\r\x1b[J")
    assert end == "currant: 3 done, 0 running, 1 failed\r"
    assert "/" not in "".join(lines)


async def test_progress_line_of_a_map_counts_a_late_restart_once() -> None:
    """A failure that the line took for the last one does not count if the command then succeeds."""
    line = ProgressLine()
    line.follow([started("a#1"), exited("a#1", 3)], {}, in_slots=True)
    assert b"1 done, 0 running, 1 failed" in line.wrap(80, fits=True, changed=True)[1]
    again: list[BatchMessage] = [
        Restarting("a#1", 2, 0.1, 0.0),
        started("a#1", attempt=2),
        exited("a#1"),
    ]
    line.follow(again, {}, in_slots=True)
    assert b"1 done, 0 running, 0 failed" in line.wrap(80, fits=True, changed=True)[1]


async def test_progress_line_fits_the_terminal_and_follows_only_whole_lines(
    terminal: Terminal,
) -> None:
    """The progress line is cut to the current width, and is not appended to an unfinished line."""
    terminal.resize(13)
    sink = ConsoleSink(terminal.file, terminal.file, color="never", progress=True)
    await play(sink, [out("a", b"1"), out("a", b"2\n")], [A])
    begin, end = b"currant: 0/1\r\r\x1b[Ja | 1", b"2\ncurrant: 0/1\r\r\x1b[J"
    assert terminal.close() == begin + end


async def test_output_of_a_command_can_be_shown_as_written(terminal: Terminal) -> None:
    """Without labels, and with the sequences that move the cursor; other lines begin anew."""
    sink = ConsoleSink(terminal.file, terminal.file, color="never", verbatim=["a"], mode="group")
    messages: list[BatchMessage] = [
        out("a", b"name? \x08\x1b[5D"),
        out("longer", b"1\n"),
        exited("longer"),
        out("a", b"me\n"),
    ]
    await play(sink, messages, [A, LONG])
    assert terminal.close() == b"name? \x08\x1b[5D\nlonger | 1\nme\n"


async def test_progress_line_is_not_written_to_a_file() -> None:
    """A file that is not a terminal gets no progress line."""
    assert await console_output([out("a", b"1\n")], [A], progress=True) == (b"a | 1\n", b"")


@pytest.mark.parametrize("state", ["none", "closed", "detached"])
async def test_host_without_standard_streams_shows_nothing(
    state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a daemon, whose standard streams are missing or closed, the console does nothing."""
    streams = [io.TextIOWrapper(io.BytesIO()) for _ in range(2)]
    for name, stream in zip(("stdout", "stderr"), streams, strict=True):
        if state == "closed":
            stream.close()
        if state == "detached":
            stream.detach()
        monkeypatch.setattr(f"sys.{name}", None if state == "none" else stream)
    sink = ConsoleSink(color="auto", progress=True)
    async with Runner({"a": "sh -c 'echo 1; echo 2 >&2; exit 3'"}, sinks=[sink]) as runner:
        pass
    assert str(runner.results["a"].exit) == "exit code 3"


async def test_host_may_put_any_writer_in_the_place_of_stdout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A writer made by hand often has only `write` and `flush`."""
    written: list[str] = []
    writer = SimpleNamespace(write=written.append, flush=lambda: None)
    monkeypatch.setattr("sys.stdout", writer)
    await play(ConsoleSink(), [out("a", b"1\n")])
    assert "".join(written) == "a | 1\n"


async def test_stderr_is_shown_if_only_stdout_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """A missing stdout does not hide stderr."""
    monkeypatch.setattr("sys.stdout", None)
    await play(ConsoleSink(), [out("a", b"1\n"), err("a", b"2\n")])
    assert capsysbinary.readouterr().err == b"a | 2\n"


@pytest.mark.parametrize(
    ("environ", "live"),
    [
        ({}, True),
        ({"CI": "", "AGENT": "0", "CLAUDECODE": "false"}, True),
        ({"CI": "1"}, False),
        ({"TERM": "dumb"}, False),
        *(({name: "1"}, False) for name in AGENTS),
    ],
)
def test_person_watches_unless_a_variable_says_otherwise(
    environ: dict[str, str], *, live: bool
) -> None:
    """A CI and an agent keep the output as a text, and so it has no colours unless forced."""
    assert is_live(environ) is live
    assert colors_wanted(environ) is (None if live else False)
    assert colors_wanted({**environ, "FORCE_COLOR": "1"}) is True


async def test_ci_gets_no_sequences(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of a CI gets the lines that a file gets."""
    monkeypatch.setenv("CI", "true")
    messages: list[BatchMessage] = [out("a", b"\x1b[31m1%\x1b[0m\r2%\r"), exited("a")]
    await play(ConsoleSink(terminal.file, terminal.file, progress=True), messages, [A])
    assert terminal.close() == b"a | 1%\na | 2%\n"


def test_empty_variable_does_not_turn_colours_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty ``FORCE_COLOR`` counts as unset; rich alone would see no terminal."""
    for name in ("NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE", "CI", *AGENTS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "")
    terminal = SimpleNamespace(isatty=lambda: True, write=print)
    assert color_system_of(terminal, "auto") == "standard"
    assert color_system_of(io.StringIO(), "auto") is None


def test_line_that_an_ended_command_left_unfinished_is_forgotten() -> None:
    """A program without end may run commands with new names for ever."""
    writer = LineWriter()
    for number in range(3):
        name = f"c{number}"
        writer.lines(out(name, b"x"), "", None, in_place=False)
        writer.lines(err(name, b"y"), "", None, in_place=False)
        writer.finish(name)
    assert writer.end() == b"\n"
    assert not writer._broken_off
