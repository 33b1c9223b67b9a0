"""The two places where the API and its workers keep things."""

from __future__ import annotations

import os
import subprocess

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry


def queue() -> Redis:
    """Return the queue.  Who loses it ends, and is started again; who waits may wait for long."""
    return Redis(
        port=int(os.environ["REDIS_PORT"]),
        decode_responses=True,
        retry=Retry(NoBackoff(), 0),
        single_connection_client=True,
        socket_timeout=None,
    )


def ask(query: str, **values: str) -> str:
    """Return what the database answers; psql finds it by the variables PGHOST and PGPORT.

    Raises:
        subprocess.CalledProcessError: it does not answer, or the query is wrong.
    """
    given = [f"--set={name}={value}" for name, value in values.items()]
    argv = ["psql", "-X", "-q", "-A", "-t", "--set=ON_ERROR_STOP=1", *given]
    return subprocess.run(argv, input=query, check=True, text=True, capture_output=True).stdout
