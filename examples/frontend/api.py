"""The API: counts the visits of the page in redis."""

from __future__ import annotations

from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

TEXT = "You are visitor number"
redis = Redis(unix_socket_path="redis.sock")


async def health(_: Request) -> JSONResponse:
    """Return whether the database answers."""
    return JSONResponse(await redis.ping())


async def visit(_: Request) -> JSONResponse:
    """Count a visit, and return the text of the page."""
    return JSONResponse(f"{TEXT} {await redis.incr('visits')}.")


# The page comes from the server of the front end, which is another origin.
app = Starlette(
    routes=[Route("/health", health), Route("/visits", visit, methods=["POST"])],
    middleware=[Middleware(CORSMiddleware, allow_origins=["*"])],
)
