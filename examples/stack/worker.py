"""A worker that takes texts from the queue and writes them, reversed, into the database."""

from __future__ import annotations

import json
import signal
import sys

from stores import ask, queue

DONE = """INSERT INTO texts VALUES (:'name', :'done')
    ON CONFLICT (name) DO UPDATE SET done = excluded.done"""


def main() -> None:
    """Reverse the texts in the queue until the process is stopped."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(print("asked to stop")))
    waiting = queue()
    waiting.ping()
    print("ready")
    while (item := waiting.brpop(["waiting"])) is not None:  # None is for a timeout
        name, text = json.loads(item[1])
        ask(DONE, name=name, done=text[::-1])
        print("done:", name)


if __name__ == "__main__":
    main()
