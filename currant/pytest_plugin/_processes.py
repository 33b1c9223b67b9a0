"""`Processes`: what the fixtures `processes`, `module_processes` and `session_processes` are."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar, Unpack, cast

from currant._run import run_process
from currant._system.free_port import hold_free_port
from currant._values.command import command_with
from currant._values.errors import CommandError, CurrantError, DuplicateNameError
from currant._values.file_name import as_file_name
from currant.pytest_plugin._event_loop import call

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from anyio.from_thread import BlockingPortal

    from currant._values.command import Command, CommandLike, CommandOptions, ProcessOptions
    from currant._values.results import Result
    from currant.blocking import Job
    from currant.pytest_plugin._definitions import Definitions
    from currant.pytest_plugin._own_processes import OwnProcesses
    from currant.pytest_plugin._shared_processes import SharedProcesses

__all__ = ["Processes"]

__tracebackhide__ = True  # pytest leaves these frames out

P = ParamSpec("P")
T = TypeVar("T")


def _without_traceback(method: Callable[P, T]) -> Callable[P, T]:
    """Leave the tracebacks and causes out of currant's own errors: their texts say it all."""

    @wraps(method)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(*args, **kwargs)
        except (CurrantError, TimeoutError) as error:
            raise error.with_traceback(None) from None

    return wrapped


