"""`Peer`: the agent at the other end of a link, to which processes send frames and questions."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar, cast

import anyio

from currant._agent.frames import FrameError, Kind, get
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

ROUND_TRIP_LIMIT = 60.0
"""Seconds that a round trip may take if the link is slow, and full of output."""

REFUSABLE = (Kind.EXCHANGE, Kind.EXAMINE)
"""The questions that a host may refuse; with any other, it has failed, and is lost."""

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
        self._pings = 0  # sent
        self._pongs = 0
        self._expected: dict[int, _Expected] = {}

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
        self._questions[key] = question = _Question(read, may_be_refused=kind in REFUSABLE)
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

        Otherwise a host that answers each ping, and nothing else, could hold up the driver.  The
        time begins when the host has answered a ping that was sent after the block began, because
        much output may be on its way before an answer.
        """
        key, now = next(self._numbers), anyio.current_time()
        self._expected[key] = _Expected(self._pings, now + ROUND_TRIP_LIMIT, seconds + END_LIMIT)
        try:
            yield
        finally:
            del self._expected[key]

    @property
    def is_overdue(self) -> bool:
        """Whether a block of `expecting` takes too long."""
        now = anyio.current_time()
        return any(now > each.begins_at + each.seconds for each in self._expected.values())

    def ping(self) -> None:
        """Ask the agent for a sign of life."""
        self._pings += 1
        self.link.send(Kind.PING)

    def take_pong(self) -> None:
        """Note that the agent has answered a ping, and so has read all that was sent before."""
        self._pongs += 1
        for each in self._expected.values():
            if each.pings < self._pongs:
                each.begins_at = min(each.begins_at, anyio.current_time())

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
        if "refused" in body and not question.may_be_refused:
            raise FrameError(f"the host has failed: {get(body, 'refused', str)}")
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


@dataclass(slots=True)
class _Expected:
    """A block of `expecting`.

    Attributes:
        pings: how many pings were sent before it.
        begins_at: when its time begins.
        seconds: its time.
    """

    pings: int
    begins_at: float
    seconds: float


class _Question:
    """A question.  If it has neither a value nor an error, the host was lost before the answer."""

    def __init__(self, read: Callable[[dict[str, Any]], object], *, may_be_refused: bool) -> None:
        self.read = read
        self.may_be_refused = may_be_refused
        self.answered = anyio.Event()
        self.has_value = False
        self.value: object = None
        self.error: CannotStopError | None = None
