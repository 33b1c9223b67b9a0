"""Helpers that read a Runner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from currant import Line

if TYPE_CHECKING:
    from currant import Message, Runner

__all__ = ["first_line", "messages_of", "read_until"]


async def messages_of(runner: Runner) -> list[Message]:
    """Return all messages of a runner."""
    return [message async for message in runner]


async def first_line(runner: Runner, command: str) -> Line:
    """Read until `command` has written a line, and return the line."""
    async for message in runner:
        if isinstance(message, Line) and message.command == command:
            return message
    raise AssertionError(f"{command} wrote no line")


async def read_until(runner: Runner, *wanted: tuple[str, str]) -> None:
    """Read until each line in `wanted`, a pair of command and text, has arrived, in any order."""
    missing = set(wanted)
    async for message in runner:
        if isinstance(message, Line):
            missing.discard((message.command, message.text))
        if not missing:
            return
    raise AssertionError(f"not written: {missing}")
