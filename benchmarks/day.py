"""Are memory and disk bounded, however much a stack in the background writes?

``python -m benchmarks.day`` starts a stack with `currant start -d` whose commands write 10 GB in
all: short lines, lines of 100 kB, output without a line ending, and coloured lines on stderr.
Beside them a command ends and restarts all the time, and a client follows the output and reads
nothing.  Every command has a log of its own, and the stack has one of all output.  Meanwhile this
looks at the memory (RSS) of the stack and at the size of its folder, many times a second.

It ends with an error if the memory or the disk exceeds its bound, or if the end of a command's
output is not in its log.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import anyio

from currant.stack import StackClient

LOG_SIZE = 10 << 20
FILES = 4
"""Files of each log: the newest, and three that were rotated."""

MEMORY = 128 << 20
"""Bytes: those of Python with the modules, a mebibyte for each command, and some batches."""

INTERVAL = 0.1

WRITERS = {
    "short": "yes 'GET /health 200 OK in 3 ms' | head -c {size}",
    "long": "yes \"$(head -c 100000 /dev/zero | tr '\\0' x)\" | head -c {size}",
    "endless": "head -c {size} /dev/zero | tr '\\0' y",
    "coloured": "yes \"$(printf '\\033[31merror\\033[0m: no such table')\" | head -c {size} >&2",
}

CONFIGURATION = """
log_dir = "logs"

[commands.restarts]
command = "echo again"
restart = {{ when = "always", delay = 0 }}
"""

WRITER = """
[commands.{name}]
command = '''
{script}
echo; echo end of {name}
'''
"""


class Usage:
    """The memory and the disk of a stack.

    Attributes:
        memory: the memory (RSS) at the last look, in bytes.
        most_memory: the most memory at any look.
        most_disk: the most bytes in the folder at any look.
    """

    def __init__(self, folder: Path, pid: int) -> None:
        self.memory = self.most_memory = self.most_disk = 0
        self._folder = folder
        self._pid = pid

    async def watch(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            self.look()
            await anyio.sleep(INTERVAL)

    def look(self) -> None:
        """Look now."""
        status = Path(f"/proc/{self._pid}/status").read_text()
        self.memory = int(status.partition("VmRSS:")[2].split()[0]) << 10
        self.most_memory = max(self.most_memory, self.memory)
        disk = 0
        for path, _, files in os.walk(self._folder):
            for name in files:
                with suppress(FileNotFoundError):  # It has been rotated meanwhile.
                    disk += os.lstat(os.path.join(path, name)).st_size
        self.most_disk = max(self.most_disk, disk)


def write_configuration(folder: Path, size: int) -> None:
    """Write commands that write `size` bytes in all."""
    text = CONFIGURATION.format()
    for name, script in WRITERS.items():
        text += WRITER.format(name=name, script=script.format(size=size // len(WRITERS)))
    (folder / "currant.toml").write_text(text)


async def watch_day(folder: Path) -> Usage:
    """Watch a stack until its writers have ended."""
    client = StackClient.find(str(folder))
    usage = Usage(folder, (await client.info()).pid)
    follower = await anyio.connect_unix(client.socket)
    async with follower, anyio.create_task_group() as tasks:
        await follower.send(b'{"version": 1, "request": "logs", "follow": true}\n')
        tasks.start_soon(usage.watch)
        listing = await client.wait(list(WRITERS))
        assert not listing.problems, listing.problems
        tasks.cancel_scope.cancel()
    return usage


def check(folder: Path, usage: Usage, disk: int) -> None:
    """Make sure that memory and disk were bounded, and that no log lacks its end."""
    assert usage.most_memory <= MEMORY, f"{usage.most_memory} bytes in memory"
    assert usage.most_disk <= disk, f"{usage.most_disk} bytes on the disk, more than {disk}"
    for name in WRITERS:
        log = (folder / "logs" / f"{name}.log").read_bytes()
        assert log.endswith(f"end of {name}\n".encode()), f"the log of {name} lacks its end"


def main() -> None:
    """Run a day, and print what it took."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.day")
    parser.add_argument("--bytes", type=int, default=10_000_000_000, help="written in all")
    parser.add_argument("--log-size", type=int, default=LOG_SIZE, help="bytes")
    options = parser.parse_args()
    with TemporaryDirectory(prefix="currant-day-") as temporary:
        folder = Path(temporary, "app")
        (folder / "run").mkdir(parents=True, mode=0o700)
        write_configuration(folder, options.bytes)
        os.environ |= {"XDG_RUNTIME_DIR": f"{folder}/run", "XDG_STATE_HOME": f"{folder}/state"}
        currant = [sys.executable, "-m", "currant"]
        begin = perf_counter()
        start = [*currant, "start", "-d", "--log-size", str(options.log_size)]
        try:
            subprocess.run(start, cwd=folder, check=True, stdout=subprocess.DEVNULL)
            usage = anyio.run(watch_day, folder)
            seconds = perf_counter() - begin
        finally:
            subprocess.run([*currant, "down"], cwd=folder, check=False)
        disk = (len(WRITERS) + 2) * FILES * options.log_size
        check(folder, usage, disk)
    written = options.bytes / 1e6
    most, last = usage.most_memory / 1e6, usage.memory / 1e6
    print(f"written: {written:,.0f} MB in {seconds:.1f} s, {written / seconds:.0f} MB/s")
    print(f"memory: {most:.0f} MB at most, {last:.0f} MB at the end")
    print(f"disk: {usage.most_disk / 1e6:.0f} MB at most, of {disk / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
