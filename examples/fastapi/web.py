"""Takes texts in, and gives them out when the worker has dealt with them."""

from __future__ import annotations

import os

from fastapi import FastAPI, HTTPException
from redis.asyncio import Redis

app = FastAPI()
redis = Redis(unix_socket_path=os.environ["REDIS_SOCKET"], decode_responses=True)


@app.post("/texts/{name}")
async def add(name: str, text: str) -> None:
    """Leave `text` to the worker."""
    await redis.hset(f"text:{name}", "given", text)
    await redis.lpush("waiting", name)


@app.get("/texts/{name}")
async def get(name: str) -> str:
    """Return what the worker made of it."""
    done = await redis.hget(f"text:{name}", "done")
    if done is None:
        raise HTTPException(404, f"{name} is not done")
    return done
