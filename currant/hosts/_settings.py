"""`Settings`: the options of one `Hosts`, which hold for all its hosts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Literal, cast

from currant._remote.connection import Heartbeat
from currant._values.checks import (
    check_count,
    check_flag,
    check_seconds,
    check_str,
    checked_path,
)
from currant._values.errors import CommandError
from currant._values.variables import checked_env
from currant.hosts._dask import DaskConnect
from currant.hosts._placement import Capacity

if TYPE_CHECKING:
    from currant.hosts._host import Host
    from currant.hosts._transports import Connect

__all__ = ["Settings", "checked_settings"]


HEARTBEAT = 2.0
"""The most seconds between two pings to a host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The options of all hosts; `Hosts` describes those that users can set.

    Attributes:
        patience: for how many seconds commands wait for a host that was lost.
        retry_delay: seconds before the first try to connect to a lost host again.
        heartbeat: how soon a host and this program notice each other's silence; None: chosen to fit
            `silence`.
        orphan_guard: whether each host has a helper process that ends all if the agent is killed.
    """

    connect: Connect
    per_host: int | Literal["cpus"] | None
    wait_for: int | Literal["all"]
    silence: float
    reconnect: bool
    cwd: str | None
    env: Mapping[str, str]
    forward_env: tuple[str, ...]
    patience: float = 60.0
    retry_delay: float = 1.0
    heartbeat: Heartbeat | None = None
    orphan_guard: bool = True

    def new_heartbeat(self) -> Heartbeat:
        """Return how soon a host and this program notice each other's silence.

        A task of Dask that holds the GIL stops the event loop of its worker, but not the agent.  If
        the agent or the worker ends, Dask reports that, so there is time to wait.
        """
        interval = min(HEARTBEAT, self.silence / 5)
        lost = self.silence if isinstance(self.connect, DaskConnect) else 3 * interval
        return self.heartbeat or Heartbeat(interval, lost, self.silence)

    def capacity_of(self, host: Host, cpus: int | None) -> Capacity:
        """Return the amounts that commands may take of a host.

        Args:
            host: the host.
            cpus: how many processors the host has; None: unknown yet, which counts as no limit.
        """
        total = host.cpus or cpus or inf
        slots = host.slots or (total if self.per_host == "cpus" else self.per_host) or inf
        return Capacity({"slots": slots, "cpus": total, **host.resources}, host.gpus)


def checked_settings(
    *,
    connect: Connect,
    per_host: object,
    wait_for: object,
    silence: object,
    reconnect: object,
    cwd: object,
    env: object,
    forward_env: object,
) -> Settings:
    """Check the options of `Hosts`, and return them.

    Raises:
        CommandError: an option is invalid.
    """
    if not callable(connect):
        raise CommandError(f"connect must be a function such as ssh(), not {connect!r}")
    if per_host not in (None, "cpus"):
        check_count("per_host", per_host)
    if wait_for != "all":
        check_count("wait_for", wait_for)
    check_seconds("silence", silence, optional=False)
    check_flag("reconnect", reconnect)
    return Settings(
        connect=connect,
        per_host=cast("int | Literal['cpus'] | None", per_host),
        wait_for=cast("int | Literal['all']", wait_for),
        silence=cast("float", silence),
        reconnect=cast("bool", reconnect),
        cwd=None if cwd is None else checked_path("cwd", cwd),
        env=checked_env(env),
        forward_env=_checked_names(forward_env),
    )


def _checked_names(names: object) -> tuple[str, ...]:
    if isinstance(names, (str, bytes, Mapping)) or not isinstance(names, Iterable):
        raise CommandError(f"forward_env must be names such as ('PATH',), not {names!r}")
    given = tuple(cast("Iterable[object]", names))
    for name in given:
        check_str("each name of forward_env", name)
    return tuple(checked_env(dict.fromkeys(cast("tuple[str, ...]", given), "")))
