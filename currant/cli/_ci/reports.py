"""`Reports`: what a CI gets at the end of `currant run`, `start` and `with`.

The commands are few, so everything is written when all of them have ended, also after Ctrl-C.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from currant._values.capture import Capture
from currant.cli._ci.annotations import Annotations, is_on_github
from currant.cli._ci.result_texts import MAX_OUTPUT
from currant.cli._ci.step_summary import SummaryRow, add_to_summary, summary_text
from currant.cli._errors import OutputError, print_error
from currant.sinks._templates import line_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from currant._supervisor.runner import Runner
    from currant._values.results import Result
    from currant.cli._ci.junit import JUnitFile

__all__ = ["EndedCommand", "Reports", "captured_for", "ended_commands"]


class EndedCommand(NamedTuple):
    """A command that has ended: its line, as it is typed in a shell, and its result."""

    line: str
    result: Result


def ended_commands(runner: Runner) -> list[EndedCommand]:
    """Return the commands of a Runner that have ended, in the order given."""
    return [
        EndedCommand(line_of(runner.jobs[name].command), result)
        for name, result in runner.results.items()
    ]


def captured_for(junit: str | None) -> Capture | bool:
    """Return how much output a Runner has to keep for ``--junit``."""
    return False if junit is None else Capture(tail=MAX_OUTPUT)


class Reports:
    """The reports of one run; `close` without `write` writes nothing.

    Args:
        subcommand: the title of the reports, such as ``"currant run"``.
        junit: the path of the JUnit report; None: there is none.

    Raises:
        CommandError: when built: the JUnit report cannot be written.
    """

    def __init__(self, subcommand: str, junit: str | None) -> None:
        self._subcommand = subcommand
        self._began = monotonic()
        self._junit = None if junit is None else self._open_junit(junit)

    def _open_junit(self, path: str) -> JUnitFile:
        from currant.cli._ci.junit import JUnitFile  # noqa: PLC0415 - for --junit alone

        return JUnitFile(path, self._subcommand)

    def close(self) -> None:
        """Remove what `write` has not finished."""
        if self._junit is not None:
            self._junit.close()

    def write(self, commands: Sequence[EndedCommand], status: int) -> int:
        """Write all reports, unless no command has run; return the exit status.

        Args:
            commands: the commands.
            status: the exit status of the run.  It becomes 1 if it is 0, and the JUnit report
                cannot be written.
        """
        if not commands:
            return status
        failure = 0 if self._junit is None else self._write_junit(self._junit, commands)
        if is_on_github(os.environ):
            self._write_for_github(commands)
        return status or failure

    def _write_junit(self, report: JUnitFile, commands: Iterable[EndedCommand]) -> int:
        """Write the JUnit report; return 0, or 1 if it cannot be written."""
        try:
            for _, result in commands:
                report.add(result.command, result)
            report.finish(monotonic() - self._began)
        except OutputError as error:
            print_error(str(error))
            return 1
        return 0

    def _write_for_github(self, commands: Sequence[EndedCommand]) -> None:
        rows = [SummaryRow(result.command, result) for _, result in commands]
        add_to_summary(os.environ, summary_text(self._subcommand, _totals(rows), rows))
        annotations = Annotations(self._subcommand, "command")
        lines = [annotations.add(result.command, line, result) for line, result in commands]
        text = "".join(lines) + annotations.finish()
        if text:
            # A command that writes to the stderr of currant may have left a line unfinished.
            _write_to_stderr(f"\n{text}")


def _totals(rows: Sequence[SummaryRow]) -> str:
    """Return how many commands have ended in which way: ``2 commands: 1 succeeded, 1 failed``."""
    counts = Counter(row.result.status for row in rows)
    noun = "command" if len(rows) == 1 else "commands"
    return f"{len(rows):,} {noun}: " + ", ".join(f"{n:,} {status}" for status, n in counts.items())


def _write_to_stderr(text: str) -> None:
    """Write lines to stderr."""
    with suppress(AttributeError, OSError):  # There is no stderr, or it takes no more.
        sys.stderr.write(text)
        sys.stderr.flush()
