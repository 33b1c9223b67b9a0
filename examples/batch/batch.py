"""Estimate pi on all hosts of the file `hosts`.  python batch.py SSH; SSH is ssh, or ./here."""

from __future__ import annotations

import sys

import anyio

import currant
from currant.hosts import Hosts, ssh

SEEDS, POINTS = range(1, 9), 100_000


async def main(program: str) -> None:
    """Run a command for each seed; a command that fails runs again on another host."""
    hosts = Hosts.from_file(
        "hosts", connect=ssh(program=program), retry_elsewhere=True, forward_env=["BAD_HOST"]
    )
    command = ["python3", "pi.py", "{}", str(POINTS)]
    points = inside = 0
    async with currant.map(command, SEEDS, launcher=hosts, retries=2) as results:
        async for seed, result in results:
            if result.status == "succeeded":
                host = result.host or "this machine"
                print(f"seed {seed}: {result.text.strip()} on {host}, attempt {result.attempts}")
                points += POINTS
                inside += int(result.text)
            else:
                print(f"seed {seed}: {currant.CommandFailed(result)}")
    if points:
        print("pi is about", 4 * inside / points)


if __name__ == "__main__":
    anyio.run(main, sys.argv[1] if len(sys.argv) > 1 else "ssh")
