"""A database, a queue, an API and its workers in one program: python stack.py FOLDER.

Each command waits for the commands that it needs, stops before them, and restarts after a crash.
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


def commands(settings: Settings) -> dict[str, Command]:
    """Return the commands of the stack by name."""
    return {
        "initdb": Command(
            [*settings.as_user, "sh", "-c", INITDB], cwd=settings.database, restart="never"
        ),
        "postgres": Command(
            [*settings.as_user, "postgres", "-h", "127.0.0.1", "-k", settings.database],
            cwd=settings.database,
            after={"initdb": "succeeded"},
            ready=ready.command("pg_isready --quiet"),
            stop_signal=SIGINT,  # On SIGTERM, PostgreSQL waits until its clients disconnect.
            grace=30,
        ),
        "redis": Command.parse(
            f"redis-server --bind 127.0.0.1 --port {settings.redis_port} --appendonly yes",
            cwd=settings.queue,
            ready=ready.line("Ready to accept connections"),
        ),
        "migrate": Command.parse(
            "psql -Xqf schema.sql", cwd=HERE, after="postgres", restart="never"
        ),
        "api": Command(
            [sys.executable, HERE / "api.py"],
            after={"migrate": "succeeded", "postgres": "ready", "redis": "ready"},
            ready=ready.http(f"{settings.url}/ready"),
            alive=ready.http(f"{settings.url}/alive", timeout=5),
        ),
        "worker": Command(
            [sys.executable, HERE / "worker.py"],
            replicas=2,
            after="api",
            ready=ready.line("^ready$"),
        ),
    }


async def stop_on_signal(runner: Runner) -> None:
    """Stop all commands on Ctrl-C or SIGTERM; kill them on the second signal."""
    with anyio.open_signal_receiver(SIGINT, SIGTERM) as signals:
        async for number in signals:
            runner.kill(f"got {number.name}")


async def main(folder: Path) -> bool:
    """Run the stack until it is stopped; return whether no command failed."""
    stack = commands(prepare(folder))
    log = ConsoleSink(texts={"started": "{name}: process {pid}", "exited": "{name}: {exit}"})
    async with (
        Runner(stack, restart="always", kill_others_on="failure", sinks=[log]) as runner,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(stop_on_signal, runner)
        await runner.join()
        tasks.cancel_scope.cancel()
    for name, result in runner.results.items():
        print(f"{name} {result.status}")
    return runner.results.ok


if __name__ == "__main__":
    sys.exit(not anyio.run(main, Path(sys.argv[1]).absolute()))
