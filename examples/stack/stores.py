"""Access to the queue and the database, for the API and its workers."""

from __future__ import annotations

import os
import subprocess

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry


def queue() -> Redis:
    """Return a connection to the queue.

    It does not reconnect: a process that loses the queue exits, and currant restarts it.  It has no
    timeout, because the queue may stay empty for a long time.
    """
    return Redis(
        port=int(os.environ["REDIS_PORT"]),
        decode_responses=True,
        retry=Retry(NoBackoff(), 0),
        single_connection_client=True,
        socket_timeout=None,
    )


def ask(query: str, **values: str) -> str:
    """Run a query and return its output; psql finds the database by PGHOST and PGPORT.

    Raises:
        subprocess.CalledProcessError: the database does not answer, or the query is wrong.
    """
    given = [f"--set={name}={value}" for name, value in values.items()]
    argv = ["psql", "-X", "-q", "-A", "-t", "--set=ON_ERROR_STOP=1", *given]
    return subprocess.run(argv, input=query, check=True, text=True, capture_output=True).stdout
