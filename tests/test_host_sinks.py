"""Tests of sinks and hosts: labels, objects, folders, and equal output that is shown once."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from currant import (
    Aborted,
    Command,
    Exit,
    Failed,
    HostLost,
    HostLostError,
    HostUnreachableError,
    LaunchError,
    Restarting,
    Started,
)
from currant.sinks import ConsoleSink, DirectorySink, JSONSink, SinkWarning
from currant.sinks import _same as same_module
from currant.sinks import _temporary as temporary_module
from tests.playing import err, exited, out, play

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from currant import BatchMessage

pytestmark = [pytest.mark.anyio, pytest.mark.backends("asyncio")]

RULE = "-" * 15


def on(host: str, name: str = "job", **options: Any) -> Command:
    """Return a command that is pinned to a host, and named after it."""
    return Command([name], name=f"{name}@{host}", host=host, **options)


def started(name: str, host: str | None, attempt: int = 1) -> Started:
    """Return the message that a command runs on a host."""
    return Started(name, 1, attempt, 0.0, host)


def ran(command: Command, output: bytes, end: Exit | int = 0) -> list[BatchMessage]:
    """Return the messages of a command that has written some output and ended."""
    name = str(command.name)
    return [started(name, command.host), out(name, output), exited(name, end)]


async def shown(
    messages: Sequence[BatchMessage], commands: Sequence[Command] = (), **options: Any
) -> tuple[str, str]:
    """Return the text that the console writes to stdout and to stderr."""
    stdout, stderr = io.StringIO(), io.StringIO()
    await play(ConsoleSink(stdout, stderr, color="never", **options), messages, commands)
    return stdout.getvalue(), stderr.getvalue()


# ---- labels and objects ----


async def test_label_has_the_host() -> None:
    """The host is padded like the name; a command of this machine has the host ``local``."""
    messages: list[BatchMessage] = [
        started("a", "node1"),
        out("a", b"1\n"),
        started("b", None),
        out("b", b"2\n"),
    ]
    assert (await shown(messages, prefix="{host}/{name}: "))[0] == "node1/a: 1\nlocal/b: 2\n"


async def test_host_of_a_pinned_command_is_known_beforehand() -> None:
    """Labels have the same width from the first line on."""
    commands = [on("a"), on("node1")]
    messages = ran(commands[0], b"1\n")
    assert (await shown(messages, commands, prefix="{host}: "))[0] == "a    : 1\n"


async def test_text_for_an_event_may_have_the_host() -> None:
    """A text for an event may have the same field as a label."""
    texts = {"started": "{name} runs on {host}"}
    _, text = await shown([started("a", "n1")], texts=texts)
    assert text == "currant: a runs on n1\n"


async def test_each_object_has_the_host_of_its_command() -> None:
    """A filter needs a single object; a restart on another host changes the field."""
    file = io.BytesIO()
    messages: list[BatchMessage] = [
        *(started("a", "n1"), out("a", b"1\n"), exited("a", 1)),
        *(started("a", "n2", 2), out("a", b"2\n"), exited("a", 0)),
        *(started("b", None), out("b", b"3\n")),
    ]
    await play(JSONSink(file), messages)
    hosts = [json.loads(line).get("host") for line in file.getvalue().splitlines()]
    assert hosts == ["n1"] * 3 + ["n2"] * 3 + [None] * 2


async def test_host_of_an_attempt_is_forgotten_with_the_attempt() -> None:
    """A program without end may use new names for ever, and the next attempt may be elsewhere."""
    file = io.BytesIO()
    await play(JSONSink(file), [started("a", "n1"), exited("a", 1), Restarting("a", 2, 0.1, 0.0)])
    hosts = [json.loads(line).get("host") for line in file.getvalue().splitlines()]
    assert hosts == ["n1", "n1", None]


# ---- lost hosts ----


async def test_lost_host_is_told_once_with_its_reason() -> None:
    """Each command of the host has a line of its own without the reason."""
    lost = HostLostError("n1", "Warning: a banner\n\nssh: Connection reset by peer\n")
    gone = HostUnreachableError("n2", "no route")
    refused = LaunchError("b", "host n2")
    refused.__cause__ = gone
    messages: list[BatchMessage] = [
        HostLost("n1", lost, 0.0),
        Aborted("a", lost, 1, 0.0),
        HostLost("n2", gone, 0.0),
        Failed("b", refused, 1, 0.0),
    ]
    assert (await shown(messages))[1].splitlines() == [
        "currant: the host 'n1' is lost: ssh: Connection reset by peer",
        "currant: 'a' has failed: its host 'n1' is lost",
        "currant: cannot reach the host 'n2': no route",
        "currant: 'b' cannot be started: its host 'n2' cannot be reached",
    ]


# ---- folders ----


def files(folder: Path) -> dict[str, bytes]:
    """Return the content of all files in a folder, by their paths in it."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


