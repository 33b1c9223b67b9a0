"""``currant mcp``: the tools for the running stack, and the server with the official client."""

from __future__ import annotations

import os
import re
import sys
import time
from contextlib import aclosing, asynccontextmanager
from importlib import import_module
from importlib.util import find_spec
from inspect import signature
from signal import SIGTERM
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from currant import PIPE, Command, Dropped, Exit, Line, Started
from currant._mcp._answers import answer_of
from currant._mcp._excerpt import MAX_LINE, last_that_fit, shown
from currant._mcp._line_search import LineSearch
from currant.ready import line
from currant.stack import CommandInfo, Listing, NoStackError, RequestError, StackClient, StackError
from currant.stack._times import duration, parse_time
from currant.testing import FakeLauncher, Script
from tests.clis import ROOT
from tests.stacks import RunningStack, running
from tests.waiting import HOURS, LIMIT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import Path

    from currant import Message
    from currant._mcp._tools import StackTools

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.backends("asyncio", "trio"),
    pytest.mark.usefixtures("runtime"),
    pytest.mark.skipif(
        find_spec("mcp") is None, reason="mcp is not installed: pip install -e '.[test]'"
    ),
]

SERVES, CRASHES = Script(exit=None), Script(stderr=b"no such table\n", exit=3)


@pytest.fixture
def tools(tmp_path: Path) -> StackTools:
    """The tools for the stack of a folder."""
    found: StackTools = import_module("currant._mcp._tools").StackTools(str(tmp_path))
    return found


@asynccontextmanager
async def playing(folder: Path, scripts: Mapping[str, Script]) -> AsyncIterator[RunningStack]:
    """Run a stack of fake processes, and wait until each has ended, or runs."""
    commands = {name: Command([name]) for name in scripts}
    with anyio.fail_after(LIMIT):
        async with running(commands, folder, launcher=FakeLauncher(scripts)) as stack:
            for name, script in scripts.items():
                await stack.client.wait([name], "ready" if script.exit is None else "ended")
            yield stack


def output_of(count: int) -> Script:
    """Return a process that writes numbered lines."""
    return Script(stdout=b"".join(b"line %d\n" % number for number in range(count)))


# ---- commands ----


async def test_list_tells_the_state_of_each_command(tmp_path: Path, tools: StackTools) -> None:
    """The values have what the text has, because some clients show a model one of them only."""
    async with playing(tmp_path, {"web": SERVES, "job": CRASHES}) as stack:
        pid = stack.runner["web"].pid
        answer = await tools.list_commands()
    folder, web, job = answer.text.splitlines()
    assert folder == f"stack of {tmp_path}"
    assert web.startswith(f"web: running, ready, pid {pid}, restarts 0, uptime ")
    assert job == "job: failed, restarts 0, end: exit code 3"
    assert answer.values is not None
    values: Any = answer.values
    assert values["folder"] == str(tmp_path)
    assert values["commands"][0].pop("uptime") >= 0
    assert values["commands"] == [
        {
            "name": "web",
            "state": "running",
            "ready": True,
            "pid": pid,
            "host": None,
            "restarts": 0,
            "end": None,
        },
        {
            "name": "job",
            "state": "failed",
            "ready": False,
            "pid": None,
            "host": None,
            "restarts": 0,
            "uptime": None,
            "end": "exit code 3",
        },
    ]


async def test_commands_are_stopped_started_and_restarted(
    tmp_path: Path, tools: StackTools
) -> None:
    """The answer has the commands that were named, and no others."""
    async with playing(tmp_path, {"web": SERVES, "db": SERVES}) as stack:
        assert (await tools.wait()).is_error is False
        stopped = await tools.stop(["web"])
        assert stopped.text.startswith("web: stopped, ")
        assert "db" not in stopped.text
        assert (await tools.start(["web"])).text.startswith("web: running, ready, ")
        assert "restarts 2" in (await tools.restart(["web"])).text
        assert stack.runner["db"].restarts == 0


async def test_command_that_is_not_ready_in_time_is_a_problem(
    tmp_path: Path, tools: StackTools
) -> None:
    """The restart goes on, and the answer comes after the time limit."""
    never = Command(["web"], ready=line("ready", timeout=HOURS))
    launcher = FakeLauncher(default=SERVES)
    with anyio.fail_after(LIMIT):
        async with running({"web": never}, tmp_path, launcher=launcher):
            answer = await tools.restart(["web"], timeout=0)
            waited = await tools.wait(["web"], timeout=0)
    assert answer.is_error
    problem, state = answer.text.splitlines()
    assert problem == "problem: web is not ready after 0 s, and currant goes on with it"
    assert state.startswith("web: running, not ready, ")
    assert (waited.is_error, "web: running, not ready" in waited.text) == (True, True)


