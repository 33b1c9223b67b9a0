"""From a trace to a page: what ``currant report`` shows.

Pure, with the standard library alone.  The way of the data:

1. `_trace` reads the file of a `TraceSink`, one event after the other.
2. `_report` turns the events into a `Report`: rows, marks, links and counters.
3. `_critical_path` finds the chain of commands that waited for one another and ended last.
4. `_page` writes one HTML file with the report as JSON in it.

The page is made of `page.html`, `page.css` and five scripts.  `report.js` reads the JSON, `axis.js`
has the times that are shown, `timeline.js` draws, `table.js` has the table of results, and
`page.js` connects them with the filter and the details.  No script needs a framework or a build
step; each is a plain script in the page, and declares its names at the top level.
"""

from __future__ import annotations

from currant._timeline._page import write_page
from currant._timeline._report import Report, read_report
from currant._timeline._trace import TraceError

__all__ = ["Report", "TraceError", "read_report", "write_page"]