async def test_each_host_has_a_folder_of_logs(tmp_path: Path) -> None:
    """A file does not repeat the host; commands of this machine have no folder."""
    commands = [on("n1"), on("n2"), Command(["x"], name="x"), Command(["y"], name="y@n3")]
    replica = Command(["z"], name="z@n2.1", host="n2")
    messages = [
        *ran(commands[0], b"1\n"),
        *ran(commands[1], b"2\n"),
        *ran(commands[2], b"3\n"),
        *(started("y@n3", "n1"), out("y@n3", b"4\n")),
        *ran(replica, b"5\n"),
    ]
    await play(DirectorySink(tmp_path, by_host=True), messages, [*commands, replica])
    assert files(tmp_path) == {
        "n1/job.log": b"1\n",
        "n2/job.log": b"2\n",
        "x.log": b"3\n",
        "n1/y@n3.log": b"4\n",
        "n2/z.1.log": b"5\n",
    }


async def test_restart_elsewhere_has_another_log(tmp_path: Path) -> None:
    """The folder of a host has the output of the attempts that ran there."""
    first: list[BatchMessage] = [started("a", "n1"), out("a", b"1\n")]
    messages = [*first, started("a", "n2", 2), out("a", b"2\n")]
    await play(DirectorySink(tmp_path, by_host=True), messages)
    assert files(tmp_path) == {"n1/a.log": b"1\n", "n2/a.log": b"2\n"}


async def test_hosts_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    """Names of hosts are escaped, and two commands of a host never share a file."""
    names = ["a", "a@..", "b"]
    messages: list[BatchMessage] = []
    for name, host in zip(names, ["..", "..", "x/y"], strict=True):
        messages += [started(name, host), out(name, name.encode())]
    await play(DirectorySink(tmp_path / "logs", by_host=True), messages)
    found = files(tmp_path)
    assert sorted(found.values()) == [b"a", b"a@..", b"b"]
    assert {"logs/%2E%2E/a.log", "logs/x%2Fy/b.log"} < found.keys()
    assert all(path.startswith("logs/") for path in found)


# ---- equal output, shown once ----


async def test_equal_output_is_shown_once_the_most_common_first() -> None:
    """The title has the hosts, folded and counted."""
    commands = [on(f"n{i}") for i in range(1, 5)] + [on("a")]
    messages: list[BatchMessage] = []
    for command in reversed(commands):
        messages += ran(command, b"6.1\n" if command.host != "n3" else b"5.4\n")
    text, errors = await shown(messages, commands, mode="same")
    assert text.splitlines() == [
        *(RULE, "a,n[1-2,4] (4)", RULE, "6.1"),
        *(RULE, "n3 (1)", RULE, "5.4"),
    ]
    assert errors == ""


async def test_outputs_of_one_size_are_in_the_order_of_hosts() -> None:
    """The host n2 comes before n10."""
    commands = [on("n10"), on("n2")]
    messages = ran(commands[0], b"x\n") + ran(commands[1], b"y\n")
    text, _ = await shown(messages, commands, mode="same")
    assert text.splitlines()[1::4] == ["n2 (1)", "n10 (1)"]


async def test_stderr_and_the_end_make_outputs_differ() -> None:
    """Hosts share a title only if stdout, stderr and the exit are equal."""
    commands = [on(host) for host in "abcd"]
    messages: list[BatchMessage] = []
    for command, code in zip(commands, (0, 3, 0, 3), strict=True):
        name = str(command.name)
        messages += [started(name, command.host), out(name, b"x\n")]
        messages += [err(name, b"oh\n")] if command.host == "d" else []
        messages += [exited(name, code)]
    text, errors = await shown(messages, commands, mode="same")
    titles = ["a,c (2)", "b (1): exit code 3", "d (1): exit code 3"]
    assert text.splitlines()[1::4] == titles
    assert errors.splitlines() == [RULE, titles[2], RULE, "oh"]


async def test_titles_name_the_command_if_there_are_several() -> None:
    """The commands come in the order in which they were given."""
    commands = [on(host, name) for name in ("zeta", "df") for host in "ab"]
    messages = [message for each in reversed(commands) for message in ran(each, b"x\n")]
    text, _ = await shown(messages, commands, mode="same")
    assert text.splitlines()[1::4] == ["zeta@a,b (2)", "df@a,b (2)"]


async def test_each_replica_is_compared_with_its_like() -> None:
    """The number of a replica comes after the host in its name, and before it in the title."""
    commands = [Command(["df"], name=f"df@{host}.{i}", host=host) for i in (1, 2) for host in "ab"]
    messages = [message for each in commands for message in ran(each, b"x\n")]
    text, _ = await shown(messages, commands, mode="same")
    assert text.splitlines()[1::4] == ["df.1@a,b (2)", "df.2@a,b (2)"]