class Processes:
    """Starts processes for tests; all of them are stopped at the end of the fixture's scope.

    The fixtures create the object, and tests do not.  Ctrl-C interrupts a call that waits.

    Args:
        scope: ``"function"``, ``"module"`` or ``"session"``.
        folder: where the processes have their folders.
        portal: the event loop.
        definitions: the commands of ``currant.toml``.
        timeout: seconds that a process has to become ready.
        on_use: is called with each process that a test or a fixture asks for.
        own: the processes that this worker runs.
        shared: the processes that other workers use, too; None: the scope has none.
    """

    def __init__(
        self,
        scope: str,
        folder: Path,
        portal: BlockingPortal,
        definitions: Definitions,
        timeout: float,
        on_use: Callable[[Job], None],
        own: OwnProcesses,
        shared: SharedProcesses | None = None,
    ) -> None:
        self._scope = scope
        self._folder = folder
        self._portal = portal
        self._definitions = definitions
        self._timeout = timeout
        self._on_use = on_use
        self._own = own
        self._shared = shared
        self._resources = ExitStack()

    def __repr__(self) -> str:
        return f"<Processes of the {self._scope}: {', '.join(self.jobs) or 'none'}>"

    def __getitem__(self, name: str) -> Job:
        """Return the process of that name.

        Raises:
            UnknownNameError: a `KeyError`: none was started.
        """
        job = self._shared_jobs.get(name) or self._own.jobs[name]
        self._on_use(job)
        return job

    @property
    def jobs(self) -> Mapping[str, Job]:
        """The processes that were started, by name."""
        shared = self._shared_jobs
        return {**self._own.jobs, **shared} if shared else self._own.jobs

    @property
    def _shared_jobs(self) -> Mapping[str, Job]:
        return {} if self._shared is None else self._shared.jobs

    @_without_traceback
    def start(
        self,
        command: CommandLike,
        *,
        timeout: float | None = None,
        variables: Mapping[str, object] | None = None,
        shared: bool = False,
        **options: Unpack[ProcessOptions],
    ) -> Job:
        """Start a process, and return when it is ready; without a probe, when it runs.

        All workers of xdist use the same shared process.  The first worker starts the process, with
        the command of that worker, and the last worker stops it.  The others wait until it is
        ready.

        Args:
            command: a `Command`, a list of words, a line for `Command.parse`, or the name of a
                command in ``currant.toml``, which starts its dependencies first.
            timeout: seconds to wait; None: the setting ``currant_timeout``.
            variables: for ``${NAME}`` in ``currant.toml`` and for the process.
            shared: whether all workers share the process; only for `session_processes`.
            options: as for `Command`; they replace those of the command.

        Raises:
            NotReadyError, LaunchError, DependencyError, CommandError: as by `currant.Runner.start`.
            DuplicateNameError: a process of that name has not ended.
            ConfigError: ``currant.toml`` has mistakes.
            RequestError: a shared process could not be started, or has ended before it was ready.
            TimeoutError: the process did not become ready in time; it was stopped, unless it is
                shared.
        """
        chosen, is_defined = self._chosen(command, variables or {}, options)
        is_as_defined = is_defined and not variables and not options
        return self._start_in_order(chosen, timeout, shared=shared, is_as_defined=is_as_defined)

    @_without_traceback
    def ensure(
        self,
        name: str,
        command: CommandLike | None = None,
        *,
        timeout: float | None = None,
        shared: bool = False,
    ) -> Job:
        """Return the process of that name when it is ready; start it unless it runs.

        Args:
            name: the name.
            command: the command to start; None: the command that ran under this name, or else the
                command of this name in ``currant.toml``.
            timeout: as for `start`.
            shared: as for `start`.

        Raises:
            NotReadyError, LaunchError, DependencyError, CommandError, ConfigError, RequestError,
            TimeoutError: as by `start`.
            UnknownNameError: a `KeyError`: there is no such definition, and no `command`.
        """
        if self._shared is not None and name in self._shared.jobs:
            return self._shared.begin(self._shared.jobs[name], self._seconds(timeout))
        job = self.jobs.get(name)
        if job is None and command is None:
            chosen = self._definitions.get(name)
            return self._start_in_order(chosen, timeout, shared=shared, is_as_defined=True)
        if job is None:
            assert command is not None
            named = [command_with(command, {"name": name})]
            return self._start_in_order(named, timeout, shared=shared, is_as_defined=False)
        if self._own.has_ended(job):
            again = command_with(job.command if command is None else command, {"name": name})
            self._restart_dependencies(again)
            return self._own.start(again, self._seconds(timeout))
        self._on_use(job)
        job.ready(timeout=self._seconds(timeout))
        return job

    @contextmanager
    def stopped(self, job: Job | str) -> Generator[None]:
        """Stop a process for the length of a block; after the block it runs again, and is ready.

        That holds also if the block raises an error.

        Args:
            job: the process, or its name.

        Raises:
            UnknownNameError: a `KeyError`: no such process was started.
            CommandError: the process is shared.
            NotReadyError, LaunchError, TimeoutError: at the end: as by `start`.
        """
        stopped = self[job if isinstance(job, str) else job.name]
        stopped.kill("processes.stopped")
        stopped.wait()
        try:
            yield
        finally:
            self._restart_dependencies(stopped.command)
            self._own.start(stopped.command, self._timeout)

    @_without_traceback
    def run(
        self,
        command: CommandLike,
        *,
        input: bytes | None = None,  # noqa: A002 - as in run_process
        check: bool = True,
        timeout: float | None = None,
        **options: Unpack[ProcessOptions],
    ) -> Result:
        """Run a command until it has ended, and return its result, as `currant.run_process` does.

        Ctrl-C stops the command.

        Args:
            command: as for `currant.run_process`; it is not a name in ``currant.toml``.
            input: the bytes to write to stdin, followed by end-of-file; None: the option `stdin`
                says what the command reads, by default ``/dev/null``.
            check: whether to raise an error if the command fails.
            timeout: seconds after which the command is stopped and has failed; None: that of a
                `Command`, else no limit.
            options: as for `Command`; they replace those of the command.

        Raises:
            CommandFailed, CommandError: as by `currant.run_process`.
        """

        async def run() -> Result:
            return await run_process(command, input=input, check=check, timeout=timeout, **options)

        return call(self._portal, run)

    def folder(self, name: str, *, shared: bool = False) -> Path:
        """Return a folder that exists, for the data or the configuration of a process.

        Args:
            name: the name of the process.
            shared: whether all workers get the same folder, for a shared process.

        Raises:
            CommandError: `shared` is set, and this is not `session_processes`.
        """
        folder = self._sharing().folder if shared else self._folder
        path = folder / as_file_name(name)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def log(self, name: str) -> Path:
        """Return the file with all output of a process; no such file exists before the output."""
        shared = None if self._shared is None else self._shared.log(name)
        return shared or self._own.log(name)

    def free_port(self) -> int:
        """Return the number of a free TCP port.

        On Linux the port is held until the end of the scope: the system gives it to no other
        program or worker of xdist as a free port, but a server that sets SO_REUSEADDR, as almost
        all do, can listen there.
        """
        number, holder = hold_free_port()
        if holder is not None:
            self._resources.enter_context(holder)
        return number

    def socket_path(self) -> str:
        """Return a path for a Unix socket, in a folder of its own.

        Paths below ``tmp_path`` are often too long: the system takes about 100 bytes.
        """
        folder = self._resources.enter_context(tempfile.TemporaryDirectory(prefix="c", dir="/tmp"))
        return f"{folder}/s"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        with self._resources:
            if self._shared is not None:
                self._resources.callback(self._shared.close)
            self._own.close(exc_val)

    def _chosen(
        self, command: CommandLike, variables: Mapping[str, object], options: ProcessOptions
    ) -> tuple[list[Command], bool]:
        """Return the dependencies and last the command, and whether ``currant.toml`` has them."""
        texts = {name: str(value) for name, value in variables.items()}
        changes = cast("CommandOptions", {**options})
        if isinstance(command, str) and (defined := self._definitions.find(command, texts)):
            return [*defined[:-1], command_with(defined[-1], changes)], True
        if texts:
            changes["env"] = {**texts, **changes.get("env", {})}
        return [command_with(command, changes)], False

    def _start_in_order(
        self,
        commands: Sequence[Command],
        timeout: float | None,
        *,
        shared: bool,
        is_as_defined: bool,
    ) -> Job:
        """Start a command; start those of its dependencies that do not run before it."""
        *dependencies, command = commands
        if shared or self._shared is not None:
            stack = self._sharing().stack_for(command, shared=shared, is_as_defined=is_as_defined)
            if stack is not None:
                _check_new(command.name, self._own.jobs)
                return self._sharing().start(stack, commands, self._seconds(timeout))
        _check_new(command.name, self._shared_jobs)
        for needed in dependencies:
            job = self.jobs.get(needed.name)
            if job is None or self._own.has_ended(job):
                self._own.start_soon(needed)
        return self._own.start(command, self._seconds(timeout))

    def _restart_dependencies(self, command: Command) -> None:
        """Start the dependencies again that have ended, but for work that is done."""
        for name in command.after:
            job = self.jobs.get(name)
            if job is not None and self._own.has_ended(job) and not _is_done(job):
                self._restart_dependencies(job.command)
                self._own.start_soon(job.command)

    def _seconds(self, timeout: float | None) -> float:
        return self._timeout if timeout is None else timeout

    def _sharing(self) -> SharedProcesses:
        if self._shared is None:
            raise CommandError(
                f"shared=True is for session_processes, not for the processes of a {self._scope}"
            )
        return self._shared


def _check_new(name: str, jobs: Mapping[str, Job]) -> None:
    if name in jobs:
        raise DuplicateNameError(name)


def _is_done(job: Job) -> bool:
    """Return whether a process that has ended has succeeded, and is no server."""
    return job.command.ready is None and job.result is not None and job.result.status == "succeeded"
