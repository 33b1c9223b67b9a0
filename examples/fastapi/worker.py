"""A worker that takes texts from a queue and reverses them."""

from __future__ import annotations

import os

from redis import Redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry


def main() -> None:
    """Reverse the texts in the queue until the process is stopped."""
    # All processes start at the same time, so the database may not be up yet.
    retry = Retry(ConstantBackoff(0.1), retries=100)
    redis = Redis(
        unix_socket_path=os.environ["REDIS_SOCKET"],
        decode_responses=True,
        retry=retry,
        socket_timeout=None,  # The queue may stay empty for a long time.
    )
    redis.ping()
    print("ready")
    while (item := redis.brpop(["waiting"])) is not None:  # None is for a timeout
        name = str(item[1])
        text = str(redis.hget(f"text:{name}", "given"))
        redis.hset(f"text:{name}", "done", text[::-1])
        print("done:", name)


if __name__ == "__main__":
    main()
