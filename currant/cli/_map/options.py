"""The options of `currant map`, as click passes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from currant.cli._options import HostOptions

if TYPE_CHECKING:
    import re
    from collections.abc import Sequence
    from typing import Literal

    from currant._batch.halt import Halt
    from currant.sinks import Color

__all__ = ["MapOptions"]


class MapOptions(HostOptions):
    """The options of ``currant map``."""

    jobs: int | None
    shell: bool
    null: bool
    arg_file: Sequence[str]
    per_job: int | None
    colsep: re.Pattern[str] | None
    header: bool
    csv: bool
    tsv: bool
    jsonl: bool
    stdin: bool
    block: int | None
    recend: bytes | None
    keep_order: bool
    line: bool | None
    """Whether to show whole lines as they come; False: ``--group`` was given."""
    raw: bool
    tag: bool
    timeout: float | None
    retries: int
    halt: Halt | None
    delay: float
    max_load: float | None
    memfree: int | None
    grace: float
    limit_memory: int | None
    limit_cpu_time: int | None
    limit_file_size: int | None
    limit_open_files: int | None
    limit_processes: int | None
    limit_core: int | None
    dry_run: bool
    results: str | None
    joblog: str | None
    resume: bool
    resume_failed: bool
    retry_failed: str | None
    progress: bool | None
    json: bool
    junit: str | None
    trace: str | None
    quiet: bool
    color: Color
    cwd: str | None
    env_file: Sequence[str]
    per_host: int | Literal["cpus"] | None
    forward_env: Sequence[str]