async def test_failures_without_output_are_folded() -> None:
    """A failure without output is a line on stderr; a success without output is not shown."""
    lost = HostLostError("d", "gone")
    refused = LaunchError("job@e", "cannot reach e")
    refused.__cause__ = HostUnreachableError("e", "no route")
    commands = [on(host) for host in "abcde"]
    messages: list[BatchMessage] = [
        *(started("job@a", "a"), exited("job@a", 1)),
        *(started("job@b", "b"), exited("job@b", 0)),
        *(started("job@c", "c"), exited("job@c", 1)),
        *(started("job@d", "d"), Aborted("job@d", lost, 1, 0.0)),
        Failed("job@e", refused, 1, 0.0),
        HostLost("d", lost, 0.0),
    ]
    text, errors = await shown(messages, commands, mode="same")
    assert text == ""
    assert errors.splitlines() == [
        "currant: the host 'd' is lost: gone",
        "currant: a,c (2): exit code 1",
        "currant: d (1): its host is lost",
        "currant: e (1): its host cannot be reached",
    ]
    assert await shown(messages, commands, mode="same", quiet=True) == ("", "")


async def test_order_of_both_streams_is_kept_in_one_file() -> None:
    """An unfinished line ends before the title of the next output."""
    file = io.StringIO()
    commands = [on("a"), on("b")]
    messages: list[BatchMessage] = [
        *(out("job@a", b"1\n"), err("job@a", b"2\n"), out("job@a", b"3")),
        *(out("job@b", b"1\n"), err("job@b", b"2")),
        *(exited("job@a", 0), exited("job@b", 0)),
    ]
    await play(ConsoleSink(file, file, color="never", mode="same"), messages, commands)
    titles = [[RULE, f"{host} (1)", RULE] for host in "ab"]
    assert file.getvalue().splitlines() == [*titles[0], *"123", *titles[1], *"12"]


async def test_output_of_all_attempts_counts() -> None:
    """Hosts whose last attempts are equal differ if an earlier attempt differs."""
    commands = [on(host) for host in "abc"]
    messages = [
        *ran(commands[0], b"1\n", 1),
        *ran(commands[1], b"1\n", 1),
        Restarting("job@a", 2, 0.1, 0.0),
        *(started("job@a", "a", 2), out("job@a", b"2\n"), exited("job@a", 1)),
        *ran(commands[2], b"1\n", 1),
    ]
    text, _ = await shown(messages, commands, mode="same")
    end = ": exit code 1"
    first = [RULE, f"b-c (2){end}".replace("b-c", "b,c"), RULE, "1"]
    assert text.splitlines() == [*first, RULE, f"a (1){end}", RULE, "1", "2"]


async def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Output beyond a limit goes to one temporary file, and is shown in order."""
    held: list[int] = []
    monkeypatch.setattr(same_module, "MAX_IN_MEMORY", 1000)
    monkeypatch.setattr(same_module, "MAX_CHUNK", 64)
    move = same_module.SameOutput._move_to_disk

    def watched(self: same_module.SameOutput) -> None:
        held.append(sum(chunk.held for chunk in self._in_memory))
        move(self)
        assert not self._in_memory
        assert self._size == 0

    monkeypatch.setattr(same_module.SameOutput, "_move_to_disk", watched)
    commands = [on(f"n{i}") for i in range(20)]
    texts = {command.name: b"%d\n" % (i % 2) for i, command in enumerate(commands)}
    messages: list[BatchMessage] = []
    for _ in range(300):
        messages += [out(str(name), text) for name, text in texts.items()]
    messages += [exited(str(name), 0) for name in texts]
    text, _ = await shown(messages, commands, mode="same")
    lines = text.splitlines()
    assert held
    assert max(held) <= 1000 + len(texts)
    assert lines[3:303] == ["0"] * 300
    assert lines[306:] == ["1"] * 300


async def test_equal_outputs_take_the_room_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand hosts that have the same output at the end need no disk."""
    monkeypatch.setattr(same_module, "MAX_IN_MEMORY", 1000)
    monkeypatch.setattr(temporary_module, "TemporaryFile", None)
    commands = [on(f"n[{i}]".replace("[", "").replace("]", "")) for i in range(1000)]
    messages = [message for each in commands for message in ran(each, b"x" * 400 + b"\n")]
    text, _ = await shown(messages, commands, mode="same")
    assert text.splitlines() == [RULE, "n[0-999] (1000)", RULE, "x" * 400]


async def test_full_disk_loses_no_output(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """If there is no room for the temporary file, output stays in memory, with a warning."""
    monkeypatch.setattr(same_module, "MAX_IN_MEMORY", 10)

    def fail(**options: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(temporary_module, "TemporaryFile", fail)
    command = on("a")
    messages = ran(command, b"0123456789\n") + ran(command, b"0123456789\n")
    with pytest.warns(SinkWarning, match="No space left on device; all of it is held in memory"):
        text, _ = await shown(messages, [command], mode="same")
    assert text.splitlines()[3:] == ["0123456789"] * 2