async def test_command_that_fails_is_a_problem(tmp_path: Path, tools: StackTools) -> None:
    """The answer says how it has ended."""
    async with playing(tmp_path, {"job": CRASHES}):
        answer = await tools.wait(["job"], "ended")
    assert answer.is_error
    assert answer.text.splitlines()[0] == "problem: job: exit code 3"


# ---- mistakes ----


async def test_tools_find_the_stack_at_each_call(tmp_path: Path, tools: StackTools) -> None:
    """Without a stack the error says how to start one; the same tools work once it runs."""
    for _ in range(2):
        with pytest.raises(NoStackError, match="currant start -d"):
            await tools.list_commands()
        async with playing(tmp_path, {"web": SERVES}):
            assert "web: " in (await tools.list_commands()).text


async def test_unknown_name_is_answered_with_the_nearest(tmp_path: Path, tools: StackTools) -> None:
    """This holds for every tool that takes a name."""
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: tools.start(["wbe"]),
        lambda: tools.stop(["wbe"]),
        lambda: tools.restart(["wbe"]),
        lambda: tools.logs(["wbe"]),
        lambda: tools.wait(["wbe"]),
        lambda: tools.wait_for_line("x", ["wbe"]),
        lambda: tools.send("wbe", "x"),
    ]
    async with playing(tmp_path, {"web": SERVES}):
        for call in calls:
            with pytest.raises(RequestError, match="did you mean 'web'"):
                await call()


async def test_wrong_arguments_change_nothing(tmp_path: Path, tools: StackTools) -> None:
    """No names are not all names, so an agent does not stop everything by mistake."""
    async with playing(tmp_path, {"web": SERVES}) as stack:
        for act in (tools.start, tools.stop, tools.restart):
            with pytest.raises(StackError, match="names: name at least one command"):
                await act([])
        with pytest.raises(StackError, match="is no regular expression: the repetition number"):
            await tools.wait_for_line("a{9999999999}")
        with pytest.raises(StackError, match=r"'\(' is no regular expression: missing \)"):
            await tools.logs(search="(")
        with pytest.raises(StackError, match="since: 'soon' is no time"):
            await tools.wait_for_line("x", since="soon")
        with pytest.raises(RequestError, match="'web' has no stdin"):
            await tools.send("web", "x")
        assert [each.state for each in (await stack.client.list()).commands] == ["running"]


# ---- output ----


async def test_logs_are_searched_and_limited(tmp_path: Path, tools: StackTools) -> None:
    """An answer that is not complete says so."""
    async with playing(tmp_path, {"a": output_of(500), "b": Script(stdout=b"only\n")}):
        assert (await tools.logs(["b"])).text == "b | only"
        assert (await tools.logs(["a"], last=2)).text.splitlines() == [
            "(earlier lines left out: at least 1; raise last=2 or max_chars=20000)",
            "a | line 498",
            "a | line 499",
        ]
        found = await tools.logs(search="[0-4]99$|only", last=3)
        assert found.text.splitlines()[0].startswith("(earlier lines left out: 2; ")
        assert len(found.text.splitlines()) == 4
        capped = (await tools.logs(["a"], last=500, max_chars=2000)).text.splitlines()
        assert capped[0].startswith(f"(earlier lines left out: {501 - len(capped)}; ")
        assert capped[-1] == "a | line 499"
        assert 1900 < sum(len(each) + 1 for each in capped[1:]) <= 2000
        assert (await tools.logs(search="nothing")).text == "no line matches 'nothing'"
        later = str(time.localtime().tm_year + 2)
        assert (await tools.logs(since=f"{later}-01-01")).text == (
            f"there is no output since {later}-01-01"
        )


async def test_control_sequences_are_removed(tmp_path: Path, tools: StackTools) -> None:
    """They neither hide a match nor reach the model; a very long line is cut."""
    data = b"\x1b[31mred\x1b[0m and \x1b]0;title\x07plain\x08\n" + b"x" * (MAX_LINE + 7) + b"\n"
    async with playing(tmp_path, {"a": Script(stdout=data)}):
        assert (await tools.logs(search="^red and")).text == "a | red and plain"
        assert (await tools.logs(last=1)).text.endswith(f"a | {'x' * MAX_LINE}… (7 more)")


def test_missing_lines_are_counted() -> None:
    """The output came faster than the tool read it."""
    assert shown(Dropped("web", 5, 0.0)) == "web | (5 lines are missing here)"


# ---- wait for a line ----


