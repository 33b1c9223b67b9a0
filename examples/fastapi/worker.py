"""Deals with one text after the other."""

from __future__ import annotations

import os

from redis import Redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry


def main() -> None:
    """Take texts from the list until somebody ends the program."""
    # All processes are started at once, so the database may not be there yet.
    patience = Retry(ConstantBackoff(0.1), retries=100)
    redis = Redis(
        unix_socket_path=os.environ["REDIS_SOCKET"],
        decode_responses=True,
        retry=patience,
        socket_timeout=None,  # there may be nothing to do for long
    )
    redis.ping()
    print("ready")
    while True:
        _, name = redis.brpop(["waiting"])
        text = redis.hget(f"text:{name}", "given")
        redis.hset(f"text:{name}", "done", text[::-1])
        print("done:", name)


if __name__ == "__main__":
    main()
