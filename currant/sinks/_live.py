"""`is_live`: whether a person watches a terminal, and so wants more than plain lines.

A CI, or an agent that writes programs, may run a command on a pseudo-terminal, and keeps what it
writes as a text.  Status lines, progress bars and colours would be noise there, and nobody presses
a key.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["AGENTS", "is_dumb", "is_in_ci", "is_live"]

AGENTS = (
    "AI_AGENT",  # any: https://github.com/vercel/vercel/tree/main/packages/detect-agent
    "AGENT",  # Goose, Amp, OpenCode: https://github.com/agentsmd/agents.md/issues/136
    "CLAUDECODE",  # Claude Code: https://github.com/anthropics/claude-code/issues/531
    "CODEX_THREAD_ID",  # Codex: https://github.com/openai/codex/pull/10096
    "CURSOR_AGENT",  # Cursor: https://forum.cursor.com/t/132427
    "GEMINI_CLI",  # Gemini CLI: https://geminicli.com/docs/tools/shell
)
"""The variables that agents set for the commands that they run, and their sources."""


def is_live(environ: Mapping[str, str], *terminals: int) -> bool:
    """Return whether a person watches, on a terminal that can move its cursor.

    Args:
        environ: the environment of this program.
        terminals: the file descriptors that all have to be terminals.
    """
    is_unattended = is_in_ci(environ) or any(_is_set(environ, name) for name in AGENTS)
    return not is_unattended and not is_dumb(environ) and all(map(os.isatty, terminals))


def is_in_ci(environ: Mapping[str, str]) -> bool:
    """Return whether this program runs in continuous integration."""
    return _is_set(environ, "CI")


def is_dumb(environ: Mapping[str, str]) -> bool:
    """Return whether the terminal has neither colours nor a movable cursor."""
    return environ.get("TERM", "").lower() in ("dumb", "unknown")


def _is_set(environ: Mapping[str, str], name: str) -> bool:
    return environ.get(name, "").lower() not in ("", "0", "false")
