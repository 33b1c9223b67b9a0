"""The first program of an agent, which ``python -c`` runs on the host.

The program reports the version of its Python, receives the files of the agent, and starts the
agent.  The program must compile in every Python 3.

A link may fall silent before the driver has greeted the agent.  The end of such a link may take
hours to arrive, and the agent does not know yet which silence to accept.  So SIGALRM ends this
process, unless the driver greets the agent in time.
"""

import os
import signal
import sys

GREETING_LIMIT = 60
"""Seconds in which the driver has to greet the agent; more than it waits for an answer."""


def _read(count: int) -> bytes:
    data = b""
    while len(data) < count:
        chunk = os.read(0, count - len(data))
        if not chunk:
            sys.exit()
        data += chunk
    return data


def _main() -> None:
    signal.alarm(GREETING_LIMIT)
    version = "%d.%d\n" % sys.version_info[:2]  # noqa: UP031 - Python 3.5 has no f-strings
    os.write(1, b"\n\0currant agent\0\n" + version.encode("ascii"))
    if sys.version_info < (3, 9):  # noqa: UP036 - the host's Python may be any
        sys.exit()
    import json  # noqa: PLC0415 - only a Python that is new enough needs it
    import zlib  # noqa: PLC0415

    files = json.loads(zlib.decompress(_read(int(_read(10)))))
    names = {"__name__": "currant_importer"}
    exec(files["currant/_agent/importer.py"], names)  # noqa: S102 - that is the purpose
    names["start"](files)  # type: ignore[operator]  # pyright: ignore[reportCallIssue]


if __name__ == "__main__":
    _main()
