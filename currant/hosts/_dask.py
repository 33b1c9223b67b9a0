"""The way to the workers of a Dask cluster: `dask`, and its transport.

An actor in each worker (`_dask_actor`) starts an agent, and copies bytes to and from the agent.  On
this side, each worker has a thread with an event loop of its own.  The thread calls the actor
through a client of Dask, and copies bytes to and from the pipes of a transport.  So the event loop
of the user never runs code of Dask, which supports asyncio alone.
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar, cast

import anyio
from anyio import to_thread

from currant._agent.link import read_some
from currant._remote.shipment import agent_argv
from currant._remote.transport import PipeTransport
from currant._synchronization import Notifier
from currant._system.forks import no_fork
from currant._values.checks import check_flag, check_str
from currant._values.errors import CommandError, MissingExtraError
from currant.hosts import _dask_actor
from currant.hosts._dask_actor import NUMBER, DaskActor
from currant.hosts._host import Host

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

__all__ = ["DaskConnect", "dask"]

T = TypeVar("T")

PULLS = 2
"""How many calls for output run at the same time: one answer travels while the next call waits."""

POLL = 1.0
"""Seconds that a call waits for output."""

CONNECT_LIMIT = 10.0
"""Seconds to wait for the scheduler, and for a free thread of the worker to start the agent."""

END_LIMIT = 5.0
"""Seconds to wait for the thread at the end; the cluster may be gone."""


@dataclass(frozen=True, slots=True)
class DaskConnect:
    """The way to the workers of a Dask cluster; call the way with a `Host` to get a transport.

    `Host.address` is the address of a worker.

    Attributes:
        address: the address of the scheduler.
        direct: whether this program connects to the workers itself.
        security: the certificates of a cluster with TLS, a ``distributed.Security``; or None.
    """

    address: str
    direct: bool = True
    security: Any = None

    def __call__(self, host: Host) -> DaskTransport:
        """Return a transport to the worker of `host`."""
        return DaskTransport(self, host.address or host.name, host.python)

    async def hosts(self) -> list[Host]:
        """Return a host for each worker of the cluster, with a cpu for each thread of the worker.

        Workers that join the cluster later are missing.
        Cancellation: waits for the answer of the scheduler.

        Raises:
            OSError: the scheduler cannot be reached.
        """
        threads = await to_thread.run_sync(_run_on_asyncio, self._threads)
        return [
            Host(address.rpartition("//")[2], address=address, cpus=count)
            for address, count in sorted(threads.items())
        ]

    async def _threads(self) -> dict[str, int]:
        async with _new_client(self) as client:
            return dict(await client.nthreads())


def dask(address: str, *, direct: bool = True, security: object = None) -> DaskConnect:
    """Return the way to the workers of a Dask cluster.

    Needs the package ``distributed``: ``pip install 'currant[dask]'``.  The workers need not have
    currant installed.  An agent takes a thread of its worker while it starts, and none later.

    Args:
        address: the address of the scheduler, such as ``tcp://10.0.0.1:8786``.
        direct: whether this program connects to the workers itself.  False is for networks that do
            not allow this: then all bytes go through the scheduler, which is slower.
        security: a ``distributed.Security`` for a cluster with TLS.

    Raises:
        CommandError: an argument is invalid.
    """
    check_str("address", address)
    if not address:
        raise CommandError("address must be the address of a scheduler, not ''")
    check_flag("direct", direct)
    return DaskConnect(address, direct, security)


class DaskTransport(PipeTransport):
    """Pipes to a thread that calls the actor in a worker.

    Args:
        way: how to reach the scheduler.
        worker: the address of the worker.
        python: the Python that runs the agent; None: the Python of the worker.
    """

    def __init__(self, way: DaskConnect, worker: str, python: str | None) -> None:
        super().__init__()
        self._way = way
        self._worker = worker
        self._argv = list(agent_argv(python or ""))
        self._thread: Thread | None = None
        self._written = 0
        self._change = Notifier()

    def was_turned_away(self) -> bool:
        """Return False: a scheduler does not refuse a client, but lets the client wait."""
        return False

    async def aclose(self) -> None:
        """Close the pipes, which ends the agent, and wait a few seconds for the thread."""
        self._close_files()
        if self._thread is not None:
            with anyio.CancelScope(shield=True):  # Bounded: by `END_LIMIT`.
                await to_thread.run_sync(self._thread.join, END_LIMIT)
            self._thread = None

    def _connect(self, stdin: int, stdout: int, stderr: int) -> None:
        with no_fork:
            files = [os.dup(fd) for fd in (stdin, stdout, stderr)]
        for fd in files:
            os.set_blocking(fd, False)
        self._written = 0
        self._thread = Thread(target=self._run, args=files, daemon=True)
        self._thread.start()

    # ---- in the thread ----

    def _run(self, stdin: int, stdout: int, stderr: int) -> None:
        """Serve until one side ends; then write errors of the agent, or of Dask, to `stderr`."""
        try:
            said = _run_on_asyncio(self._serve, stdin, stdout)
        except Exception as error:
            said = _text_of(error).encode(errors="replace")
        with suppress(OSError):  # The pipe has no reader any more, or is full.
            os.write(stderr, said)
        for fd in (stdin, stdout, stderr):
            os.close(fd)

    async def _serve(self, stdin: int, stdout: int) -> bytes:
        """Start the agent, and copy bytes until one side ends; return the stderr of the agent."""
        async with _new_client(self._way) as client, self._actor(client) as actor:
            async with anyio.create_task_group() as tasks:
                for _ in range(PULLS):
                    tasks.start_soon(self._pull, actor, stdout, tasks.cancel_scope)
                while data := await read_some(stdin):
                    await actor.push(data)
                tasks.cancel_scope.cancel()
            await actor.end()
            return await actor.said()

    @asynccontextmanager
    async def _actor(self, client: Any) -> AsyncGenerator[DaskActor]:  # noqa: ANN401 - an extra
        """Start an agent in the worker, and yield its actor."""

        # Dask pickles a local function by value, and the class with it: the worker has neither.
        def start(argv: list[str], poll: float) -> DaskActor:
            return DaskActor(argv, poll)

        future = client.submit(
            start,
            self._argv,
            POLL,
            workers=[self._worker],
            allow_other_workers=False,
            actor=True,
            pure=False,
        )
        try:
            error = await _outcome_of(future)
            if error is not None:
                raise error
            with client.as_current():  # Otherwise `Actor` may take a client of the user.
                yield cast(
                    "DaskActor", _extra("distributed").Actor(DaskActor, self._worker, future.key)
                )
        finally:
            future.release()

    async def _pull(self, actor: DaskActor, stdout: int, scope: anyio.CancelScope) -> None:
        """Write output of the agent to `stdout`, in the order of the numbers; then end `scope`."""
        while True:
            answer = memoryview(await actor.pull())
            if not answer:
                continue
            while int.from_bytes(answer[:NUMBER], "big") != self._written:
                await self._change.wait()
            if len(answer) == NUMBER:
                return scope.cancel()
            await _write(stdout, answer[NUMBER:])
            self._written += 1
            self._change.notify_all()


async def _outcome_of(future: Any) -> BaseException | None:  # noqa: ANN401 - an extra
    """Return the exception of a task of Dask; None if it has succeeded.

    Raises:
        TimeoutError: the task was not run in `CONNECT_LIMIT` seconds.
    """
    try:
        error: BaseException | None = await future.exception(timeout=CONNECT_LIMIT)
    except TimeoutError:  # of Dask, without a text
        text = f"no thread of the worker was free for {CONNECT_LIMIT:g} s, or the worker is gone"
        raise TimeoutError(text) from None
    return error


async def _write(fd: int, rest: memoryview) -> None:
    while rest:
        try:
            rest = rest[os.write(fd, rest) :]
        except BlockingIOError:
            await anyio.wait_writable(fd)


def _text_of(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return f"{type(error).__name__}: {error}"


def _extra(module: str) -> Any:  # noqa: ANN401 - the modules have no types that help here
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtraError("workers of Dask", "distributed", "dask") from error


def _run_on_asyncio(function: Callable[..., Awaitable[T]], *args: object) -> T:
    return anyio.run(function, *args, backend="asyncio")


def _new_client(way: DaskConnect) -> AbstractAsyncContextManager[Any]:
    """Return a client of the scheduler, which connects when it is entered."""
    _extra("cloudpickle").register_pickle_by_value(_dask_actor)
    client: AbstractAsyncContextManager[Any] = _extra("distributed").Client(
        way.address,
        asynchronous=True,
        timeout=CONNECT_LIMIT,
        security=way.security,
        set_as_default=False,
        direct_to_workers=way.direct,
        name="currant",
    )
    return client
