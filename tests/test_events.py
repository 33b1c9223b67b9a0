"""The default texts of events, in a log record and on the console."""

from __future__ import annotations

from signal import SIGSEGV, SIGTERM

import pytest

from currant import (
    Aborted,
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
    NotReadyError,
    Ready,
    Restarting,
    Skipped,
    Started,
)
from currant.sinks._events import EventMessage, describe
from currant.sinks._templates import Templates

TAIL = [Line("a", "stdout", b"1", b"\n", 0.0)]
COMMANDS = {"a": Command(["a"], success_codes=(0, 4))}
STOPPED = Exit(None, SIGTERM, stopped=True)


@pytest.mark.parametrize(
    ("message", "text", "shown"),
    [
        (Started("a", 7, 1, 0.0), "started (pid 7)", None),
        (Ready("a", 1.26, 0.0), "ready after 1.3 s", "a: ready after 1.3 s"),
        (
            Aborted("a", NotReadyError("a", "too slow", TAIL), 1, 0.0),
            "'a' is not ready: too slow",
            "'a' is not ready: too slow",
        ),
        (Exited("a", Exit(3, None), 1, 0.0), "exit code 3", "a: exit code 3"),
        (Exited("a", Exit(None, SIGSEGV), 1, 0.0), "SIGSEGV", "a: SIGSEGV"),
        (Exited("a", Exit(4, None), 1, 0.0), "exit code 4", None),
        (Exited("a", STOPPED, 1, 0.0), "stopped (SIGTERM)", None),
        (Restarting("a", 2, 1.26, 0.0), "restarting in 1.3 s", "a: restarting in 1.3 s"),
        (
            Restarting("a", 2, 0.0, 0.0, "b.py changed"),
            "restarting: b.py changed",
            "a: restarting: b.py changed",
        ),
        (
            Failed("a", LaunchError("a", "no memory"), 2, 0.0),
            "cannot start 'a': no memory",
            "cannot start 'a': no memory",
        ),
        (
            Skipped("a", DependencyError("a", "'b' has failed"), 0.0),
            "'a' was skipped: 'b' has failed",
            "'a' was skipped: 'b' has failed",
        ),
        (Dropped("a", 1, 0.0), "1 line discarded", "a: 1 line discarded"),
        (Dropped("a", 3, 0.0), "3 lines discarded", "a: 3 lines discarded"),
        (HostUp("h1", 0.0), "the host 'h1' is up", None),
        (
            HostLost("h1", HostLostError("h1", "no route"), 0.0),
            "the host 'h1' is lost: no route",
            "the host 'h1' is lost: no route",
        ),
    ],
)
def test_each_event_has_a_default_text(message: EventMessage, text: str, shown: str | None) -> None:
    """The console shows the text with the command's name, and leaves out what is no news."""
    assert describe(message, COMMANDS).text == text
    templates = Templates("", None, {}, in_color=False)
    templates.add_commands(COMMANDS)
    assert templates.event_text(message) == shown


def test_template_for_a_host_has_its_own_fields() -> None:
    """There is no command, so the fields of one are refused."""
    texts = {"host_up": "+ {host}", "host_lost": "{time:%Y} - {host}: {error}"}
    templates = Templates("", None, texts, in_color=False)  # type: ignore[arg-type]
    assert templates.event_text(HostUp("h1", 0.0)) == "+ h1"
    lost = HostLost("h1", HostLostError("h1", "no route"), 86400.0)
    assert templates.event_text(lost) == "1970 - h1: the host 'h1' is lost: no route"
    with pytest.raises(
        ValueError, match=r"unknown field \{name\}; the fields are \{time\}, \{host\}"
    ):
        Templates("", None, {"host_up": "{name}"}, in_color=False)
