"""Where the stack's servers listen and keep their data, and how they are told."""

from __future__ import annotations

import os
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

__all__ = ["INITDB", "Settings", "prepare"]

INITDB = """test -e "$PGDATA" || {
    rm -rf "$PGDATA.new" &&
    initdb -D "$PGDATA.new" -U "$PGUSER" --auth=trust --encoding=UTF8 --no-locale &&
    mv "$PGDATA.new" "$PGDATA"
}"""
"""A shell's words that make the database, unless it is there: whole, or not at all."""


@dataclass(frozen=True)
class Settings:
    """What the commands are made of.

    Attributes:
        by_user: what makes a command another user's, where we are root: PostgreSQL refuses root.
        database, queue: the folders of PostgreSQL and Redis.
        redis_port: where Redis listens.
        url: where the API listens.
    """

    by_user: tuple[str, ...]
    database: Path
    queue: Path
    redis_port: str
    url: str


def prepare(folder: Path) -> Settings:
    """Choose free ports, make the folders in `folder`, and set what all commands inherit."""
    postgres, redis, api = (str(free_port()) for _ in range(3))
    database, queue = folder / "postgres", folder / "redis"
    for each in (database, queue):
        each.mkdir(mode=0o700, parents=True, exist_ok=True)
    by_user = ()
    if os.geteuid() == 0:
        shutil.chown(database, "postgres", "postgres")
        by_user = ("setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--")
    # Debian keeps the programs of PostgreSQL out of PATH.
    path = (*map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:]), os.environ["PATH"])
    os.environ.update(
        PATH=os.pathsep.join(path),
        PYTHONUNBUFFERED="1",
        PGDATA=str(database / "data"),
        PGHOST="127.0.0.1",
        PGPORT=postgres,
        PGUSER="postgres",
        PGDATABASE="postgres",
        REDIS_PORT=redis,
        API_PORT=api,
    )
    return Settings(by_user, database, queue, redis, f"http://127.0.0.1:{api}")


def free_port() -> int:
    """Return the number of a port of this machine that nobody has at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port
