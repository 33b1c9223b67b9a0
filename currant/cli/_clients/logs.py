"""``currant logs``: the output of a running stack.

The console of `currant start` shows the messages, so prefixes, colours and control sequences are
treated in the same way.
"""

from __future__ import annotations

import errno
import json
import os
import re
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, get_args

import anyio
import click
from anyio.abc import ObjectReceiveStream

from currant._values.checks import PATTERN_ERRORS
from currant._values.command import Command
from currant._values.lines import Batch, Line
from currant._values.messages import BatchMessage
from currant._values.wire import encode
from currant.cli._clients.ask import ask_stack, folder_option
from currant.cli._config_options import complete_command
from currant.cli._output_pipe import is_pipe, wait_reader_gone
from currant.sinks import Color, ConsoleSink, SinkAttribute
from currant.stack._times import parse_time

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from anyio.streams.memory import MemoryObjectReceiveStream

    from currant._values.messages import Message
    from currant.stack._client import StackClient

__all__ = ["logs", "parse_since"]

LAST = 100
"""The default of ``-n``."""

STDOUT = 1

BUFFERED = 1000
"""The most messages that wait for the terminal, so that writes are larger."""


def parse_since(_: click.Context, __: click.Parameter, given: str | None) -> float | None:
    """Return the time of ``--since`` in seconds since the epoch.

    Raises:
        click.BadParameter: the value is no time.
    """
    if given is None:
        return None
    try:
        return parse_time(given, time.time())
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def parse_last(_: click.Context, __: click.Parameter, given: str | None) -> int | None:
    """Return the number of ``-n``; None for ``all``.

    Raises:
        click.BadParameter: the value is neither a number nor ``all``.
    """
    if given is None or given == "all":
        return None
    if not given.isdecimal():
        raise click.BadParameter(f"{given!r} is neither a number of lines nor all")
    return int(given)


def parse_pattern(
    _: click.Context, __: click.Parameter, given: str | None
) -> re.Pattern[str] | None:
    """Return the regular expression of ``--grep``.

    Raises:
        click.BadParameter: the value is no regular expression.
    """
    try:
        return None if given is None else re.compile(given)
    except PATTERN_ERRORS as error:
        raise click.BadParameter(f"{given!r} is no regular expression: {error}") from error


@click.command()
@click.option("-f", "--follow", is_flag=True, help="Go on with later output, until the stack ends.")
@click.option(
    "-n",
    "--last",
    callback=parse_last,
    metavar="N|all",
    help=f"Begin with the last N lines that are kept.  [default: {LAST}; all with --since, --grep]",
)
@click.option(
    "--since",
    callback=parse_since,
    metavar="T",
    help="Only lines from T on: 30s, 10m, 2h or 1d ago; 14:30; 2026-05-01T08:00.",
)
@click.option(
    "--grep",
    callback=parse_pattern,
    metavar="RE",
    help="Of these, only lines in which RE is found.",
)
@click.option("-q", "--quiet", is_flag=True, help="Show output only, and no exits and restarts.")
@click.option("--timestamps", is_flag=True, help="Show the time of day before each line.")
@click.option("--json", "as_json", is_flag=True, help="Write each line and event as a JSON object.")
@click.option("--color", type=click.Choice(get_args(Color)), default="auto", show_default=True)
@folder_option
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_command)
def logs(
    names: Sequence[str],
    *,
    follow: bool,
    last: int | None,
    since: float | None,
    grep: re.Pattern[str] | None,
    quiet: bool,
    timestamps: bool,
    as_json: bool,
    color: Color,
    folder: str | None,
) -> int:
    """Show the output of the commands of the running stack.

    Without NAME, the output of all commands is shown.  The stack keeps the last lines of each
    command, about a megabyte.  Failures, restarts and the like are shown on stderr between the
    lines, except with --grep.
    """
    context = click.get_current_context()
    is_given = context.get_parameter_source("last") != click.core.ParameterSource.DEFAULT
    if not is_given and since is None and grep is None:
        last = LAST

    events = not quiet and (as_json or grep is None)

    def is_wanted(message: Message) -> bool:
        return grep is None or not isinstance(message, Line) or bool(grep.search(message.text))

    async def show(client: StackClient) -> int:
        async with aclosing(
            client.logs(names, last=last, since=since, follow=follow, events=events)
        ) as messages:
            if as_json:
                async for message in messages:
                    if is_wanted(message):
                        print(json.dumps(encode(message)), flush=True)
                return 0
            listing = await client.list()
            commands = {
                each.name: Command([each.name], name=each.name) for each in listing.commands
            }
            sink = ConsoleSink(timestamps=timestamps, color=color)
            send, receive = anyio.create_memory_object_stream[BatchMessage](BUFFERED)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(sink, _Messages(receive, commands))
                with send:
                    async for message in messages:
                        if is_wanted(message):
                            await send.send(_as_batch(message))
        return 0

    return ask_stack(folder, _while_read(show) if follow and is_pipe(STDOUT) else show)


def _while_read(
    show: Callable[[StackClient], Awaitable[int]],
) -> Callable[[StackClient], Awaitable[int]]:
    """Return a function that does the same, until the reader of stdout, a pipe, is gone.

    As in ``currant logs -f web | grep -q listening``: web may write nothing after this line.
    """

    async def show_while_read(client: StackClient) -> int:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_fail_without_reader)
            status = await show(client)
            tasks.cancel_scope.cancel()
        # The type checkers assume that every task group swallows errors.
        return status  # pyright: ignore[reportPossiblyUnboundVariable]

    return show_while_read


async def _fail_without_reader() -> None:
    await wait_reader_gone(STDOUT)
    raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def _as_batch(message: Message) -> BatchMessage:
    if isinstance(message, Line):
        data = message.data + message.ending
        return Batch(message.command, message.stream, data, message.time)
    return message


class _Messages(ObjectReceiveStream[BatchMessage]):
    """Messages for a sink, which asks for the names of all commands."""

    def __init__(
        self, messages: MemoryObjectReceiveStream[BatchMessage], commands: Mapping[str, Command]
    ) -> None:
        self._messages = messages
        self._commands = commands

    async def receive(self) -> BatchMessage:
        return await self._messages.receive()

    def receive_nowait(self) -> BatchMessage:
        return self._messages.receive_nowait()

    async def aclose(self) -> None:
        await self._messages.aclose()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        attribute: Any = SinkAttribute.commands
        return {attribute: lambda: self._commands}
