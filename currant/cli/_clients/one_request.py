"""The subcommands with one request to a running stack: ``stop``, ``up``, ``down`` and so on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from currant._values.printable import printable
from currant.cli._clients.ask import ask_stack, folder_option, show_problems
from currant.cli._config_options import complete_command
from currant.cli._parsers import Seconds, parse_signal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal

    from currant._values.exit import Exit
    from currant.stack._client import Listing, StackClient

__all__ = ["down", "restart", "send", "signal", "stop", "up", "wait"]

_names = click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_command)
_name = click.argument("name", shell_complete=complete_command)
_now = click.option("--now", is_flag=True, help="Skip the rest of the grace: SIGKILL now.")


@click.command()
@_now
@folder_option
@_names
def stop(names: Sequence[str], *, now: bool, folder: str | None) -> int:
    """Stop commands of the running stack: all, or each NAME.

    Dependents are stopped first.  The stack goes on, and 'up' starts a command again.
    """

    async def ask(client: StackClient) -> int:
        return show_problems(await client.stop(names, now=now))

    return ask_stack(folder, ask)


@click.command()
@folder_option
@_names
def up(names: Sequence[str], *, folder: str | None) -> int:
    """Start commands that have ended, and wait until they are ready.

    Without NAME, all commands start that do not run and have not succeeded.  A command starts with
    the commands that it needs, and NAME may be a command of the configuration that 'start' has left
    out.  The exit status is 1 if a command is not ready.
    """

    async def ask(client: StackClient) -> int:
        listing = await client.start(names)
        if listing.started:
            click.echo(f"started {', '.join(map(printable, listing.started))}")
        return show_problems(listing)

    return ask_stack(folder, ask)


@click.command()
@folder_option
@_names
def restart(names: Sequence[str], *, folder: str | None) -> int:
    """Restart commands of the running stack, and wait until ready.

    Without NAME, all commands that run restart.  The exit status is 1 if one of them is not ready.
    """

    async def ask(client: StackClient) -> int:
        return show_problems(await client.restart(names))

    return ask_stack(folder, ask)


@click.command()
@click.option("--leader", is_flag=True, help="Only to the first process of the command.")
@folder_option
@click.argument("signal_name", metavar="SIGNAL")
@_name
def signal(signal_name: str, name: str, *, leader: bool, folder: str | None) -> int:
    """Send a signal to the process group of a command.

    SIGNAL is a name or a number, such as HUP or 10.  The exit status is 1 if the command does
    not run.
    """
    number = 0 if signal_name == "0" else parse_signal(signal_name)  # 0 asks whether it runs.

    async def ask(client: StackClient) -> int:
        reached = await client.signal(number, name, "leader" if leader else "group")
        if not reached:
            click.echo(f"currant: {name}: it does not run", err=True)
        return int(not reached)

    return ask_stack(folder, ask)


@click.command()
@click.option("--ready", is_flag=True, help="Wait until they are ready.")
@click.option("--timeout", type=Seconds(min=0), metavar="S", help="Give up after S seconds.")
@folder_option
@_names
def wait(names: Sequence[str], *, ready: bool, timeout: float | None, folder: str | None) -> int:
    """Wait until commands have ended or, with --ready, are ready.

    Without NAME, wait for all commands.  The exit status is that of the first command that has
    failed, or 0 if none has.  With --ready, the exit status is 1 if a command cannot become ready,
    or is not ready in time.
    """
    until: Literal["ready", "ended"] = "ready" if ready else "ended"

    async def ask(client: StackClient) -> int:
        listing = await client.wait(names, until, timeout)
        return (show_problems(listing) and 1) if ready else _status(listing)

    return ask_stack(folder, ask)


@click.command()
@click.option("-n", "--no-newline", is_flag=True, help="Do not add a newline.")
@folder_option
@_name
@click.argument("text")
def send(name: str, text: str, *, no_newline: bool, folder: str | None) -> int:
    """Write TEXT and a newline to the stdin of a command."""

    async def ask(client: StackClient) -> int:
        await client.send(
            name, f"{text}{'' if no_newline else chr(10)}".encode(errors="surrogateescape")
        )
        return 0

    return ask_stack(folder, ask)


@click.command()
@_now
@folder_option
def down(*, now: bool, folder: str | None) -> int:
    """Stop all commands, and end the running stack.

    Returns when the stack has ended.
    """

    async def ask(client: StackClient) -> int:
        await client.down(now=now)
        return 0

    return ask_stack(folder, ask)


def _status(listing: Listing) -> int:
    """Return the exit status of the first command that has failed, as a shell would."""
    show_problems(listing)
    failed = [each for each in listing.commands if each.name in listing.problems]
    return _status_of(failed[0].exit) if failed else 0


def _status_of(end: Exit | None) -> int:
    if end is None:
        return 1
    return (end.code or 1) if end.signal is None else 128 + int(end.signal)
