"""A plain program that uses currant on many hosts: the same command on each of them.

Usage: ``python -m tests.faults.hosts_currant GRACE COMMAND HOST...``.
"""

from __future__ import annotations

import sys

import anyio

from currant import Runner
from currant.hosts import Hosts, on_each


async def main(grace: float, *words: str) -> None:
    """Run the command, the first word, on all hosts until it has ended everywhere."""
    command, *names = words
    hosts = Hosts(names)
    async with Runner(on_each(names, command), launcher=hosts, grace=grace):
        pass


if __name__ == "__main__":
    anyio.run(main, float(sys.argv[1]), *sys.argv[2:])
