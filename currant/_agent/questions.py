"""The questions of the driver about its processes: a task answers each, until it is cancelled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import anyio

from currant._agent.frames import FrameError, Kind, get
from currant._agent.spec import decode_request, encode_answer, encode_error
from currant._values.errors import CannotStopError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from anyio.abc import TaskGroup

    from currant._agent.hosted import Hosted
    from currant._agent.link import Link
    from currant._values.launch_spec import SignalTarget

__all__ = ["Questions"]


HAS_ENDED = "the process has ended"


class Questions:
    """Answers the questions of the driver.

    Args:
        link: takes the answers.
        tasks: has a task for each question.
        processes: the processes, by number.
    """

    def __init__(self, link: Link, tasks: TaskGroup, processes: dict[int, Hosted]) -> None:
        self._link = link
        self._tasks = tasks
        self._processes = processes
        self._scopes: dict[int, anyio.CancelScope] = {}

    def take(self, kind: Kind, number: int, body: dict[str, Any]) -> None:
        """Begin to answer a question about a process."""
        begin = self._ANSWERS.get(kind)
        if begin is None:
            raise FrameError(f"a driver does not send {kind.name}")
        self.begin(body, begin(self, number, body))

    def begin(self, body: dict[str, Any], coming: Coroutine[Any, Any, dict[str, Any]]) -> None:
        """Begin to wait for the answer to a question, in a task."""
        question = get(body, "question", int)
        self._scopes[question] = scope = anyio.CancelScope()
        self._tasks.start_soon(self._answer, question, scope, coming)

    def cancel(self, body: dict[str, Any]) -> None:
        """Leave a question without an answer."""
        scope = self._scopes.get(get(body, "question", int))
        if scope is not None:
            scope.cancel()

    async def _answer(
        self,
        question: int,
        scope: anyio.CancelScope,
        coming: Coroutine[Any, Any, dict[str, Any]],
    ) -> None:
        with scope:
            try:
                answer = await coming
            except CannotStopError as error:
                answer = encode_error(error)
            except anyio.ClosedResourceError:  # The process was closed meanwhile.
                answer = await _no_process()
            # Such as an invalid host name, or a Python without ssl.  It must not end all commands.
            except Exception as error:
                answer = {"refused": str(error)}
            self._link.send(Kind.ANSWER, 0, answer | {"question": question})
        self._scopes.pop(question, None)

    # ---- the kinds of questions: a wrong body must raise here, and not in the task ----

    def _signal(self, number: int, body: dict[str, Any]) -> Coroutine[Any, Any, dict[str, Any]]:
        return self._send_signal(number, get(body, "signal", int), get(body, "to", str))

    def _stop(self, number: int, body: dict[str, Any]) -> Coroutine[Any, Any, dict[str, Any]]:
        signal, grace = get(body, "signal", int), float(body["grace"])
        hosted = self._processes.get(number)
        return _no_process() if hosted is None else hosted.stop(signal, grace)

    async def _send_signal(self, number: int, signal: int, to: str) -> dict[str, Any]:
        hosted = self._processes.get(number)
        target: SignalTarget = "leader" if to == "leader" else "group"
        is_sent = hosted is not None and await hosted.process.send_signal(signal, target)
        return {"sent": is_sent}

    async def _wait_group(self, number: int, _: dict[str, Any]) -> dict[str, Any]:
        if (hosted := self._processes.get(number)) is None:
            return {}
        await hosted.process.wait_group()
        return {"interrupted": hosted.is_interrupted}

    async def _exchange(self, number: int, body: dict[str, Any]) -> dict[str, Any]:
        hosted = self._processes.get(number)
        if hosted is None:
            return {"refused": HAS_ENDED}
        return encode_answer(await hosted.process.exchange(decode_request(body)))

    def _examine(self, number: int, body: dict[str, Any]) -> Coroutine[Any, Any, dict[str, Any]]:
        return self._look_at(number, get(body, "path", str))

    async def _look_at(self, number: int, path: str) -> dict[str, Any]:
        hosted = self._processes.get(number)
        if hosted is None:
            return {"refused": HAS_ENDED}
        return {"state": await hosted.process.examine(path)}

    _ANSWERS: ClassVar[
        dict[Kind, Callable[[Questions, int, dict[str, Any]], Coroutine[Any, Any, dict[str, Any]]]]
    ] = {
        Kind.SIGNAL: _signal,
        Kind.STOP: _stop,
        Kind.WAIT_GROUP: _wait_group,
        Kind.EXCHANGE: _exchange,
        Kind.EXAMINE: _examine,
    }
    """What answers each kind of question."""


async def _no_process() -> dict[str, Any]:
    """Answer about a process that was closed meanwhile; the driver knows its exit by now."""
    return {"exit": None, "sent": False}
