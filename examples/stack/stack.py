"""A database, a queue, an API and its workers in one program: python stack.py FOLDER.

Each waits for what it needs, is started again when it crashes, and is stopped before what it needs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from signal import SIGINT, SIGTERM

import anyio
from settings import INITDB, Settings, prepare

from currant import Command, Runner, ready
from currant.sinks import ConsoleSink

HERE = Path(__file__).parent


def commands(its: Settings) -> dict[str, Command]:
    """Return what is run."""
    return {
        "initdb": Command([*its.by_user, "sh", "-c", INITDB], cwd=its.database, restart="never"),
        "postgres": Command(
            [*its.by_user, "postgres", "-h", "127.0.0.1", "-k", its.database],
            cwd=its.database,
            after={"initdb": "succeeded"},
            ready=ready.command("pg_isready --quiet"),
            stop_signal=SIGINT,  # on SIGTERM it would wait until its clients have gone
            grace=30,
        ),
        "redis": Command.parse(
            f"redis-server --bind 127.0.0.1 --port {its.redis_port} --appendonly yes",
            cwd=its.queue,
            ready=ready.line("Ready to accept connections"),
        ),
        "migrate": Command.parse(
            "psql -Xqf schema.sql", cwd=HERE, after="postgres", restart="never"
        ),
        "api": Command(
            [sys.executable, HERE / "api.py"],
            after={"migrate": "succeeded", "postgres": "ready", "redis": "ready"},
            ready=ready.http(f"{its.url}/ready"),
            alive=ready.http(f"{its.url}/alive", timeout=5),
        ),
        "worker": Command(
            [sys.executable, HERE / "worker.py"],
            replicas=2,
            after="api",
            ready=ready.line("^ready$"),
        ),
    }


async def stop_when_asked(runner: Runner) -> None:
    """Stop all at Ctrl-C or SIGTERM; at the second, at once."""
    with anyio.open_signal_receiver(SIGINT, SIGTERM) as signals:
        async for number in signals:
            runner.kill(f"got {number.name}")


async def main(folder: Path) -> bool:
    """Run all of it until somebody stops it; return whether nothing has failed."""
    its = prepare(folder)
    log = ConsoleSink(texts={"started": "{name}: process {pid}", "exited": "{name}: {exit}"})
    async with (
        Runner(commands(its), restart="always", kill_others_on="failure", sinks=[log]) as runner,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(stop_when_asked, runner)
        await runner.join()
        tasks.cancel_scope.cancel()
    for name, result in runner.results.items():
        print(f"{name} {result.status}")
    return runner.results.ok


if __name__ == "__main__":
    sys.exit(not anyio.run(main, Path(sys.argv[1]).absolute()))
