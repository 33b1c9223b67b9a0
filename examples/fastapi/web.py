"""A web API that accepts texts, and returns them when the worker has reversed them."""

from __future__ import annotations

import os

from fastapi import FastAPI, HTTPException
from redis.asyncio import Redis

app = FastAPI()
redis = Redis(unix_socket_path=os.environ["REDIS_SOCKET"], decode_responses=True)


@app.post("/texts/{name}")
async def add(name: str, text: str) -> None:
    """Put `text` into the queue of the worker."""
    await redis.hset(f"text:{name}", "given", text)
    await redis.lpush("waiting", name)


@app.get("/texts/{name}")
async def get(name: str) -> str:
    """Return the reversed text, or 404 if the worker has not reversed it yet."""
    done = await redis.hget(f"text:{name}", "done")
    if done is None:
        raise HTTPException(404, f"{name} is not done")
    return str(done)
