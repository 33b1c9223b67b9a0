"""An agent: a loop in which a model calls the tools until it has an answer."""

from __future__ import annotations

import sys
from typing import Any

import anyio
from tools import Tools

from currant import Runner

PORT = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
SERVE = f"python3 -um http.server --bind 127.0.0.1 {PORT}"
GET = f"from urllib.request import urlopen; print(urlopen('http://127.0.0.1:{PORT}').status)"
SCRIPT: list[tuple[str, dict[str, Any]] | str] = [
    ("start", {"name": "site", "line": SERVE, "port": PORT}),
    ("run", {"line": f'python3 -c "{GET}"'}),
    ("output", {"name": "site"}),
    ("run", {"line": "echo testing; sleep 600", "seconds": 1}),
    ("stop", {"name": "sight"}),
    ("stop", {"name": "site"}),
    "The site works.",
]


async def model(answers: list[str]) -> tuple[str, dict[str, Any]] | str:
    """Return the next call, or the last words.  A real agent asks a language model here."""
    return SCRIPT[len(answers)]


async def main() -> None:
    """Let the model call the tools.  All commands end with the block, however it is left."""
    answers: list[str] = []
    async with Runner(keep_open=True, on_exit="stop", iterable=False) as runner:
        tools = Tools(runner).by_name
        while isinstance(call := await model(answers), tuple):
            name, arguments = call
            print(">", name, arguments)
            try:
                answers.append(await tools[name](**arguments))
            except (KeyError, TypeError) as error:
                answers.append(f"error: no such tool or argument: {error}")
            print(answers[-1])
    print(call)


if __name__ == "__main__":
    anyio.run(main)
