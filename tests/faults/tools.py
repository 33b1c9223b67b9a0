"""The tools that run commands: currant on its event loops, and the peers to compare it with.

Each tool runs two commands; its options say to stop the other command if one fails.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from dataclasses import dataclass

__all__ = ["PEERS", "Tool", "currant", "peer"]

PEERS = ("script", "concurrently", "honcho", "parallel")


@dataclass(frozen=True, slots=True)
class Tool:
    """A program that runs commands.

    Attributes:
        name: its name in the report.
        argv: its command line; ``{subject}``, ``{other}`` and ``{folder}`` are replaced by the two
            commands and by the folder with their ``Procfile``.
        grace: seconds between its request to stop and its SIGKILL.
        grace_from: the option or constant that sets the grace.
        is_program: whether it has a scope to cancel and a body that can raise.
        is_peer: whether currant is compared with it.
    """

    name: str
    argv: tuple[str, ...]
    grace: float
    grace_from: str
    is_program: bool = False
    is_peer: bool = True

    @property
    def settles(self) -> float:
        """Seconds to wait after all commands are up, before the event.

        This favours the peers: honcho, for example, cannot handle a signal right after its start.
        """
        return 0.5 if self.is_peer else 0.0


def currant(backend: str, grace: float) -> Tool:
    """Return a program that uses currant on the event loop `backend`."""
    program = (sys.executable, "-m", "tests.faults.host_currant", backend, str(grace))
    return Tool(
        f"currant, {backend}",
        (*program, "{subject}", "{other}"),
        grace,
        f"Runner(grace={grace:g})",
        is_program=True,
        is_peer=False,
    )


def peer(name: str, path: str | None, grace: float) -> Tool | None:
    """Return the peer of that name; None if it is not installed.

    Args:
        name: one of `PEERS`.
        path: the path of its program; None: look in PATH.
        grace: the grace in seconds, if the peer has an option for it.
    """
    if name == "script":
        script = (sys.executable, "-m", "tests.faults.host_script", "{subject}", "{other}")
        return Tool(name, script, 0.0, "kills at once", is_program=True)
    program = shutil.which(path or name)
    if program is None:
        return None
    milliseconds = round(grace * 1000)
    # These peers run each command in a shell, and some shells stay as the parent of their last
    # command and would catch the signals.  ``exec`` avoids that process, which favours the peers.
    commands = ("exec {subject}", "exec {other}")
    options: tuple[str, ...]
    match name:
        case "concurrently":
            options = ("--kill-others-on-fail", "--kill-timeout", str(milliseconds))
            return Tool(name, (program, *options, *commands), grace, shlex.join(options[1:]))
        case "honcho":  # It has no option for the grace, and always stops the others.
            options = ("start", "--procfile", "{folder}/Procfile")
            return Tool(name, (program, *options), 5.0, "its KILL_WAIT")
        case "parallel":
            steps = ("--termseq", f"TERM,{milliseconds},KILL,25")
            options = ("--will-cite", "--ungroup", "--jobs", "2", "--halt", "now,fail=1", *steps)
            lines = (":::", "{subject}", "{other}")
            return Tool(name, (program, *options, *lines), grace, shlex.join(steps))
    raise ValueError(f"no peer {name!r}; there are {', '.join(PEERS)}")