async def test_wait_for_line_of_the_running_process(tmp_path: Path, tools: StackTools) -> None:
    """A line that it has written already counts; a line of the process before does not."""
    commands = {"web": Command.shell("echo \x1b[1mup $$; exec cat", stdin=PIPE)}
    with anyio.fail_after(LIMIT):
        async with running(commands, tmp_path) as stack:
            await stack.client.wait(until="ready")
            first = stack.runner["web"].pid
            assert (await tools.wait_for_line(r"^up \d+", ["web"])).text == f"web | up {first}"
            await tools.restart(["web"])
            second = stack.runner["web"].pid
            assert (await tools.wait_for_line(r"^up")).text == f"web | up {second}"

            since = (await tools.send("web", "up again")).text.split("since=")[1].split()[0]
            answer = await tools.wait_for_line("up", since=since)
            assert answer.text == "web | up again"
            await tools.send("web", "piece", newline=False)
            await tools.send("web", " by piece")
            assert (await tools.wait_for_line("^piece by piece$")).text.startswith("web | piece")


def test_line_of_the_process_before_does_not_count() -> None:
    """The start of the new process may not be in the history yet, although its pid is known."""
    web = CommandInfo("web", "running", True, 2, None, 1, 10.0, None, None, None, None, None, "web")
    search = LineSearch(re.compile("up"), [web])
    assert search.wants(Line("web", "stdout", b"up", b"\n", 11.0))
    search.note_start(Started("web", 1, 1, 10.0))
    assert not search.wants(Line("web", "stdout", b"up", b"\n", 11.0))
    search.note_start(Started("web", 2, 2, 12.0))
    assert search.wants(Line("web", "stdout", b"up", b"\n", 12.0))
    search.note_start(Started("web", 3, 3, 13.0))
    assert search.wants(Line("web", "stdout", b"up", b"\n", 13.0))


async def test_wait_for_line_ends_without_a_match(tmp_path: Path, tools: StackTools) -> None:
    """It ends with the commands, and after the time limit; the answer has the states."""
    async with playing(tmp_path, {"web": SERVES, "job": CRASHES}):
        ended = await tools.wait_for_line("x", ["job"], timeout=LIMIT)
        assert (ended.is_error, ended.text.splitlines()) == (
            True,
            [
                "no line has matched 'x' before the commands ended",
                "job: failed, restarts 0, end: exit code 3",
            ],
        )
        late = await tools.wait_for_line("x", ["web"], timeout=0)
        assert late.is_error
        assert late.text.startswith("no line has matched 'x' within 0 s\nweb: running, ready, ")
        found = await tools.wait_for_line("table$", ["job"])
        assert found.text == "job | no such table"


