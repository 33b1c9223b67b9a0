"""Test the keys and the status line without a terminal, and the console with one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from currant import Aborted, Command, Exit, Exited, Failed, LaunchError, Started, TimeLimitError
from currant._values.lines import Batch
from currant._values.messages import Ready, Restarting
from currant.view._console import Selection, ViewConsole
from currant.view._keys import Keys, Request
from currant.view._status import StatusLine, columns_of
from tests.playing import play
from tests.test_console import Terminal, terminal

if TYPE_CHECKING:
    from currant import BatchMessage

__all__ = ["terminal"]  # a fixture

# ---- keys ----

NAMES = ["web", "worker", "worker-2", "Db"]


def typed(text: str, names: list[str] = NAMES) -> list[Request]:
    """Return the requests of what was typed at once; it must be the same key by key."""
    at_once, by_key = Keys(lambda: names), Keys(lambda: names)
    requests = list(at_once.feed(text))
    if "\x1b[" not in text and "\x1bO" not in text:
        assert [each for key in text for each in by_key.feed(key)] == requests
        assert at_once.prompt == by_key.prompt
    return requests


@pytest.mark.parametrize(
    ("text", "requests"),
    [
        ("l?hq", [Request("last"), Request("help"), Request("help"), Request("quit")]),
        ("rweb\r", [Request("restart", "web")]),
        ("rWo\n", [Request("restart", "worker")]),
        ("rworker-\r", [Request("restart", "worker-2")]),
        ("rworker\r", [Request("restart", "worker")]),
        ("rdb\r", [Request("restart", "Db")]),
        ("rer\r", [Request("restart", "worker")]),
        ("rwo\t-2\r", [Request("restart", "worker-2")]),
        ("rx\t\r", [Request("unknown", "x")]),
        ("r\r", []),
        ("s\r", [Request("solo")]),
        ("sweb\r", [Request("solo", "web")]),
        ("ferror 5?\r", [Request("filter", "error 5?")]),
        ("f\t\r", [Request("filter")]),
        ("f\r", [Request("filter")]),
        ("fab\x7f\x08c\r", [Request("filter", "c")]),
        ("fabc\x15d\r", [Request("filter", "d")]),
        ("fab\x1bq", [Request("quit")]),  # Escape gives up
        ("rwe\x1b[A\x1bOB\x1b[3~b\r", [Request("restart", "web")]),  # arrows are no letters
        ("\x1b[D\x00\x04xyz", []),
        ("fé\r", [Request("filter", "é")]),
        ("f" + 300 * "x" + "\r", [Request("filter", 200 * "x")]),
    ],
)
def test_keys_become_requests(text: str, requests: list[Request]) -> None:
    """A key asks for something, or opens a prompt that Enter answers."""
    assert typed(text) == requests


def test_a_single_command_needs_no_name() -> None:
    """`r` restarts the only command at once."""
    assert typed("r", ["web"]) == [Request("restart", "web")]


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("", None),
        ("r", "restart: _  web, worker, worker-2, Db"),
        ("rwo", "restart: wo_  worker, worker-2"),
        ("rx", "restart: x_  no such command"),
        ("sD", "show only (Enter: all): D_  Db"),
        ("fa\x1b[31m", "show lines with (Enter: all): a_"),
        ("rweb\r", None),
    ],
)
def test_the_prompt_shows_the_answer_and_the_names_that_fit(text: str, prompt: str | None) -> None:
    """An answer is seen before it is given."""
    keys = Keys(lambda: NAMES)
    list(keys.feed(text))
    assert keys.prompt == prompt


# ---- the status line ----

COMMANDS = {name: Command([name]) for name in ("web", "api", "db", "cron", "job")}
HINT = " | ? for help"
STATES: list[BatchMessage] = [
    Started("web", 1, 1, 0.0),
    Ready("web", 1.0, 0.0),
    Started("api", 1, 1, 0.0),
    Started("db", 1, 1, 0.0),
    Exited("db", Exit(3, None), 1, 0.0),
    Started("cron", 1, 1, 0.0),
    Exited("cron", Exit(1, None), 1, 0.0),
    Restarting("cron", 2, 9.0, 0.0),
]


@pytest.mark.parametrize(
    ("width", "text"),
    [
        (
            100,
            "currant: 1 failed (db), 1 restarting (cron), 1 ready, 1 running, 1 queued" + HINT,
        ),
        (79, "currant: 1 failed, 1 restarting, 1 ready, 1 running, 1 queued | ? for help"),
        (70, "currant: 1 failed, 1 restarting, 1 ready, 1 running, 1 queued"),
        (30, "currant: 1 failed, 1 restartin"),
    ],
)
def test_the_status_line_fits_the_terminal(width: int, text: str) -> None:
    """What has failed comes first; if there is no room, names are left out before the hint."""
    line = StatusLine()
    line.follow(STATES, COMMANDS)
    before, below = line.wrap(width + 1, fits=True, changed=True)
    assert (before, below) == (b"", text.encode() + b"\r")
    assert line.wrap(width + 1, fits=True, changed=False) == (b"", b"")
    line.prompt = "restart: " + 50 * "字"
    assert columns_of(line.wrap(width + 1, fits=True, changed=False)[1].decode()[:-1]) <= width
    line.is_hidden = True
    assert line.wrap(width + 1, fits=True, changed=False) == (b"\r\x1b[J", b"")
    assert line.wrap(width + 1, fits=True, changed=True) == (b"", b"")


def test_the_status_line_names_the_commands_that_are_left_at_a_stop() -> None:
    """The commands that hold currant up, not those that have failed."""
    line = StatusLine()
    line.follow(STATES, COMMANDS)
    line.is_stopping = True
    text = line.wrap(120, fits=True, changed=True)[1].decode()[:-1]
    assert text == (
        "currant: stopping: 1 failed, 1 restarting, 1 ready (web), 1 running (api), 1 queued"
        " | q or Ctrl-C kills"
    )


# ---- the console ----


def test_a_selection_leaves_output_out_and_nothing_else() -> None:
    """Only the lines of one command, or with a text in any case."""
    both: list[BatchMessage] = [
        Batch("a", "stdout", b"one\nTwo\n.two", 0.0),
        Batch("b", "stderr", b"two\n", 0.0),
    ]
    messages: list[BatchMessage] = [*both, STATES[4]]
    assert Selection().of(messages) == messages
    assert Selection(solo="b").of(messages) == messages[1:]
    assert Selection(text="two").of(messages) == [
        Batch("a", "stdout", b"Two\n.two", 0.0),
        *messages[1:],
    ]
    assert Selection("a", ".").of(messages) == [Batch("a", "stdout", b".two", 0.0), STATES[4]]
    assert Selection("a", "x*").of(messages) == [STATES[4]]


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (Exited("db", Exit(3, None), 1, 0.0), "db: exit code 3"),
        (Failed("db", LaunchError("db", "no memory"), 1, 0.0), "no memory"),
        (Aborted("db", TimeLimitError("db", 5), 1, 0.0), "db"),
    ],
)
@pytest.mark.anyio
@pytest.mark.backends("asyncio")
async def test_the_last_failure_is_shown_with_the_output_before_it(
    terminal: Terminal, message: Exited | Failed | Aborted, text: str
) -> None:
    """The output of the attempt that failed: at most twenty whole lines, with padded labels."""
    console = ViewConsole(terminal.file, terminal.file, color="never", progress=True)
    await console.show_last_failure()
    lines = b"".join(b"%d %s\n" % (number, 200 * b"x") for number in range(30))
    await play(
        console,
        [
            Started("db", 1, 1, 0.0),
            Batch("db", "stdout", b"old\n", 0.0),
            Started("db", 2, 2, 0.0),
            Batch("db", "stdout", lines, 0.0),
            Batch("db", "stderr", b"\x1b[31mno table\x1b[0m\n", 0.0),
            message,
            Started("db", 3, 3, 0.0),
        ],
        [COMMANDS["db"], Command(["worker"], name="worker")],
    )
    await console.show_last_failure()
    shown = terminal.close()
    assert shown.startswith(b"currant: no command has failed\n")
    last = shown[shown.index(b"currant: the last failure, at ") :].splitlines()
    assert text.encode() in last[0]
    assert last[-1] == b"db     | no table"
    numbers = [b"db     | %d" % number for number in range(11, 30)]
    assert [line[:11] for line in last[1:-1]] == numbers
