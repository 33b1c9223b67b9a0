"""An HTTP API that accepts texts, and returns them when a worker has reversed them."""

from __future__ import annotations

import json
import os
import signal
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from stores import ask, queue


class Handler(BaseHTTPRequestHandler):
    """Handle one request."""

    def do_POST(self) -> None:
        """Put the text in the body into the queue of the workers."""
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        queue().lpush("waiting", json.dumps([self.path, text]))
        self.answer(HTTPStatus.ACCEPTED)

    def do_GET(self) -> None:
        """Return a reversed text, or the state of this server."""
        # Liveness ignores the database and the queue: restarting this server would not repair them.
        if self.path == "/alive":
            self.answer(HTTPStatus.OK)
        elif self.path == "/ready":
            try:
                queue().ping()
                ask("SELECT FROM texts LIMIT 1")
            except Exception as error:
                self.answer(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
            else:
                self.answer(HTTPStatus.OK)
        else:
            done = ask("SELECT done FROM texts WHERE name = :'name'", name=self.path)
            self.answer(HTTPStatus.OK if done else HTTPStatus.NOT_FOUND, done.rstrip("\n"))

    def answer(self, status: HTTPStatus, text: str = "") -> None:
        """Send a response with `text` as its body."""
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
        """Log nothing for a request."""


def main() -> None:
    """Serve requests until the process is stopped."""
    with ThreadingHTTPServer(("127.0.0.1", int(os.environ["API_PORT"])), Handler) as server:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(print("asked to stop")))
        print("Serving on http://{}:{}".format(*server.server_address))
        server.serve_forever()


if __name__ == "__main__":
    main()
