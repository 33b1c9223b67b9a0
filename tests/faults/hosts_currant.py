"""A plain program that uses currant on many hosts: the same command on each of them.

Usage: ``python -m tests.faults.hosts_currant GRACE SSH COMMAND HOST...``.  SSH is the client.
"""

from __future__ import annotations

import sys

import anyio

from currant import Runner
from currant.hosts import Hosts, on_each, ssh


async def main(grace: float, client: str, command: str, *names: str) -> None:
    """Run the command on all hosts until it has ended everywhere."""
    hosts = Hosts(names, connect=ssh(program=client))
    async with Runner(on_each(names, command), launcher=hosts, grace=grace):
        pass


if __name__ == "__main__":
    anyio.run(main, float(sys.argv[1]), *sys.argv[2:])
