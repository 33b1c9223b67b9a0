"""`Peer`: the agent at the other end of a link, to which processes send frames and questions."""

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
    """The agent of a host, as the driver sees it.

    Args:
        host: the name of the host.
        link: the link to the agent.

    Attributes:
        host: as given.
        link: as given.
        budget: the bytes by which the windows of all output of the host may grow.
        lost: why the host is lost; None as long as it is not.
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
        """Send a question to the agent, and return the answer.

        Args:
            kind: the kind of the question.
            number: the number of the process in question; 0 if there is none.
            body: the arguments of the question.
            read: decodes the answer; if it raises a `FrameError`, the link ends.

        Cancellation: the agent cancels its work on the question.

        Raises:
            HostLostError: the host is lost.
            CannotStopError: the agent has answered with this error.
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
        """Let the host be lost if the block takes longer than `seconds` and `END_LIMIT` together.

        Otherwise a host that answers each ping, and nothing else, could hold up the driver.
        """
        key = next(self._numbers)
        self._deadlines[key] = anyio.current_time() + seconds + END_LIMIT
        try:
            yield
        finally:
            del self._deadlines[key]

    @property
    def is_overdue(self) -> bool:
        """Whether a block of `expecting` takes too long."""
        return any(anyio.current_time() > deadline for deadline in self._deadlines.values())

    def check(self) -> None:
        """Raise `HostLostError` if the host is lost."""
        if self.lost is not None:
            raise HostLostError(self.host, self.lost)

    def take_answer(self, body: dict[str, Any]) -> None:
        """Pass an answer to the task that has asked, if the task still waits.

        Raises:
            FrameError: the answer is invalid.
        """
        key = get(body, "question", int)
        question = self._questions.get(key)
        if question is None:
            return
        if "survivor" in body:
            question.error = decode_error(body)
        else:
            question.value, question.has_value = question.read(body), True
        # Last: an invalid answer ends the link, and then `lose` has to wake the task.
        del self._questions[key]
        question.answered.set()

    def lose(self, reason: str) -> None:
        """Note that the host is lost: all tasks that wait for an answer get an error."""
        self.lost = reason
        self.link.break_off()
        questions, self._questions = self._questions, {}
        for question in questions.values():
            question.answered.set()


class _Question:
    """A question.  If it has neither a value nor an error, the host was lost before the answer."""

    def __init__(self, read: Callable[[dict[str, Any]], object]) -> None:
        self.read = read
        self.answered = anyio.Event()
        self.has_value = False
        self.value: object = None
        self.error: CannotStopError | None = None
