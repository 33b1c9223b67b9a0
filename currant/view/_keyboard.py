"""`Keyboard`: reads the keys, and carries out their requests."""

from __future__ import annotations

import codecs
import errno
from typing import TYPE_CHECKING

import anyio

from currant._synchronization import Notifier
from currant._values.errors import CurrantError, JobEndedError
from currant._values.printable import printable
from currant.view._console import Selection
from currant.view._keys import HELP, Keys
from currant.view._terminal import KeyReader

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from anyio.abc import TaskGroup

    from currant._supervisor.runner import Runner
    from currant.view._console import ViewConsole
    from currant.view._keys import Request

__all__ = ["Keyboard"]

STDIN = 0


class Keyboard:
    """Reads the keys, and carries out their requests.

    Args:
        console: shows the output, and the status line below it.
    """

    def __init__(self, console: ViewConsole) -> None:
        self._console = console
        self._keys = Keys(self._names)
        self._runner: Runner | None = None
        # The texts to show, in order.  A task of its own shows them, so keys do not wait for the
        # terminal.
        self._to_show: list[Callable[[], Awaitable[None]]] = []
        self._has_news = Notifier()
        self._reader = KeyReader(STDIN, self._on_terminal)
        self._on_terminal(False)  # noqa: FBT003 - as `KeyReader` calls it

    async def run(self, runner: Runner) -> None:
        """Read keys and carry out their requests until the terminal is gone.

        Cancellation: restores the modes of the terminal.
        """
        self._runner = runner
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        with self._reader:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._show_all)
                tasks.start_soon(self._show_stop, runner)
                while typed := await self._reader.receive():
                    for request in self._keys.feed(decoder.decode(typed)):
                        self._do(request, runner, tasks)
                    self._refresh()

    async def pause(self) -> None:
        """Read no keys until `resume`, and remove the status line; call `restore` then.

        Cancellation: the line may still be there.
        """
        self._reader.pause()
        await self._console.refresh()

    def restore(self) -> None:
        """Set the modes that the terminal had."""
        self._reader.restore()

    def resume(self) -> None:
        """Take the terminal again, as soon as this program is in the foreground."""
        self._reader.resume()

    def resize(self) -> None:
        """Fit the status line to the new size of the terminal."""
        self._show_soon(lambda: self._console.refresh(is_resized=True))

    def _on_terminal(self, is_ours: bool) -> None:
        """Show the status line if this program has the terminal; a shell would type over it."""
        if self._console.status is not None:
            self._console.status.is_hidden = not is_ours
        self._show_soon(self._console.refresh)

    def _names(self) -> list[str]:
        return [] if self._runner is None else list(self._runner.jobs)

    def _do(self, request: Request, runner: Runner, tasks: TaskGroup) -> None:
        match request.action:
            case "restart":
                tasks.start_soon(self._restart, runner, request.text)
            case "solo":
                self._select(Selection(request.text or None, self._console.selection.text))
            case "filter":
                self._select(Selection(self._console.selection.solo, request.text))
            case "last":
                self._show_soon(self._console.show_last_failure)
            case "help":
                self._show_lines(*HELP)
            case "quit":
                runner.kill("q was pressed")
            case "unknown":
                self._show_lines(f"currant: there is no command {printable(request.text)!r}")

    async def _show_stop(self, runner: Runner) -> None:
        """Say that the commands are being stopped: one that takes its time looks as if it hung."""
        await runner.barrier.wait()
        if self._console.status is not None:
            self._console.status.is_stopping = True
        self._show_soon(self._console.refresh)

    async def _restart(self, runner: Runner, name: str) -> None:
        try:
            await runner[name].restart()
        except JobEndedError as error:
            self._show_lines(f"currant: cannot restart {printable(name)}: {error.reason}")
        except CurrantError as error:
            self._show_lines(f"currant: {error}")

    def _select(self, selection: Selection) -> None:
        self._console.selection = selection
        if self._console.status is not None:
            self._console.status.note = str(selection)

    def _refresh(self) -> None:
        if self._console.status is not None:
            self._console.status.prompt = self._keys.prompt
        self._show_soon(self._console.refresh)

    def _show_lines(self, *lines: str) -> None:
        self._show_soon(lambda: self._console.show(lines))

    def _show_soon(self, show: Callable[[], Awaitable[None]]) -> None:
        self._to_show.append(show)
        self._has_news.notify_all()

    async def _show_all(self) -> None:
        while True:
            await self._has_news.wait_for(lambda: bool(self._to_show))
            show, *self._to_show = self._to_show
            try:
                await show()
            except OSError as error:  # The terminal is gone; the sink reports that.
                if error.errno not in (errno.EIO, errno.EPIPE, errno.ENXIO):
                    raise
