"""`StackServer`: the socket of a stack, and the clients that talk to it.

A client may be slow, broken or hostile.  So

- the length of a line is bounded, and the time that a client has for its request;
- nothing is buffered for a client, which reads the `History` at its own pace, and gets the number
  of lines that it has missed.  A client that does not read keeps one task and one piece of output;
- the number of clients is bounded.  If there is no room, the stack disconnects the client for which
  it has waited longest, for a request or for room to write;
- an error of any kind ends one connection, and not the stack;
- only processes of this user and of root get an answer.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, closing, suppress
from os import geteuid
from typing import TYPE_CHECKING

import anyio

from currant._synchronization import task_group_beside
from currant._system.peers import user_of_peer
from currant._values.errors import CurrantError
from currant.stack._connected_client import MAX_CLIENTS, ConnectedClient
from currant.stack._control import Control
from currant.stack._conversation import Conversation
from currant.stack._errors import RequestError, StackFolderError
from currant.stack._protocol import error_of
from currant.stack._stream import StackListener

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from anyio.abc import TaskGroup

    from currant._supervisor.runner import Runner
    from currant.stack._configuration import Configuration
    from currant.stack._folder import Claim, StackInfo
    from currant.stack._history import History

__all__ = ["StackServer"]

GOODBYE_LIMIT = 0.5
"""Seconds that clients have to read the last answer when the stack ends."""

ACCEPT_DELAY = 0.1
"""Seconds before another try, if the system cannot accept a connection."""


class StackServer:
    """Listens for clients while a Runner runs.

    Args:
        claim: the right to be the stack of its folder.
        history: a sink of the Runner.
        configuration: the source of the commands; None: `reload` is refused.
        log: the file with the output of the stack; None: it goes to stdout.
        is_needed: whether the commands must not run without clients.

    Attributes:
        history: as given.
        on_listening: called once clients can connect.
    """

    def __init__(
        self,
        claim: Claim,
        history: History,
        configuration: Configuration | None = None,
        log: str | None = None,
        *,
        is_needed: bool = False,
    ) -> None:
        self.history: History = history
        self.on_listening: Callable[[], object] = lambda: None
        self._claim = claim
        self._configuration = configuration
        self._log = log
        self._is_needed = is_needed
        self._clients: dict[ConnectedClient, None] = {}  # in the order of their connections
        self._over = anyio.Event()
        self._tasks: TaskGroup | None = None

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Serve clients from `listen` on; at the end, send the answers to all that wait for it.

        Enter this block before the Runner, so that a client learns how the commands ended.  An
        exception of the body leaves the block unchanged.
        """
        async with task_group_beside() as self._tasks:
            try:
                yield
            finally:
                self._claim.release()
                self.history.end()
                self._over.set()
                await self._say_goodbye()
                self._tasks.cancel_scope.cancel()

    async def _say_goodbye(self) -> None:
        """Give the clients that wait for an answer some time to read it."""
        with anyio.move_on_after(GOODBYE_LIMIT):
            for client in list(self._clients):
                if client.has_asked:
                    await client.gone.wait()

    async def listen(self, runner: Runner) -> Control:
        """Begin to accept clients for a Runner that has been entered.

        Raises:
            OSError: the socket cannot be bound.
        """
        assert self._tasks is not None
        control = Control(runner, self.history, self._configuration)
        path = self._claim.paths.socket
        listener = StackListener(path)
        try:
            info = self._claim.describe(self._log)
        except OSError:
            listener.close()
            raise
        self._tasks.start_soon(self._accept, listener, control, info)
        self.on_listening()
        return control

    def not_listening(self, error: OSError) -> StackFolderError:
        """Return why no client can connect, for a warning.

        Raises:
            StackFolderError: the commands must not run without clients.
        """
        problem = StackFolderError(self._claim.paths.socket, error.strerror or str(error))
        if self._is_needed:
            raise problem
        return problem

    async def _accept(self, listener: StackListener, control: Control, info: StackInfo) -> None:
        assert self._tasks is not None
        with closing(listener):
            while True:
                try:
                    stream = await listener.accept()
                except OSError:
                    await anyio.sleep(ACCEPT_DELAY)
                    continue
                client = ConnectedClient(stream)
                self._clients[client] = None
                self._tasks.start_soon(self._serve, client, control, info)
                if len(self._clients) > MAX_CLIENTS:
                    self._make_room(client)

    def _make_room(self, newest: ConnectedClient) -> None:
        """Disconnect the client for which the stack waits longest; if for none, the newest."""
        waits = {
            client: client.waits_since
            for client in self._clients
            if client.waits_since is not None and client is not newest
        }
        if waits:
            min(waits, key=waits.__getitem__).scope.cancel()
        else:
            newest.is_refused = True

    async def _serve(self, client: ConnectedClient, control: Control, info: StackInfo) -> None:
        try:
            with client.scope, suppress(anyio.BrokenResourceError, anyio.EndOfStream, OSError):
                await self._answer(client, control, info)
        finally:
            del self._clients[client]
            client.gone.set()
            with anyio.CancelScope(shield=True):  # Bounded: a forced close does not wait.
                await anyio.aclose_forcefully(client.stream)

    async def _answer(self, client: ConnectedClient, control: Control, info: StackInfo) -> None:
        """Read a request, and send the answer."""
        user = user_of_peer(client.stream.socket)
        if user not in (0, geteuid()):
            return
        try:
            request = await client.receive_request()
            conversation = Conversation(client, control, info, self._over)
            answer = await conversation.do(request)
        except RequestError as error:
            await client.send(error_of(error.kind, error.reason))
        except CurrantError as error:
            await client.send(error_of("failed", str(error)))
        except (anyio.BrokenResourceError, anyio.EndOfStream, OSError):
            raise
        except Exception as error:
            await client.send(error_of("internal", f"{type(error).__name__}: {error}"))
        else:
            await client.send({"type": "answer"} | answer)
