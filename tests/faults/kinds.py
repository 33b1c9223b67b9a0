"""The kinds of command: small shell scripts that end badly, each in a way of its own.

A script says a word once a part of it is what it is meant to be; when every word in it was said,
it is fully up.  It calls itself, with an argument, for the processes that it starts.  None of them
ever ends by itself.
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
        name: what it is called, on the command line too.
        body: what it does, in the shell's language.
    """

    name: str
    body: str

    @property
    def script(self) -> str:
        """The whole script."""
        return PRELUDE + self.body

    @property
    def words(self) -> frozenset[str]:
        """What it has said when it is fully up."""
        return frozenset(re.findall(r"\bsay (\w+)", self.body))


OTHER = Kind(
    "other",
    # The command that runs beside: it fails when it is told to, or passes on what it is told.
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
        # The leader ends when it is asked to; who does not is no child of the tool's.
        """
        case $1 in
        '') sh "$0" deaf & say leader; wait ;;
        deaf) trap '' TERM; say deaf; exec sleep 9999 ;;
        esac
        """,
    ),
    Kind(
        "setsid",
        # Out of the session and the group, with no pipe of the tool's.
        """
        case $1 in
        '') setsid sh "$0" escapee </dev/null >/dev/null 2>&1 & say leader; exec sleep 9999 ;;
        escapee) say escapee; exec sleep 9999 ;;
        esac
        """,
    ),
    Kind(
        "daemon",
        # Two forks, a new session, no open files: nothing of it leads back to the tool.
        """
        case $1 in
        '') (setsid sh "$0" daemon &); say leader; exec sleep 9999 ;;
        daemon) exec <&- >&- 2>&-; say daemon; exec sleep 9999 ;;
        esac
        """,
    ),
    Kind(
        "stopped",
        # It gets no signal but SIGKILL until it is continued.  Proc(5) tells when it has stopped.
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
        # A process number is stale as soon as it is read, of the loop's children and of the chain,
        # in which each link starts the next one and ends.
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
