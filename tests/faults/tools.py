"""The tools that run commands: currant on its event loops, and those it is measured against.

Each runs two commands and is told, in its own words, to stop the other one when one fails.
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
        name: what it is called in the report.
        argv: its command line, in which ``{subject}``, ``{other}`` and ``{folder}`` stand for the
            two commands and for the folder with a ``Procfile`` of them.
        grace: seconds that it gives commands to end before it kills them.
        grace_from: what says so.
        is_program: whether it has a scope to cancel and a body that can raise.
        is_peer: whether it is there to be compared with.
    """

    name: str
    argv: tuple[str, ...]
    grace: float
    grace_from: str
    is_program: bool = False
    is_peer: bool = True

    @property
    def settles(self) -> float:
        """Seconds that it has, once all is up, before anything happens.

        To the peers' advantage: honcho, for one, cannot deal with a signal in its first moments.
        """
        return 0.5 if self.is_peer else 0.0


def currant(backend: str, grace: float) -> Tool:
    """Return a program that uses currant on that event loop."""
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
    """Return the peer of that name; None where it is not installed.

    Args:
        name: one of `PEERS`.
        path: its program; None: look for it in the PATH.
        grace: seconds that commands get, where the peer has an option for it.
    """
    if name == "script":
        script = (sys.executable, "-m", "tests.faults.host_script", "{subject}", "{other}")
        return Tool(name, script, 0.0, "it kills at once", is_program=True)
    program = shutil.which(path or name)
    if program is None:
        return None
    milliseconds = round(grace * 1000)
    # These run a shell, and some shells stay as the parent of their last command.  To the peers'
    # advantage they are spared that process, which would catch the signals.
    commands = ("exec {subject}", "exec {other}")
    options: tuple[str, ...]
    match name:
        case "concurrently":
            options = ("--kill-others-on-fail", "--kill-timeout", str(milliseconds))
            return Tool(name, (program, *options, *commands), grace, shlex.join(options[1:]))
        case "honcho":  # it has no option for the grace, and needs none to stop the others
            options = ("start", "--procfile", "{folder}/Procfile")
            return Tool(name, (program, *options), 5.0, "its KILL_WAIT")
        case "parallel":
            steps = ("--termseq", f"TERM,{milliseconds},KILL,25")
            options = ("--will-cite", "--ungroup", "--jobs", "2", "--halt", "now,fail=1", *steps)
            lines = (":::", "{subject}", "{other}")
            return Tool(name, (program, *options, *lines), grace, shlex.join(steps))
    raise ValueError(f"no peer {name!r}; there are {', '.join(PEERS)}")
