"""Ask a server of the command, and find out whether it is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from currant._values.printable import printable
from currant._values.probe import InUse, Unmet

if TYPE_CHECKING:
    from currant._values.exchange import Answer, Owner, Request
    from currant._values.probe import ProbeTarget

__all__ = ["ask"]


async def ask(subject: ProbeTarget, request: Request) -> Answer:
    """Send a request to a server of the command, and return the answer.

    Raises:
        InUse: the port belongs to another process, which will not give it up.
        Unmet: no server accepts the connection, or it belongs to another process.
    """
    server = request.server
    where = f"{server}" if isinstance(server, str) else f"{server[0]}, port {server[1]}"
    try:
        answer = await subject.exchange(request)
    except OSError as error:
        reason = error.strerror or error
        raise Unmet(f"cannot connect to {where}: {reason}") from error
    # The owner comes first: the server of another process explains any response.
    if request.own and answer.owner is not None and answer.owner.relation != "own":
        raise _not_its_own(server, answer.owner)
    return answer


def _not_its_own(server: tuple[str, int] | str, owner: Owner) -> Unmet:
    place = f"the socket {server}" if isinstance(server, str) else f"port {server[1]}"
    text = (
        f"{place} belongs to another process, pid {owner.pid} ({printable(owner.program)}); end "
        "that process, or if it opened the port on behalf of the command, pass own=False to the "
        "probe"
    )
    return InUse(text, owner) if owner.relation == "foreign" else Unmet(text)
