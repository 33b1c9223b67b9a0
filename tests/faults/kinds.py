"""The kinds of command: small shell scripts, each hard to stop in a different way.

A script writes a word as soon as one of its processes is up; when all of its words are written, the
command is up.  To start another process, a script runs itself with an argument.  None of the
processes exits by itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["KINDS", "OTHER", "Kind"]

PRELUDE = """say() { echo "$1" >"$FAULTS_UP"; }
"""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of command.

    Attributes:
        name: its name in the report and on the command line.
        body: the shell script, without the definition of ``say``.
    """

    name: str
    body: str

    @property
    def script(self) -> str:
        """The complete shell script."""
        return PRELUDE + self.body

    @property
    def words(self) -> frozenset[str]:
        """The words that the command has written when it is up."""
        return frozenset(re.findall(r"\bsay (\w+)", self.body))


OTHER = Kind(
    "other",
    # The second command of each cell: on ``fail`` it exits with 3; it prints any other word.
    """
    say other
    read -r word <"$FAULTS_TRIGGER"
    if [ "$word" = fail ]; then exit 3; fi
    echo "$word"
    exec sleep 9999
    """,
)

_KINDS = (
    Kind(
        "plain",
        """
        say leader
        exec sleep 9999
        """,
    ),
    Kind(
        "ignores signals",
        """
        trap '' TERM INT HUP
        say leader
        exec sleep 9999
        """,
    ),
    Kind(
        "grandchildren",
        """
        case $1 in
        '') sh "$0" child & say leader; wait ;;
        child) sh "$0" grandchild & say child; wait ;;
        grandchild) say grandchild; exec sleep 9999 ;;
        esac
        """,
    ),
    Kind(
        "deaf grandchild",
        # The leader exits on SIGTERM; its child, which the tool does not know, ignores the signal.
        """
        case $1 in
        '') sh "$0" deaf & say leader; wait ;;
        deaf) trap '' TERM; say deaf; exec sleep 9999 ;;
        esac
        """,
    ),
    Kind(
        "setsid",
        # The escapee has left the session and the group, and holds no pipe of the tool.
        """
        case $1 in
        '') setsid sh "$0" escapee </dev/null >/dev/null 2>&1 & say leader; exec sleep 9999 ;;
        escapee) say escapee; exec sleep 9999 ;;
        esac
        """,
    ),
    Kind(
        "daemon",
        # Two forks, a new session and no open files: the daemon has no link back to the tool.
        """
        case $1 in
        '') (setsid sh "$0" daemon &); say leader; exec sleep 9999 ;;
        daemon) exec <&- >&- 2>&-; say daemon; exec sleep 9999 ;;
        esac
        """,
    ),
    Kind(
        "stopped",
        # A stopped process gets no signal but SIGKILL until it is continued.  The watcher reads
        # its state in proc(5).
        """
        case $1 in
        '') sh "$0" watch $$ & kill -STOP $$; exec sleep 9999 ;;
        watch) until read -r _ _ state _ <"/proc/$2/stat" && [ "$state" = T ]; do :; done
               say stopped ;;
        esac
        """,
    ),
    Kind(
        "endless output",
        """
        say leader
        exec yes 'a line of output, as long as such lines are, and there is no end of them'
        """,
    ),
    Kind(
        "fork loop",
        # PIDs become stale as soon as they are read: the loop starts short-lived children, and each
        # link of the chain starts the next link and exits.
        """
        case $1 in
        '') sh "$0" chain & say leader; while :; do sleep 0.02; done ;;
        chain) say chain; sleep 0.02; sh "$0" link & ;;
        link) sleep 0.02; sh "$0" link & ;;
        esac
        """,
    ),
)

KINDS = {kind.name: kind for kind in _KINDS}
"""All kinds by name."""
