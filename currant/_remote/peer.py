"""The agent at the other end of a link, as its processes see it: it is sent frames, and asked."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar, cast

import anyio

from currant._agent.frames import Kind, get
from currant._agent.spec import decode_error
from currant._remote.credit import Budget
from currant._values.errors import HostLostError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from currant._agent.link import Link
    from currant._values.errors import CannotStopError

__all__ = ["Peer"]

END_LIMIT = 10.0
"""Seconds that a host may take to end a process after its grace; `ShutdownLimits.reap` is 2."""

T = TypeVar("T")


class Peer:
    """An agent.

    Args:
        host: the name of its host.
        link: the link to it.

    Attributes:
        host: the same.
        link: the same.
        budget: by which the windows of its output may grow.
        lost: why nothing more will come from it; None as long as something may.
    """

    def __init__(self, host: str, link: Link) -> None:
        self.host = host
        self.link = link
        self.budget = Budget()
        self.lost: str | None = None
        self._numbers = count(1)
        self._questions: dict[int, _Question] = {}
        self._deadlines: dict[int, float] = {}

    async def ask(
        self, kind: Kind, number: int, body: dict[str, Any], read: Callable[[dict[str, Any]], T]
    ) -> T:
        """Ask something about a process, and return the answer.

        Args:
            kind: the question.
            number: the process.
            body: what the question needs.
            read: takes the answer apart; a `FrameError` of it ends the link.

        Cancellation: the agent gives up what it does for the question.

        Raises:
            HostLostError: the host is lost.
            CannotStopError: that is the answer.
        """
        self.check()
        key = next(self._numbers)
        self._questions[key] = question = _Question(read)
        self.link.send(kind, number, {**body, "question": key})
        try:
            await question.answered.wait()
        except BaseException:
            self._questions.pop(key, None)
            self.link.send(Kind.CANCEL, 0, {"question": key})
            raise
        if question.error is not None:
            raise question.error
        if not question.has_value:
            self.check()
        return cast("T", question.value)

    @contextmanager
    def expecting(self, seconds: float = 0.0) -> Generator[None]:
        """Take the host for lost if the block lasts `seconds` longer than any host needs.

        A host that answers each ping, and nothing else, must not hold up the driver.
        """
        key = next(self._numbers)
        self._deadlines[key] = anyio.current_time() + seconds + END_LIMIT
        try:
            yield
        finally:
            del self._deadlines[key]

    @property
    def is_overdue(self) -> bool:
        """Whether a block has lasted too long."""
        return any(anyio.current_time() > deadline for deadline in self._deadlines.values())

    def check(self) -> None:
        """Raise `HostLostError` if the host is lost."""
        if self.lost is not None:
            raise HostLostError(self.host, self.lost)

    def take_answer(self, body: dict[str, Any]) -> None:
        """Pass an answer on to the task that has asked, if it still waits.

        Raises:
            FrameError: it is no answer to the question.
        """
        key = get(body, "question", int)
        question = self._questions.get(key)
        if question is None:
            return
        if "survivor" in body:
            question.error = decode_error(body)
        else:
            question.value, question.has_value = question.read(body), True
        # Not before: an answer that is none ends the link, and `lose` wakes those that wait then.
        del self._questions[key]
        question.answered.set()

    def lose(self, reason: str) -> None:
        """Note that nothing more will come: all that wait for an answer get an error."""
        self.lost = reason
        self.link.break_off()
        questions, self._questions = self._questions, {}
        for question in questions.values():
            question.answered.set()


class _Question:
    """A question; without a value and an error, nothing was answered before the host was lost."""

    def __init__(self, read: Callable[[dict[str, Any]], object]) -> None:
        self.read = read
        self.answered = anyio.Event()
        self.has_value = False
        self.value: object = None
        self.error: CannotStopError | None = None
