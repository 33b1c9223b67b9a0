"""`Settings`: the options and the ini settings of a run, checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["FIXTURES", "KEEPING", "MARKER", "Settings", "add_settings", "settings_of"]

MARKER = "processes"

FIXTURES = {
    "session": "session_processes",
    "module": "module_processes",
    "function": "processes",
}
"""The fixture of each scope; all other fixtures begin with one of them."""

KEEPING = "currant keeping"
"""The name of the plugin that has the hooks for ``--currant-keep``."""

STRICT = ("session", "always", "never")
SHOW = ("always", "failed", "never")


class Settings(NamedTuple):  # Every run of pytest imports this; a dataclass would take 1 ms more.
    """The settings of a run.

    Attributes:
        timeout: seconds that a process has to become ready.
        grace: seconds that a process has to stop.
        strict: whose death fails a test: ``"session"``, ``"always"`` or ``"never"``.
        show: when to show the last lines: ``"always"``, ``"failed"`` or ``"never"``.
        logs: the folder of the output; None: below ``tmp_path``.
        keep: whether processes go on for the next run.
        files: the files with the definitions; empty: they are searched for.
    """

    timeout: float
    grace: float
    strict: str
    show: str
    logs: str | None
    keep: bool
    files: Sequence[Path]


def add_settings(parser: pytest.Parser) -> None:
    """Add the options and the ini settings to pytest."""
    group = parser.getgroup("currant", "currant: the processes of tests")
    group.addoption(
        "--currant-logs",
        metavar="DIR",
        help="write the output of all processes into files in DIR, not below tmp_path",
    )
    group.addoption(
        "--currant-show",
        choices=SHOW,
        default="failed",
        help="when to show the last lines of the processes of a test (default: failed)",
    )
    group.addoption(
        "--currant-keep",
        action="store_true",
        help="leave the session's processes of currant.toml running for the next run, in the stack "
        "of 'currant start -d'; 'currant down' ends them",
    )
    parser.addini(
        "currant_timeout",
        "seconds that a process of a test has to become ready (default: 60)",
        default="60",
    )
    parser.addini(
        "currant_grace",
        "seconds that a process of a test has to stop before SIGKILL (default: 5)",
        default="5",
    )
    parser.addini(
        "currant_config",
        "the files with the definitions (default: the currant.toml of the root folder)",
        type="paths",
        default=[],
    )
    parser.addini(
        "currant_strict",
        "whose death fails the test that runs: session (default), always or never",
        default="session",
    )


def settings_of(config: pytest.Config) -> Settings:
    """Return the settings of a run.

    Raises:
        pytest.UsageError: an ini setting is wrong.
    """
    strict = str(config.getini("currant_strict"))
    if strict not in STRICT:
        raise pytest.UsageError(f"currant_strict must be {_listed(STRICT)}, not {strict!r}")
    return Settings(
        timeout=_seconds(config, "currant_timeout"),
        grace=_seconds(config, "currant_grace"),
        strict=strict,
        show=str(config.getoption("currant_show")),
        logs=config.getoption("currant_logs"),
        keep=bool(config.getoption("currant_keep")),
        files=config.getini("currant_config"),
    )


def _seconds(config: pytest.Config, name: str) -> float:
    text = str(config.getini(name))
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds < float("inf"):
        raise pytest.UsageError(f"{name} must be a number of seconds, not {text!r}")
    return seconds


def _listed(choices: Sequence[str]) -> str:
    return f"{', '.join(choices[:-1])} or {choices[-1]}"