async def test_end_does_not_hide_the_last_lines(
    tmp_path: Path, tools: StackTools, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of the commands may be known before their last lines have come."""
    logs = StackClient.logs

    async def late(*_: Any, follow: bool = False, **more: Any) -> AsyncIterator[Message]:
        if follow:
            await anyio.sleep_forever()
        async with aclosing(logs(*_, **more)) as messages:
            async for each in messages:
                yield each

    monkeypatch.setattr(StackClient, "logs", late)
    async with playing(tmp_path, {"job": CRASHES}):
        assert (await tools.wait_for_line("table")).text == "job | no such table"


async def test_wait_for_line_tells_that_the_stack_has_ended(
    tmp_path: Path, tools: StackTools
) -> None:
    """It does not wait for the time limit."""
    ends: list[str] = []

    async def wait() -> None:
        try:
            ends.append((await tools.wait_for_line("x", timeout=HOURS)).text)
        except StackError as error:
            ends.append(str(error))

    async with anyio.create_task_group() as tasks, playing(tmp_path, {"web": SERVES}):
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
    assert "ended" in ends[0] or "no stack" in ends[0]


# ---- times and sizes ----


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30s", -30),
        ("1.5m", -90),
        ("2h", -7200),
        ("1d", -86_400),
        ("99999999999d", -1e6),  # the epoch is the earliest time
        ("1970-01-12T13:46:40+00:00", 0),
        ("1970-01-12T13:46:41.500+00:00", 1.5),
    ],
)
def test_times_are_spans_or_dates(text: str, expected: float) -> None:
    """A span is before now."""
    assert parse_time(text, 1e6) - 1e6 == expected


def test_time_of_day_is_of_today() -> None:
    """Anything else is an error that shows the forms."""
    at = time.localtime(parse_time("14:30", time.time()))
    assert (at.tm_hour, at.tm_min) == (14, 30)
    with pytest.raises(ValueError, match="'1w' is no time such as 10m"):
        parse_time("1w", 0)


def test_duration_has_two_units() -> None:
    """The two largest that are not zero, or seconds."""
    assert [duration(each) for each in (5.9, 200, 7500, 781_200)] == [
        "5s",
        "3m 20s",
        "2h 5m",
        "9d 1h",
    ]


def test_last_lines_that_fit() -> None:
    """At least one line is shown, however long."""
    lines = ["aaa", "bbb", "ccc"]
    assert last_that_fit(lines, 12) == lines
    assert last_that_fit(lines, 11) == ["bbb", "ccc"]
    assert last_that_fit(lines, 1) == ["ccc"]
    assert last_that_fit([], 1) == []


# ---- the documentation ----


def page() -> str:
    """Return the section about the tools."""
    text = (ROOT / "docs" / "stack.md").read_text()
    return text.split("## For agents: an MCP server\n")[1].split("\n## ")[0]


def test_documentation_has_all_tools_and_arguments(tools: StackTools) -> None:
    """The table has a row for each tool, or for tools with the same arguments."""
    documented: dict[str, set[str]] = {}
    for row in re.findall(r"^\| `.*", page(), re.MULTILINE):
        names, arguments, _ = row.strip("|").split("|")
        words = set(re.findall(r"\w+", re.sub(r"\(.*?\)", "", arguments)))
        documented |= dict.fromkeys(re.findall(r"\w+", names), words)
    methods = {name: getattr(tools, name) for name in dir(tools) if not name.startswith("_")}
    methods["list"] = methods.pop("list_commands")
    assert documented == {name: set(signature(methods[name]).parameters) for name in methods}


def test_documentation_shows_the_text_of_states(monkeypatch: pytest.MonkeyPatch) -> None:
    """The example is what a model reads."""
    monkeypatch.setattr(time, "time", lambda: 1009.5)
    stopped = CommandInfo(
        "worker.1",
        "stopped",
        False,
        None,
        None,
        0,
        None,
        None,
        None,
        None,
        Exit(None, SIGTERM, stopped=True),
        None,
        "worker",
    )
    web = CommandInfo(
        "web.1", "running", True, 22834, None, 1, 1000.0, 1, 1 << 20, 0.1, None, None, "web"
    )
    example = page().split("```text\n")[1].split("```")[0]
    assert answer_of(Listing((web, stopped), {})).text == example.rstrip()


# ---- the server ----


def test_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """The usage error names the extra."""
    click: Any = import_module("click")
    serve_mcp: Any = import_module("currant.cli._clients.mcp").serve_mcp

    monkeypatch.delitem(sys.modules, "currant._mcp._server", raising=False)
    monkeypatch.setitem(sys.modules, "mcp.types", None)
    with pytest.raises(click.UsageError, match=r"need the package mcp: pip install 'currant\[mcp"):
        serve_mcp.main([], standalone_mode=False)


@pytest.mark.backends("asyncio")
async def test_official_client_uses_the_tools(tmp_path: Path) -> None:
    """One server answers before, while and after a stack runs, and ends with its stdin."""
    mcp: Any = import_module("mcp")
    server = mcp.StdioServerParameters(
        command=sys.executable,
        args=["-m", "currant", "mcp", "--folder", str(tmp_path)],
        env={"XDG_RUNTIME_DIR": os.environ["XDG_RUNTIME_DIR"]},
    )
    web = Command.shell("echo ready; exec cat", stdin=PIPE, ready=line("ready"))
    with anyio.fail_after(LIMIT), (tmp_path / "stderr").open("w+") as stderr:
        async with (
            mcp.stdio_client(server, errlog=stderr) as streams,
            mcp.ClientSession(*streams) as session,
        ):
            await session.initialize()

            async def call(tool: str, **arguments: Any) -> Any:
                result = await session.call_tool(tool, arguments)
                return result.model_dump(by_alias=True)

            names = {tool.name for tool in (await session.list_tools()).tools}
            assert names == {
                *("list", "start", "stop", "restart", "logs", "wait", "wait_for_line", "send"),
            }

            before = await call("list")
            assert before["isError"] is True
            assert "no stack runs in" in before["content"][0]["text"]

            async with running({"web": web}, tmp_path):
                await call("wait", names=["web"], until="ready")
                listed = await call("list")
                assert listed["isError"] is False
                assert listed["content"][0]["text"].startswith(f"stack of {tmp_path}\nweb: running")
                assert listed["structuredContent"]["commands"][0]["ready"] is True

                await call("send", name="web", text="hello")
                answer = await call("wait_for_line", names=["web"], pattern="h.llo")
                assert answer["content"] == [{**answer["content"][0], "text": "web | hello"}]
                assert answer["structuredContent"] is None
                unknown = await call("stop", names=["wbe"])
                assert unknown["isError"] is True
                assert unknown["content"][0]["text"].startswith(
                    "there is no command 'wbe'; did you"
                )
                stopped = await call("stop", names=["web"])
                assert stopped["structuredContent"]["commands"][0]["state"] == "stopped"
                wrong = await call("logs", last="many")
                assert wrong["isError"] is True

            assert (await call("list"))["isError"] is True
        stderr.seek(0)
        assert "Traceback" not in stderr.read()
