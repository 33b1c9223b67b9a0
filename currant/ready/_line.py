"""`line`: a probe that waits for a line of output."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from currant._values.checks import PATTERN_ERRORS, check_flag
from currant._values.errors import CommandError
from currant._values.line_pattern import LinePattern
from currant.ready._waiting import EventProbe

if TYPE_CHECKING:
    from currant._values.line_pattern import Lines
    from currant._values.lines import StreamName
    from currant._values.probe import LineProbe, Probe, ProbeTarget

__all__ = ["line"]


def line(
    pattern: str | bytes | re.Pattern[str] | re.Pattern[bytes],
    stream: StreamName | None = None,
    *,
    raw: bool = False,
    interval: float | None = None,
    timeout: float | None = None,
) -> Probe:
    """Return a probe that waits for a line of output that matches a regular expression.

    Wait until a server writes that it is running::

        from currant import Command, Runner, ready

        async with Runner() as runner:
            serving = ready.line("^Serving HTTP", "stdout")
            await runner.start(Command.parse("python -u -m http.server 8000", ready=serving))
            runner.kill()

    Args:
        pattern: a regular expression, searched for in each line: in the text if it is a str (UTF-8;
            U+FFFD replaces invalid bytes), in the bytes if it is bytes.  An unfinished line, such
            as a prompt, counts too.  If a line of more than 8 KiB arrives in several parts, a match
            is found if it is not longer than that.
        stream: ``"stdout"`` or ``"stderr"``; None: both.
        raw: whether escape sequences (colours, cursor movements, hyperlinks) are searched too.  By
            default they are left out, so that a pattern matches what a person reads.
        interval: no effect, because each line is checked when it arrives.
        timeout: seconds to wait; None: 60.

    Raises:
        CommandError: an argument is invalid.
    """
    try:
        compiled = re.compile(pattern)
    except (*PATTERN_ERRORS, TypeError) as error:
        raise CommandError(f"line: {pattern!r} is not a regular expression: {error}") from error
    if stream not in (None, "stdout", "stderr"):
        raise CommandError(f"line: stream must be 'stdout', 'stderr' or None, not {stream!r}")
    check_flag("line: raw", raw)
    return _Line(LinePattern(compiled, raw), stream, interval=interval, timeout=timeout)


@dataclass(frozen=True, slots=True)
class _Line(EventProbe):
    pattern: LinePattern
    stream: StreamName | None

    @property
    def line_probes(self) -> tuple[LineProbe, ...]:
        return (self,)

    async def _wait(self, subject: ProbeTarget) -> None:
        await subject.line(self)

    def _missing(self) -> str:
        return f"no line matches {self.pattern.pattern.pattern!r}"

    def found_in(self, lines: Lines, stream: StreamName) -> bool | None:
        return self.stream in (None, stream) and self.pattern.found_in(lines)
