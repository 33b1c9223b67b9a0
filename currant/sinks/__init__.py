"""Sinks: where output goes without anybody iterating over the Runner.

A sink is an async callable over a stream of messages; each has its own subscription, and `join`
waits for it.  What a sink writes to may be slow (a terminal, a pipe, a disk), so each of these
works in a thread: the event loop goes on.  What arrives in the meantime piles up, as far as the
subscription's buffer reaches, and is written in one go; what does not fit holds the commands up.

To read the package: `_piles` is what all sinks share, `_files` is how bytes get into a file, and
`_presenter` (with `_labels`, `_sheet`, `_colors`) makes of messages what a person reads.
"""

from currant._channel.feed import SinkAttribute
from currant.sinks._console import ConsoleSink
from currant.sinks._directory import DirectorySink
from currant.sinks._json import JSONSink
from currant.sinks._logging import LoggingSink
from currant.sinks._writer import WriterSink

__all__ = [
    "ConsoleSink",
    "DirectorySink",
    "JSONSink",
    "LoggingSink",
    "SinkAttribute",
    "WriterSink",
]
