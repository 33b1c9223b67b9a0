"""The options of the subcommands, as click parses them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from currant._values.launch_spec import KillMode, Leftovers
    from currant._values.policies import KillOthersOn
    from currant._values.restart import RestartWhen
    from currant.hosts import Host
    from currant.sinks import Color

__all__ = ["HostOptions", "Options", "RunOptions", "StartOptions"]


class HostOptions(TypedDict):
    """The options that name hosts, each given any number of times, and the way to them."""

    hosts: Sequence[Sequence[Host]]
    hosts_file: Sequence[Sequence[Host]]
    ssh: Sequence[str] | None
    python: str | None


class Options(HostOptions):
    """The options that ``currant run`` and ``currant start`` share."""

    per_host: int | Literal["cpus"] | None
    each: bool
    same: bool
    forward_env: Sequence[str]

    prefix: str | None
    prefix_length: int | None
    hide: str | None
    timestamps: bool
    raw: bool
    group: bool
    merge: bool | None
    color: Color
    json: bool
    log_dir: str | None
    log_size: int | None
    metrics: int | None
    junit: str | None
    trace: str | None
    summary: bool
    timings: bool
    cwd: str | None
    restart: RestartWhen
    max_restarts: int | None
    restart_delay: float | None
    restart_factor: float | None
    kill_others_on: KillOthersOn | None
    grace: float
    idle_timeout: float | None
    max_output: int | None
    stop_signal: int
    kill_mode: KillMode
    leftovers: Leftovers
    cgroup: Literal["no", "yes", "auto"]
    wrap: tuple[str, ...]
    stdin: Literal["open", "null", "pipe"]
    interactive: str | None
    pty: bool
    keys: bool | None
    success: str


class RunOptions(Options):
    """The options of ``currant run``."""

    arguments: Sequence[str] | None
    teardown: Sequence[str]
    names: str | None
    colors: str | None
    env_file: Sequence[str]
    max_processes: int | None
    quiet: bool
    watch: Sequence[str]
    watch_ignore: Sequence[str]


class StartOptions(Options):
    """The options of ``currant start``."""

    files: Sequence[str]
    env: str | None
    profile: Sequence[str]
    dry_run: bool
    formation: str | None
    concurrency: str | None
    quiet_processes: Sequence[str]
    port: str | None
    detach: bool
