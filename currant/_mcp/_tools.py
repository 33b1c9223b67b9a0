"""The tools: each finds the running stack, asks it, and answers with a short text.

The docstrings of the methods and the descriptions of their arguments are what a model reads.  A
tool whose stack does not run, or which is used in a wrong way, raises an error of currant, whose
text becomes the answer.

Each wait has a time limit, because clients of MCP give up after a minute or so, and then the model
would not learn how far the commands have come.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Sequence
from contextlib import aclosing, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import anyio
from pydantic import Field

from currant._mcp._answers import Answer, answer_of
from currant._mcp._excerpt import last_that_fit, shown
from currant._mcp._line_search import LineSearch
from currant._synchronization import task_group_beside
from currant._values.checks import PATTERN_ERRORS
from currant._values.errors import plain_text
from currant._values.lines import Line
from currant._values.messages import Dropped, Started
from currant.stack._client import Listing, StackClient
from currant.stack._errors import StackError
from currant.stack._times import parse_time

if TYPE_CHECKING:
    from collections.abc import Awaitable

__all__ = ["StackTools"]

Names: TypeAlias = Annotated[
    Sequence[str],
    Field(
        json_schema_extra={"minItems": 1},  # checked below, where the error is easier to read
        description="The commands; web stands for web.1 and web.2, too.",
    ),
]
AnyNames: TypeAlias = Annotated[Sequence[str], Field(description="The commands; empty: all.")]
Limit: TypeAlias = Annotated[
    float, Field(ge=0, le=3600, description="Seconds; then the answer is how far it has come.")
]
Since: TypeAlias = Annotated[
    str | None,
    Field(description="Only lines from then on: 30s, 10m or 2h ago; 14:30; 2026-05-01T08:00:00."),
]

LIMIT = 30.0

SHORTEST = 1.0
"""Seconds in which a request to do something reaches the stack."""


class StackTools:
    """The tools for the stack of one folder.

    Args:
        folder: the folder of the stack; None: this program's.  The parents are searched, too.
    """

    def __init__(self, folder: str | None = None) -> None:
        self._folder = folder

    async def list_commands(self) -> Answer:
        """List the commands: state, ready, pid, restarts, uptime, and how each has ended."""
        client = self._client()
        return answer_of(await client.list(), client.folder)

    async def start(self, names: Names, timeout: Limit = LIMIT) -> Answer:
        """Start commands that have ended, and wait until they are ready."""
        client = self._client()
        return await _limited(client.start(_some(names)), client, names, "ready", timeout)

    async def stop(
        self,
        names: Names,
        *,
        now: Annotated[bool, Field(description="Whether to kill them at once.")] = False,
        timeout: Limit = LIMIT,
    ) -> Answer:
        """Stop commands, dependents first, and wait until they have ended.  Others go on."""
        client = self._client()
        return await _limited(client.stop(_some(names), now=now), client, names, "ended", timeout)

    async def restart(self, names: Names, timeout: Limit = LIMIT) -> Answer:
        """Restart commands, or start those that have ended, and wait until they are ready."""
        client = self._client()
        return await _limited(client.restart(_some(names)), client, names, "ready", timeout)

    async def logs(
        self,
        names: AnyNames = (),
        search: Annotated[
            str | None,
            Field(description="Only lines in which this regular expression of Python is found."),
        ] = None,
        last: Annotated[
            int, Field(ge=1, le=10_000, description="The number of lines, the newest ones.")
        ] = 100,
        since: Since = None,
        max_chars: Annotated[
            int, Field(ge=2000, le=200_000, description="The characters of the lines.")
        ] = 20_000,
    ) -> Answer:
        """Show the last output of commands, or search it.

        The stack keeps about a megabyte of each command, also after the command has ended.
        """
        pattern = None if search is None else _compiled(search)
        begin = 0.0 if since is None else _time(since)
        kept, found = deque[str](maxlen=last), 0
        # Without a search, one more line is enough to see that there are more.
        asked = last + 1 if pattern is None else None
        client = self._client()
        async with aclosing(client.logs(names, last=asked, since=begin)) as messages:
            async for message in messages:
                if isinstance(message, Line):
                    is_wanted = pattern is None or pattern.search(plain_text(message))
                    if not is_wanted or message.time < begin:
                        continue
                elif not isinstance(message, Dropped):
                    continue
                kept.append(shown(message))
                found += 1
        if not kept:
            what = "there is no output" if search is None else f"no line matches {search!r}"
            return Answer(what if since is None else f"{what} since {since}")
        lines = last_that_fit(list(kept), max_chars)
        if (missing := found - len(lines)) == 0:
            return Answer("\n".join(lines))
        count = f"at least {missing}" if asked and found > last else f"{missing}"
        note = f"(earlier lines left out: {count}; raise last={last} or max_chars={max_chars})"
        return Answer("\n".join([note, *lines]))

    async def wait(
        self,
        names: AnyNames = (),
        until: Annotated[
            Literal["ready", "ended"], Field(description="ready: its probe has succeeded.")
        ] = "ready",
        timeout: Limit = LIMIT,
    ) -> Answer:
        """Wait until commands are ready, or have ended."""
        return answer_of(await self._client().wait(names, until, timeout))

    async def wait_for_line(
        self,
        pattern: Annotated[
            str, Field(description="A regular expression of Python to find in a line of output.")
        ],
        names: AnyNames = (),
        since: Since = None,
        timeout: Limit = LIMIT,
    ) -> Answer:
        """Wait until a command writes a line that matches, and show that line.

        Without since, a line that the running process has written already counts as well.
        """
        matcher = _compiled(pattern)
        begin = None if since is None else _time(since)
        client = self._client()
        search = LineSearch(matcher, (await client.list()).commands, begin)
        found: Line | None = None
        with anyio.move_on_after(timeout) as limit:
            found = await _wait_for_line(client, names, search)
        if found is not None:
            return Answer(shown(found))
        states = answer_of(Listing((await client.wait(names, timeout=0)).commands, {}))
        end = f"within {timeout:g} s" if limit.cancelled_caught else "before the commands ended"
        text = f"no line has matched {pattern!r} {end}"
        return Answer(f"{text}\n{states.text}", is_error=True)

    async def send(
        self,
        name: Annotated[str, Field(description="The command.")],
        text: Annotated[str, Field(description="What to write.")],
        *,
        newline: Annotated[bool, Field(description="Whether to add a newline.")] = True,
    ) -> Answer:
        """Write a line to the stdin of a command, which must have a pipe there, or a terminal."""
        client = self._client()
        begin = datetime.now().astimezone().isoformat()
        data = f"{text}{chr(10) if newline else ''}".encode(errors="replace")
        await client.send(name, data)
        return Answer(f"wrote {len(data)} bytes; wait_for_line with since={begin} finds an answer")

    def _client(self) -> StackClient:
        """Return a client of the stack that runs now.

        Raises:
            StackError: none runs.
        """
        return StackClient.find(self._folder)


async def _limited(
    request: Awaitable[Listing],
    client: StackClient,
    names: Sequence[str],
    until: Literal["ready", "ended"],
    limit: float,
) -> Answer:
    """Return the answer to a request, or after `limit` seconds the states of the commands."""
    with anyio.move_on_after(max(limit, SHORTEST)):
        return answer_of(await request)
    late = f"is not ready after {limit:g} s, and currant goes on with it"
    if until == "ended":
        late = f"has not ended after {limit:g} s, and currant goes on with it"
    listing = await client.wait(names, until, timeout=0)
    problems = {name: f"{name} {late}" for name in listing.problems}
    return answer_of(Listing(listing.commands, problems))


async def _wait_for_line(
    client: StackClient, names: Sequence[str], search: LineSearch
) -> Line | None:
    """Wait until a command writes a line that is wanted; None if all commands have ended before.

    Raises:
        StackError: there is no such command, or the stack has ended.
    """
    found: Line | None = None

    async def give_up_at_end() -> None:
        with suppress(StackError):  # The other request tells what is wrong.
            await client.wait(names, "ended")
            tasks.cancel_scope.cancel()

    async with task_group_beside() as tasks:
        tasks.start_soon(give_up_at_end)
        try:
            found = await _first_line(client, names, search, follow=True)
        finally:
            tasks.cancel_scope.cancel()
    # The end may have been noticed before the last lines were read.
    return found or await _first_line(client, names, search, follow=False)


async def _first_line(
    client: StackClient, names: Sequence[str], search: LineSearch, *, follow: bool
) -> Line | None:
    async with aclosing(client.logs(names, follow=follow, events=True)) as messages:
        async for message in messages:
            if isinstance(message, Started):
                search.note_start(message)
            elif isinstance(message, Line) and search.wants(message):
                return message
    return None


def _some(names: Sequence[str]) -> Sequence[str]:
    """Return the names.

    Raises:
        StackError: there are none, which a stack would take for all.
    """
    if not names:
        raise StackError("names: name at least one command; the tool list shows all")
    return names


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except PATTERN_ERRORS as error:
        raise StackError(f"{pattern!r} is no regular expression: {error}") from error


def _time(since: str) -> float:
    try:
        return parse_time(since, time.time())
    except ValueError as error:
        raise StackError(f"since: {error}") from error
