"""Options of concurrently, foreman, honcho and overmind that have another name here."""

from __future__ import annotations

__all__ = ["advice_on"]

_KILL_FAILURE = "--kill-others-on failure"
_SECONDS = "the number is in seconds"

_INSTEAD = {
    "--handle-input": "--interactive NAME",
    "--default-input-target": "--interactive NAME",
    "--kill-others": "--kill-others-on exit",
    "--kill-others-on-fail": _KILL_FAILURE,
    "--kill-signal": "--stop-signal",
    "--kill-timeout": f"--grace; {_SECONDS}",
    "--timeout": f"--grace; {_SECONDS}",
    "--shutdown-timeout": f"--grace; {_SECONDS}",
    "-t": f"--grace (foreman, overmind; {_SECONDS}) or --timestamps (concurrently)",
    "--restart-tries": "--restart on-failure --max-restarts N",
    "--restart-after": f"--restart-delay; {_SECONDS}",
    "--auto-restart": "--restart always",
    "--prefix-colors": "--colors",
    "--timestamp": "--timestamps",
    "--timestamp-format": "--prefix '{time:%H:%M:%S} {name} | '",
    "--no-color": "--color never",
    "--no-colour": "--color never",
    "--no-prefix": "--prefix none",
    "--root": "--cwd",
    "--app-root": "--cwd",
    "-d": "--cwd",
    "-l": "the names as arguments: currant start web worker",
    "--processes": "the names as arguments: currant start web worker",
    "--ignored-processes": "--formation all=1,NAME=0",
    "--can-die": _KILL_FAILURE,
    "--any-can-die": _KILL_FAILURE,
}


def advice_on(option: str) -> str:
    """Return advice on an unknown option; empty if there is none."""
    instead = _INSTEAD.get(option)
    return "" if instead is None else f" Use {instead}."
