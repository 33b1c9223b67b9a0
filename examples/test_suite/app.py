"""A server of short links: PUT /name keeps the address in the body, and GET /name leads there."""

from __future__ import annotations

import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

socket = os.environ.get("REDIS_SOCKET", "redis.sock")
links = Redis(unix_socket_path=socket, decode_responses=True, retry=Retry(NoBackoff(), 1))


class Handler(BaseHTTPRequestHandler):
    """Handle one request."""

    def do_PUT(self) -> None:
        """Keep a link."""
        links.set(self.path, self.rfile.read(int(self.headers["Content-Length"])))
        self.answer(201)

    def do_GET(self) -> None:
        """Lead to the address of a link."""
        if self.path == "/health":
            self.answer(200)
        elif (address := links.get(self.path)) is None:
            self.answer(404)
        else:
            self.answer(302, str(address))

    def answer(self, status: int, location: str = "") -> None:
        """Send a response without a body."""
        self.send_response(status)
        self.send_header("Location", location)
        self.send_header("Content-Length", "0")
        self.end_headers()


if __name__ == "__main__":
    with ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler) as server:
        server.serve_forever()
