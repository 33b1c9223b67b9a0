"""Four tools with which a model runs commands.  Each call is limited in time and in output."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, TypeAlias

from currant import Capture, Command, CurrantError, ready, run_process

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from currant import Job, Runner

Tool: TypeAlias = "Callable[..., Awaitable[str]]"


class Tools:
    """The tools.  The commands of `start` are stopped at the end of the Runner's block."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._marks: dict[str, int] = {}
        tools: list[Tool] = [self.run, self.start, self.output, self.stop]
        self.by_name = {tool.__name__: answering(tool) for tool in tools}

    async def run(self, line: str, seconds: float = 60) -> str:
        """Run a shell command to its end, for `seconds` at most; return its output and its exit."""
        ends, most = Capture(head=8_000, tail=8_000), 100_000_000
        command = Command.shell(line, stderr="stdout", timeout=seconds, max_output=most, grace=2)
        result = await run_process(command, capture=ends, check=False)
        return f"{result.text}[{result.error or result.exit}]"

    async def start(self, name: str, line: str, port: int | None = None) -> str:
        """Start a server or a watcher, and wait until it listens on `port`; return its output."""
        probe = None if port is None else ready.tcp("127.0.0.1", port, timeout=30)
        command = Command.shell(line, name=name, stderr="stdout", ready=probe, grace=2)
        job = self._runner.start_soon(command)
        self._marks[name] = 0
        await job.until("ready")
        return await self.output(name)

    async def output(self, name: str) -> str:
        """Wait until a command is silent; return what it has written since you looked last."""
        job = self._runner[name]
        await job.until("exit", "idle", idle=0.5, timeout=10)
        return self._news_of(job)

    async def stop(self, name: str) -> str:
        """Stop a command and all processes that it has started; return its last output."""
        job = self._runner[name]
        job.kill()
        await job.wait()
        return self._news_of(job)

    def _news_of(self, job: Job) -> str:
        news = job.since(self._marks[job.name])
        self._marks[job.name] = news.mark
        state = "running" if job.result is None else job.result.error or job.result.exit
        return f"{news.text[-16_000:]}[{state}]"


def answering(tool: Tool) -> Tool:
    """Return a tool whose errors are answers, so that the model can correct its mistakes."""

    @wraps(tool)
    async def call(*args: object, **kwargs: object) -> str:
        try:
            return await tool(*args, **kwargs)
        except CurrantError as error:
            return f"error: {error}"

    return call
