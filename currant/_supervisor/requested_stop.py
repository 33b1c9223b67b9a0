"""`RequestedStop`: the stop of one attempt, from its request to the first signal.

A stop runs the `stop_command`, and closes a pipe to stdin, before the process gets a signal.  Both
take their time from the grace.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import anyio
from anyio.lowlevel import cancel_shielded_checkpoint

from currant._supervisor.stop_command import StopCommand
from currant._values.stop_request import StopRequest

if TYPE_CHECKING:
    from currant._process.launcher import Process
    from currant._supervisor.context import JobContext
    from currant._supervisor.outcome import Outcome
    from currant._supervisor.standard_input import StandardInput
    from currant._values.command import Command

__all__ = ["RequestedStop"]


class RequestedStop:
    """The stop of one attempt, if it is requested.

    Args:
        command: the command.
        context: has the kill barrier, the grace and the limits.
        standard_input: the input of the process.
        outcome: knows whether the leader has exited.
    """

    __slots__ = ("_command", "_context", "_input", "_outcome", "_request", "_stop_command")

    def __init__(
        self,
        command: Command,
        context: JobContext,
        standard_input: StandardInput,
        outcome: Outcome,
    ) -> None:
        self._command = command
        self._context = context
        self._input = standard_input
        self._outcome = outcome
        self._request: StopRequest | None = None
        self._stop_command = StopCommand(command, context.launcher)

    @property
    def is_requested(self) -> bool:
        """Whether a stop was requested."""
        return self._request is not None

    @property
    def is_due(self) -> bool:
        """Whether a stop was requested, or a kill will request one."""
        return self._request is not None or self._context.barrier.thrown

    @property
    def was_asked(self) -> bool:
        """Whether the process was asked to end in another way than by a signal."""
        return self._input.closed_by_stop or self._stop_command.has_run

    @property
    def seconds(self) -> float:
        """The seconds since the request."""
        return 0.0 if self._request is None else anyio.current_time() - self._request.at

    @property
    def grace_of_escapees(self) -> float:
        """What is left of the grace after a stop; without a stop, escapees have all of theirs."""
        if self._request is None:
            return inf
        least = 0 if self._request.is_hurried else self._context.limits.escapee_grace
        return max(self._request.remaining(anyio.current_time()), least)

    def begin(self) -> None:
        """Request the stop; the grace begins now."""
        self._request = StopRequest(anyio.current_time(), self._context.policies.grace)

    def begin_again(self) -> None:
        """Let the grace of a request begin now: the request came during the launch."""
        if self._request is not None:
            self._request = self._request._replace(at=anyio.current_time())

    def hurry(self) -> None:
        """End the grace of the request, and the stop command."""
        if self._request is not None:
            self._request = self._request.hurried()
            self._stop_command.cut_short()

    async def ask_without_signal(self, process: Process) -> float:
        """Run the stop command, close the input, and return what is left of the grace.

        Another task may be doing this, and no signal may come before it has.
        Cancellation: kills the stop command.

        Raises:
            HostLostError: the host of the process is lost.
        """
        request = self._request
        if request is None:
            return self._context.policies.grace
        if request.is_hurried:
            return request.grace
        if self._command.stop_command is not None or self._input.is_pipe:
            has_exited = await self._has_exited(process)
            half = 0.0 if has_exited else request.remaining(anyio.current_time()) / 2
            await self._stop_command.run(process, half)
            if not has_exited and self._outcome.exit is None:
                seconds = min(request.grace, self._context.limits.end_of_input)
                await self._input.close_and_wait(process, seconds)
        assert self._request is not None  # It may be hurried by now.
        return max(0.0, self._request.remaining(anyio.current_time()))

    async def _has_exited(self, process: Process) -> bool:
        """Return whether the leader has exited by itself, which nobody may have noticed yet."""
        await cancel_shielded_checkpoint()  # A task that was told of the exit notes it now.
        # With "wait", the exit of the leader is not the end of what has to be stopped.
        waits_for_group = self._command.leftovers == "wait"
        if self._outcome.exit is None and not (self.was_asked or waits_for_group):
            with anyio.move_on_after(0):  # A process of this machine is looked at without a wait.
                await process.wait()
                return True
        return self._outcome.exit is not None
