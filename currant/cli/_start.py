"""``currant start``: run commands as a stack, in the foreground or in the background.

With ``-d``, currant forks before anything has started.  The child leads a session of its own; until
clients can connect, the errors of the child go to the terminal.  From then on the parent is a
client like any other, and waits until all commands are ready.

Without a place for the socket, a stack in the foreground says so, and runs without clients.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import click
from anyio import to_thread

from currant._synchronization import task_group_beside
from currant._values.printable import printable
from currant.cli._clients.ask import ANSWER_LIMIT, show_problems
from currant.cli._errors import report_error
from currant.cli._prepare.stack_place import StackPlace
from currant.cli._run_and_report import run_and_report
from currant.cli._signals import raising_interrupts
from currant.stack._client import Listing, StackClient
from currant.stack._errors import RequestError, StackError, StackFolderError, StackRunningError
from currant.stack._folder import Claim, key_of, real_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from currant.cli._options import StartOptions
    from currant.cli._prepare.runner import Prepared

__all__ = ["say_what_goes_on", "start_stack", "wait_until_ready"]

LOG_SIZE = 10 << 20
"""The default of ``--log-size`` for a stack in the background, in bytes."""

LAST_LINES, LAST_BYTES = 10, 4096
"""How much of the log is shown if something has failed."""

FAILURE_INTERVAL = 1.0
"""Seconds between two looks for commands that have failed and are restarted."""

STDIN, STDOUT, STDERR = 0, 1, 2


def start_stack(
    build: Callable[[StackPlace | None], Prepared],
    options: StartOptions,
    folder: str | None = None,
) -> int:
    """Run a stack, and return the exit status.

    Args:
        build: returns the Runner, for the place of the stack; None: no client finds the stack.
        options: the options of ``currant start``.
        folder: the folder of the project, by which clients find the stack; None: the current
            folder.
    """
    if options["detach"]:
        return _start_detached(build, options, folder)
    place: StackPlace | None = None
    try:
        place = StackPlace(Claim(real_folder(folder)))
    except StackRunningError as error:
        return report_error(error)
    except StackError as error:
        click.echo(f"currant: {error}; the commands run without clients", err=True)
    return _run(build, options, place)


def _run(
    build: Callable[[StackPlace | None], Prepared], options: StartOptions, place: StackPlace | None
) -> int:
    try:
        return run_and_report("currant start", lambda: build(place), options)
    finally:
        if place is not None:  # If the configuration is wrong, no server has released it.
            place.claim.release()


# ---- in the background ----


def _start_detached(
    build: Callable[[StackPlace | None], Prepared], options: StartOptions, given: str | None
) -> int:
    """Start a stack in the background; return when all are ready, or a command cannot be."""
    try:
        folder = real_folder(given)
        claim = Claim(folder)
        log = _log_path(folder)
        begin = os.path.getsize(log)
    except StackError as error:
        return report_error(error)
    reader, writer = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        _leave_session(log, keep=(claim.fileno(), writer))
        _fit_to_log(options)
        on_listening = partial(_tell_parent, writer)
        place = StackPlace(claim, log, options["log_size"], on_listening)
        return _run(build, options, place)
    os.close(writer)
    claim.leave()
    client: StackClient | None = None
    try:
        with raising_interrupts():
            with open(reader, "rb") as started:
                is_listening = bool(started.read())
            if not is_listening:  # The child has reported the error.
                return _exit_status(pid)
            client = StackClient(folder, claim.paths.socket)
            return anyio.run(wait_until_ready, client, pid, log, begin)
    except KeyboardInterrupt:  # Ctrl-C reaches this process, and not the stack.
        say_what_goes_on(client, pid, log)
        raise


def _leave_session(log: Path, keep: Sequence[int]) -> None:
    """Begin a session, with the log as its output; errors still go to the terminal.

    Close all other files, except the descriptors to `keep`, because the caller may wait for the end
    of a pipe, as bats does.
    """
    os.setsid()
    last = STDERR
    for fd in (*sorted(keep), os.sysconf("SC_OPEN_MAX")):
        os.closerange(last + 1, fd)
        last = fd
    with open(os.devnull, "rb") as nothing, open(log, "ab") as file:
        os.dup2(nothing.fileno(), STDIN)
        os.dup2(file.fileno(), STDOUT)


def _fit_to_log(options: StartOptions) -> None:
    """Set the options for output that are not given, to values for a log."""
    if options["merge"] is None:
        options["merge"] = True
    if options["color"] == "auto":
        options["color"] = "never"
    options["log_size"] = options["log_size"] or LOG_SIZE
    options["timestamps"] = True


def _tell_parent(writer: int) -> None:
    """Tell the parent that clients can connect."""
    with suppress(BrokenPipeError):  # The parent was killed.
        os.write(writer, b"\n")
    os.close(writer)


def _log_path(folder: str) -> Path:
    """Return the log of the stack of a folder, after a check that currant can write the file.

    Raises:
        StackFolderError: currant cannot write the file.
    """
    state = os.environ.get("XDG_STATE_HOME", "")
    home = Path(state if os.path.isabs(state) else os.path.expanduser("~/.local/state"))
    if not home.is_absolute():
        raise _no_place(home, "this user has no home folder; set HOME or XDG_STATE_HOME")
    name = os.path.basename(folder) or "root"
    path = home / "currant" / f"{name}-{key_of(folder)[:8]}.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600))
    except OSError as error:
        raise _no_place(path, error.strerror or str(error)) from error
    return path


def _no_place(log: Path, reason: str) -> StackFolderError:
    return StackFolderError(str(log), reason, "log")


async def wait_until_ready(client: StackClient, pid: int, log: Path, begin: int = 0) -> int:
    """Return the exit status: 0 as soon as all commands are ready, or have succeeded.

    A command that fails and is restarted may still become ready.  If that takes long, the user gets
    to know its first failure meanwhile.  If the stack ends, its exit status counts.

    Args:
        client: talks to the stack.
        pid: the stack, a child of this process.
        log: the log of the stack.
        begin: the size that the log had before.
    """
    try:
        async with task_group_beside() as tasks:
            tasks.start_soon(_tell_failures, client)
            try:
                listing = await client.wait(until="ready")
            finally:
                tasks.cancel_scope.cancel()
    except RequestError as error:
        click.echo(f"currant: {error}", err=True)
        return _failed(1, log, begin)
    except StackError:
        listing = Listing((), {}, is_ending=True)
    status = show_problems(listing)
    if not listing.is_ending:
        if status:
            _say_it_runs(pid)
            return _failed(status, log, begin)
        count = len(listing.commands)
        commands = "1 command" if count == 1 else f"{count} commands"
        click.echo(f"started {commands} (pid {pid}); the log is {log}")
        return 0
    ended = await to_thread.run_sync(_exit_status, pid, abandon_on_cancel=True)
    if status == ended == 0:
        click.echo(f"all commands have succeeded, and the stack has ended; the log is {log}")
        return 0
    click.echo(f"currant: the stack has ended with exit status {ended}", err=True)
    return _failed(ended, log, begin)


def _failed(status: int, log: Path, begin: int) -> int:
    """Show the end of the log, and return the exit status."""
    click.echo(f"currant: the log is {log}; it ends with:", err=True)
    click.echo(b"".join(_last_lines(log, begin)), err=True, nl=False)
    return status


async def _tell_failures(client: StackClient) -> None:
    """Tell of each failure once while others are not ready, until the stack ends."""
    told: set[str] = set()
    with suppress(StackError):
        while True:
            await anyio.sleep(FAILURE_INTERVAL)
            listing = await client.list()
            for each in listing.commands:
                if each.failure is None or each.ready or each.name in told:
                    continue
                if listing.is_ending:
                    plan = "the stack is ending"
                elif each.state in ("running", "restarting"):
                    plan = "currant restarts it, and waits until it is ready"
                elif each.state == "failed":
                    plan = "currant waits for the other commands"
                else:
                    continue
                told.add(each.name)
                failure = f"{printable(each.name)}: {printable(each.failure)}"
                click.echo(f"currant: {failure}; {plan}", err=True)


def _say_it_runs(pid: int) -> None:
    click.echo(f"currant: the stack runs (pid {pid}); 'currant down' ends it", err=True)


def say_what_goes_on(client: StackClient | None, pid: int, log: Path) -> None:
    """Say whether a stack goes on whose start was interrupted.

    Args:
        client: talks to the stack; None: the stack did not listen yet.
        pid: the stack, a child of this process.
        log: the log of the stack.
    """
    if _has_ended(pid):
        click.echo(f"currant: the stack has ended; the log is {log}", err=True)
    elif client is None:
        click.echo(f"currant: the stack is starting (pid {pid}), and goes on", err=True)
    elif anyio.run(_is_ending, client):
        hint = "'currant down --now' skips the rest of the grace"
        click.echo(f"currant: the stack is ending (pid {pid}); {hint}", err=True)
    else:
        _say_it_runs(pid)


def _has_ended(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG) != (0, 0)
    except ChildProcessError:  # The caller of currant ignores SIGCHLD, or a thread has waited.
        return True


async def _is_ending(client: StackClient) -> bool:
    """Return whether a stack that has listened is ending; False if it does not answer."""
    try:
        with anyio.move_on_after(ANSWER_LIMIT):
            return (await client.list()).is_ending
    except StackError:  # It listens no more.
        return True
    return False


def _exit_status(pid: int) -> int:
    """Wait for the end of a child, and return its exit status as a shell does; 1 if unknown."""
    try:
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:  # The caller of currant ignores SIGCHLD.
        return 1
    return code if code >= 0 else 128 - code


def _last_lines(log: Path, begin: int) -> Sequence[bytes]:
    """Return the last lines that a log has got since its size was `begin`; none on an error."""
    with suppress(OSError), open(log, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        begin = begin if begin <= size else 0  # The log is another file since then.
        file.seek(max(begin, size - LAST_BYTES))
        return file.readlines()[-LAST_LINES:]
    return ()
