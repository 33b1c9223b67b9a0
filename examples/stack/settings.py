"""The ports and data folders of the stack, and the environment that its commands inherit."""

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
"""A shell script that creates the database if it does not exist, completely or not at all."""


@dataclass(frozen=True)
class Settings:
    """The values that the commands are built from.

    Attributes:
        as_user: a prefix that runs a command as another user if this program runs as root,
            because PostgreSQL refuses to run as root; otherwise empty.
        database: the folder of PostgreSQL.
        queue: the folder of Redis.
        redis_port: the port of Redis.
        url: the URL of the API.
    """

    as_user: tuple[str, ...]
    database: Path
    queue: Path
    redis_port: str
    url: str


def prepare(folder: Path) -> Settings:
    """Choose free ports, create the data folders, and set the environment of the commands."""
    postgres, redis, api = (str(free_port()) for _ in range(3))
    database, queue = folder / "postgres", folder / "redis"
    for each in (database, queue):
        each.mkdir(mode=0o700, parents=True, exist_ok=True)
    as_user: tuple[str, ...] = ()
    if os.geteuid() == 0:
        shutil.chown(database, "postgres", "postgres")
        as_user = ("setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--")
    # Debian does not put the programs of PostgreSQL into PATH.
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
    return Settings(as_user, database, queue, redis, f"http://127.0.0.1:{api}")


def free_port() -> int:
    """Return a port of this machine that no process uses at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port
