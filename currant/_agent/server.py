"""The agent's side of the protocol: starts processes for the driver, and answers it.

The rules of this side:

- One command is started at a time, and other tasks run between two starts.  So a stop, a ping or
  the end of the link never waits for hundreds of starts.
- Each question of the driver is a task.  The grace of a stop is measured here, not by the driver.
- If the link ends without BYE, or the driver is silent for too long, each command is stopped with
  its own signal and grace, and nothing is left.  After BYE the commands are killed, as at the end
  of any launcher.
- A driver that will be suspended, by Ctrl-Z for example, sends HOLD first, and may then be silent.
- A signal that asks the agent to end, as at a shutdown, stops all commands in the same way, but the
  driver gets their output and exits first.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from math import inf
from signal import SIGHUP, SIGINT, SIGTERM, Signals, alarm
from typing import TYPE_CHECKING, Any, ClassVar

import anyio
from anyio.lowlevel import checkpoint

from currant._agent.frames import FrameError, Kind, get, parse
from currant._agent.hosted import Hosted
from currant._agent.questions import Questions
from currant._agent.spec import decode_spec, encode_finding
from currant._process.child import Child
from currant._process.local import LocalLauncher
from currant._process.lookup import find_problem, find_setup_problem
from currant._process.spawn import start_with_pidfd
from currant._system import identity
from currant._system.groups import has_pidfds
from currant._system.processors import usable_processors
from currant._values.errors import CannotStopError, LaunchError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from currant._agent.link import Link
    from currant._process.child import SpawnSpec
    from currant._system.rlimits import FileLimit
    from currant._values.launch_spec import LaunchSpec

__all__ = ["Server"]


ENDING_SIGNALS = (SIGINT, SIGHUP, SIGTERM)
"""The signals that ask the agent to end."""

FLUSH_LIMIT = 2.0
"""Seconds to wait until the last frames are written."""


class Server:
    """Starts processes for one driver.

    Args:
        link: the link to the driver.
        signals: a file on which each signal to this process arrives as a byte.
        file_limit: the limit of open files, if it was raised for this process.
    """

    def __init__(self, link: Link, signals: int, file_limit: FileLimit | None = None) -> None:
        self._link = link
        self._signals = signals
        self._file_limit = file_limit
        self._silence = inf
        self._is_held = False  # whether the driver may be silent for any time
        self._launcher: LocalLauncher
        self._queue: dict[int, dict[str, Any]] = {}  # commands that wait for their start
        self._has_queue = anyio.Event()
        self._starting: int | None = None
        self._closed_early = False  # whether CLOSE came for the command that is being started
        self._processes: dict[int, Hosted] = {}
        self._greeting: dict[str, Any] | None = None
        self._is_greeted = anyio.Event()
        self._said_bye = False
        self._is_dying = False
        self._over = anyio.Event()

    async def run(self) -> None:
        """Serve until the driver is gone."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            self._questions = Questions(self._link, tasks, self._processes)
            tasks.start_soon(self._link.write)
            tasks.start_soon(self._read)
            tasks.start_soon(self._read_signals)
            await self._is_greeted.wait()
            if self._greeting is not None:
                await self._serve(self._greeting)
            with anyio.move_on_after(FLUSH_LIMIT):
                await self._link.flush()
            tasks.cancel_scope.cancel()

    async def _serve(self, greeting: dict[str, Any]) -> None:
        if greeting["replaces"] is not None:
            identity.kill(greeting["replaces"])  # The guard of that agent ends its processes.
        self._silence = float(greeting["silence"])
        async with self._new_launcher(has_guard=greeting["guard"]) as self._launcher:
            self._link.send(Kind.WELCOME, 0, _about_this_host(greeting["version"]))
            async with anyio.create_task_group() as helpers:
                helpers.start_soon(self._start_commands)
                helpers.start_soon(self._look_for_silence)
                await self._over.wait()
                self._refuse_all()
                await self._end()
                helpers.cancel_scope.cancel()
        self._link.send(Kind.GONE)

    @staticmethod
    def _new_launcher(*, has_guard: bool) -> LocalLauncher:
        return LocalLauncher(
            orphan_guard=has_guard, _start=start_with_pidfd if has_pidfds() else _start_and_poll
        )

    # ---- the end ----

    async def _end(self) -> None:
        """End all processes: kill them after BYE, otherwise stop each as its command says."""
        if not self._said_bye:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._sweep_ended)
                await self._each(self._stop_as_told)
            await self._sweep_ended()
            if self._is_dying:
                with anyio.move_on_after(FLUSH_LIMIT):
                    await self._each(Hosted.drained)
                    await self._link.flush()  # CLOSED would overtake output.
        await self._each(Hosted.close)

    async def _stop_as_told(self, hosted: Hosted) -> None:
        """Stop a process as its command says, and its escapees within the rest of the grace.

        When its own grace is over, a command may be started on another host.  So its escapees must
        not wait for the graces of other commands.
        """
        began = anyio.current_time()
        await hosted.stop_as_told()
        rest = began + hosted.grace - anyio.current_time()
        with suppress(CannotStopError):
            await self._sweep(hosted.name, max(rest, self._launcher.limits.escapee_grace))

    async def _sweep_ended(self) -> None:
        """End the escapees of all commands that have ended, each within its own grace."""
        with suppress(CannotStopError):
            await self._sweep(None, inf)

    async def _each(self, call: Callable[[Hosted], Coroutine[Any, Any, object]]) -> None:
        """Call a method of all processes at the same time."""
        while self._starting is not None:  # noqa: ASYNC110 - at most for 0.1 s, at the end
            await anyio.sleep(0.001)
        async with anyio.create_task_group() as tasks:
            for hosted in list(self._processes.values()):
                tasks.start_soon(call, hosted)

    def _lose_driver(self) -> None:
        """Note that the driver is gone."""
        self._link.break_off()
        for hosted in self._processes.values():
            hosted.orphan()
        self._is_greeted.set()
        self._over.set()

    async def _look_for_silence(self) -> None:
        """Lose the driver if it is silent for too long, and has not asked for a hold."""
        while True:
            heard_at = anyio.current_time() if self._is_held else self._link.heard_at
            rest = heard_at + self._silence - anyio.current_time()
            if rest <= 0:
                return self._lose_driver()
            await anyio.sleep(rest)

    async def _read_signals(self) -> None:
        """Wait for a signal that asks this process to end, and tell the driver and `_serve`."""
        number = 0
        while number not in ENDING_SIGNALS:  # Ignored signals arrive here, too, during a start.
            await anyio.wait_readable(self._signals)
            number = ord(os.read(self._signals, 1))
        self._link.send(Kind.DYING, 0, {"reason": f"the agent got {Signals(number).name}"})
        self._is_dying = True
        self._is_greeted.set()
        for hosted in self._processes.values():
            hosted.is_dying = True
        self._over.set()

    # ---- frames ----

    async def _read(self) -> None:
        with suppress(FrameError):  # A driver that breaks the protocol counts as gone.
            await self._link.read(self._handle)
        if not self._said_bye:
            self._lose_driver()

    def _handle(self, kind: Kind, number: int, body: bytes) -> None:
        if kind == Kind.INPUT:
            if (hosted := self._processes.get(number)) is not None:
                hosted.write(body)
            return
        parsed = parse(body) if body else {}
        if (handler := self._HANDLERS.get(kind)) is not None:
            handler(self, number, parsed)
        else:
            self._questions.take(kind, number, parsed)

    def _greet(self, number: int, body: dict[str, Any]) -> None:
        alarm(0)  # The first program has set it.
        self._greeting = body
        self._is_greeted.set()

    def _answer_ping(self, number: int, body: dict[str, Any]) -> None:
        self._link.send(Kind.PONG)

    def _take_bye(self, number: int, body: dict[str, Any]) -> None:
        self._said_bye = True
        for hosted in self._processes.values():
            hosted.orphan()  # A process that is blocked by its output must not delay the end.
        self._over.set()

    def _enqueue(self, number: int, body: dict[str, Any]) -> None:
        if self._over.is_set():
            self._refuse(number)
        else:
            self._queue[number] = body
            self._has_queue.set()

    def _refuse_all(self) -> None:
        for number in self._queue:
            self._refuse(number)
        self._queue.clear()

    def _refuse(self, number: int) -> None:
        """Start a command no more, because this agent is about to end."""
        self._link.send(Kind.FAILED, number, {"reason": "its agent is about to end"})

    def _add_credit(self, number: int, body: dict[str, Any]) -> None:
        if (hosted := self._processes.get(number)) is not None:
            stream, count = get(body, "stream", int) & 1, get(body, "count", int)
            if count:
                hosted.add_credit(stream, count)
            else:
                hosted.close_output(stream)

    def _end_input(self, number: int, body: dict[str, Any]) -> None:
        if (hosted := self._processes.get(number)) is not None:
            hosted.end_input()

    def _leave(self, number: int, body: dict[str, Any]) -> None:
        if (hosted := self._processes.get(number)) is not None:
            hosted.process.leave_group()

    def _resize(self, number: int, body: dict[str, Any]) -> None:
        if (hosted := self._processes.get(number)) is not None:
            size = get(body, "rows", int), get(body, "columns", int)
            self._tasks.start_soon(hosted.process.resize, *size)

    def _close(self, number: int, body: dict[str, Any]) -> None:
        if self._queue.pop(number, None) is not None:
            self._link.send(Kind.CLOSED, number, {"exit": None})
        elif number == self._starting:
            self._closed_early = True
        elif number in self._processes:
            self._tasks.start_soon(self._close_process, number)
        else:  # It came when this agent was about to end, or was closed at the same time.
            self._link.send(Kind.CLOSED, number, {"exit": None})

    async def _close_process(self, number: int) -> None:
        hosted = self._processes.get(number)
        if hosted is not None:
            with anyio.CancelScope(shield=True):  # Bounded: by the limits of the launcher.
                await hosted.close()
            self._processes.pop(number, None)

    # ---- questions ----

    def _ask_sweep(self, number: int, body: dict[str, Any]) -> None:
        self._questions.begin(body, self._sweep(body["name"], float(body["grace"])))

    def _ask_hold(self, number: int, body: dict[str, Any]) -> None:
        self._is_held = get(body, "held", bool)
        self._questions.begin(body, _agree())

    def _ask_check(self, number: int, body: dict[str, Any]) -> None:
        self._questions.begin(body, _check(decode_spec(body["spec"])))

    def _cancel(self, number: int, body: dict[str, Any]) -> None:
        self._questions.cancel(body)

    async def _sweep(self, name: str | None, grace: float) -> dict[str, Any]:
        await self._launcher.sweep(name, grace)
        return {}

    # ---- starts ----

    async def _start_commands(self) -> None:
        while True:
            while not self._queue:
                self._has_queue = anyio.Event()
                await self._has_queue.wait()
            number = next(iter(self._queue))
            body = self._queue.pop(number)
            with anyio.CancelScope(shield=True):  # Bounded: a start is retried for 0.1 s.
                await self._start(number, body)
            await checkpoint()

    async def _start(self, number: int, body: dict[str, Any]) -> None:
        self._starting, self._closed_early = number, False
        try:
            spec = decode_spec(body["spec"])
            process = await self._launcher.launch(spec)
        except LaunchError as error:
            self._link.send(Kind.FAILED, number, {"reason": error.reason})
        else:
            if self._file_limit and getattr(spec.limits, "open_files", None) is None:
                self._file_limit.lower_of(process.pid)
            hosted = Hosted(number, process, spec, self._link, body["window"])
            hosted.is_dying = self._is_dying
            self._processes[number] = hosted
            if self._link.is_broken:
                hosted.orphan()
            self._link.send(Kind.STARTED, number, {"pid": process.pid})
            self._tasks.start_soon(hosted.run)
            if self._closed_early:
                await self._close_process(number)
        finally:
            self._starting = None

    _HANDLERS: ClassVar = {
        Kind.HELLO: _greet,
        Kind.PING: _answer_ping,
        Kind.BYE: _take_bye,
        Kind.START: _enqueue,
        Kind.CREDIT: _add_credit,
        Kind.INPUT_END: _end_input,
        Kind.LEAVE: _leave,
        Kind.RESIZE: _resize,
        Kind.CLOSE: _close,
        Kind.SWEEP: _ask_sweep,
        Kind.CHECK: _ask_check,
        Kind.HOLD: _ask_hold,
        Kind.CANCEL: _cancel,
    }
    """The handlers of frames; `Questions` has the others, and INPUT has no JSON."""


async def _check(spec: LaunchSpec) -> dict[str, Any]:
    if (problem := find_setup_problem(spec)) is not None:
        return encode_finding("wrong", problem)
    if (problem := find_problem(spec)) is not None:
        return encode_finding("missing", problem)
    return encode_finding("")


async def _start_and_poll(spec: SpawnSpec) -> Child:
    """Start a process on a system without pidfds, where the loop learns of exits by polling."""
    return Child(spec, with_pidfd=False)


async def _agree() -> dict[str, Any]:
    return {}


def _about_this_host(version: int) -> dict[str, Any]:
    return {
        "version": version,
        "pid": os.getpid(),
        "identity": identity.identity_of(os.getpid()),
        "host": os.uname().nodename,
        "python": "{}.{}.{}".format(*sys.version_info[:3]),
        "cpus": usable_processors(),
    }
