"""Options that select commands by name: ``--success``, ``--hide`` and, for `start`, ``--quiet``.

`without_output_of` wraps a sink so that the output of some commands does not reach it, and
`without_messages_of` so that nothing about them does.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

from anyio.abc import ObjectReceiveStream

from currant._values.errors import CommandError, suggestion
from currant._values.lines import Batch
from currant._values.messages import BatchMessage
from currant._values.success import by_name_or_index, selected_by_success

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from currant._channel.feed import SinkFeed
    from currant._supervisor.sink_tasks import Sink

__all__ = [
    "check_success",
    "select_commands",
    "without_messages_of",
    "without_output_of",
]


def check_success(success: str, names: Sequence[str]) -> None:
    """Raise `CommandError` if ``--success`` names a command that does not exist."""
    if selected_by_success(success, names) is None:
        raise _unknown("--success", success, names)


def select_commands(
    option: str, given: str, names: Sequence[str], types: Collection[str]
) -> set[str]:
    """Return the commands that an option names.

    Args:
        option: the option, for the error message.
        given: names, process types (``web`` for ``web.1`` and ``web.2``), commands on each host
            (``df`` for ``df@a`` and ``df@b``) or indexes from 0, separated by commas.
        names: all commands, in order.
        types: process types that may be named although no instance of them is started.

    Raises:
        CommandError: there is no such command.
    """
    selected: set[str] = set()
    for part in filter(None, map(str.strip, given.split(","))):
        pattern = re.compile(rf"{re.escape(part)}(\.\d+)?(@[^@]+)?")
        instances = [name for name in names if pattern.fullmatch(name)]
        name = by_name_or_index(part, names)
        if name is None and not instances and part not in types:
            raise _unknown(option, part, names)
        selected.update(instances if name is None else [name])
    return selected


def _unknown(option: str, given: str, names: Sequence[str]) -> CommandError:
    return CommandError(f"{option} {given}: there is no such command{suggestion(given, names)}")


def without_output_of(sink: Sink, hidden: Collection[str]) -> Sink:
    """Return a sink that passes on all messages but the output of the `hidden` commands."""
    return _without(sink, lambda each: isinstance(each, Batch) and each.command in hidden)


def without_messages_of(sink: Sink, hidden: Collection[str]) -> Sink:
    """Return a sink that passes on all messages, except of the `hidden` commands."""
    return _without(sink, lambda each: each.command in hidden)


def _without(sink: Sink, is_hidden: Callable[[BatchMessage], bool]) -> Sink:
    async def show(messages: ObjectReceiveStream[BatchMessage]) -> None:
        feed = cast("SinkFeed", messages)  # A Runner passes a SinkFeed.
        await sink(_Without(feed, is_hidden))

    return show


class _Without(ObjectReceiveStream[BatchMessage]):
    """The messages of a Runner, except hidden messages."""

    def __init__(self, messages: SinkFeed, is_hidden: Callable[[BatchMessage], bool]) -> None:
        self._messages = messages
        self._is_hidden = is_hidden

    async def receive(self) -> BatchMessage:
        while self._is_hidden(message := await self._messages.receive()):
            pass
        return message

    def receive_nowait(self) -> BatchMessage:
        while self._is_hidden(message := self._messages.receive_nowait()):
            pass
        return message

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        return self._messages.extra_attributes

    async def aclose(self) -> None:
        await self._messages.aclose()
