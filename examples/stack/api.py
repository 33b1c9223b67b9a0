"""Takes texts in, and gives them out when a worker has dealt with them."""

from __future__ import annotations

import json
import os
import signal
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from stores import ask, queue


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    def do_POST(self) -> None:
        """Leave the text in the body to a worker."""
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        queue().lpush("waiting", json.dumps([self.path, text]))
        self.answer(HTTPStatus.ACCEPTED)

    def do_GET(self) -> None:
        """Return what a worker made of a text, or how this server is."""
        if self.path == "/alive":  # says nothing of others: starting this one again helps none
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
        """Send `text`."""
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Say nothing of each request."""


def main() -> None:
    """Serve until somebody ends the program."""
    with ThreadingHTTPServer(("127.0.0.1", int(os.environ["API_PORT"])), Handler) as server:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(print("asked to stop")))
        print("Serving on http://{}:{}".format(*server.server_address))
        server.serve_forever()


if __name__ == "__main__":
    main()
