"""Build what is sent to a host: a first program in the command line, and the files of the agent.

The first program (`currant._agent.bootstrap`) is an argument of the Python on the host, in base64,
so that no shell on the way changes it.  The program writes a mark and the version of its Python.
The driver skips all output before the mark, because a login shell may print anything.  Then the
program reads the files, and imports them from memory.

The files have no docstrings and comments, which are half of their size, and no imports for type
checkers.  They have no slots of dataclasses, which Python 3.9 does not know.  The lines keep their
numbers, for tracebacks.
"""

from __future__ import annotations

import base64
import json
import pkgutil
import re
import zlib
from functools import cache

from currant._remote.command_line import python_argv

__all__ = ["MODULES", "Greeting", "agent_argv", "files", "payload"]


MARK = b"\n\0currant agent\0\n"

MAX_NOISE = 1024 * 1024
"""The most bytes before the mark."""

KEPT_NOISE = 2000
"""The last bytes of them, which explain why no mark comes."""

MODULES = {
    "currant._agent": (
        *("frames", "hosted", "importer", "link", "main", "questions", "server", "spec"),
    ),
    "currant._process": (
        *("child", "child_group", "containment", "escapees", "exchange", "guard", "handover"),
        *("local", "local_process", "lookup", "pipes", "prefix", "spawn", "stdio", "stop", "tls"),
    ),
    "currant._system": (
        *("accounts", "cgroup", "dispositions", "file_states", "files", "forks", "groups"),
        *("identity", "listeners", "marks", "proc", "processors", "rlimits", "terminal"),
        "usage",
    ),
    "currant._values": (
        *("checks", "errors", "exchange", "exit", "http_response", "launch_spec"),
        *("shutdown_limits", "standard_files", "usage"),
    ),
}
"""The modules of the agent, by package; the ``__init__`` of a package is empty on the host."""

STAND_INS = {
    "anyio/abc.py": "from anyio import ByteReceiveStream, ByteSendStream\n",
    "anyio/lowlevel.py": "from anyio import checkpoint\n",
}
"""Modules of anyio on the host; there, `anyio` itself is `currant._agent.loop`."""

_FIRST = "import base64,sys,zlib;exec(zlib.decompress(base64.b64decode(sys.argv[1])))"


def agent_argv(python: str | None = None) -> tuple[str, ...]:
    """Return the command line that runs an agent.

    Args:
        python: the Python on the host, a name or a path; None: a script looks for one there.
    """
    program = zlib.compress(_text_of("currant._agent", "bootstrap.py").encode(), 9)
    return python_argv(python, _FIRST, base64.b64encode(program).decode())


def files() -> dict[str, str]:
    """Return the texts of the files that are sent, by their paths."""
    texts = {"currant/__init__.py": "", "anyio/__init__.py": _text_of("currant._agent", "loop.py")}
    for package, modules in MODULES.items():
        folder = package.replace(".", "/")
        texts[f"{folder}/__init__.py"] = ""
        for name in modules:
            texts[f"{folder}/{name}.py"] = _text_of(package, f"{name}.py")
    texts["currant/_process/guard.sh"] = _text_of("currant._process", "guard.sh")
    return texts | STAND_INS


@cache
def payload() -> bytes:
    """Return the bytes that the first program reads: a length, and the compressed files."""
    data = zlib.compress(json.dumps(files()).encode(), 9)
    return b"%010d" % len(data) + data


def _text_of(package: str, name: str) -> str:
    data = pkgutil.get_data(package, name)
    assert data is not None, f"the loader of {package} cannot read {name}"
    text = data.decode()
    return _WORDS.sub(_without_words, text).replace(SLOTS, "") if name.endswith(".py") else text


SLOTS = ", slots=True"
"""The argument that dataclasses of Python 3.9 do not know; the agent does not need slots."""

_WORDS = re.compile(
    r'(?P<docstring>^ *)?r?"""[\s\S]*?"""'
    r"|(?P<left_out>^ *#.*$|^if TYPE_CHECKING:\n(?:(?: +.*)?\n)+)",
    re.MULTILINE,
)
"""A docstring, another long string, a line with nothing but a comment, or imports for types."""


def _without_words(match: re.Match[str]) -> str:
    if match["left_out"] is not None:
        return "\n" * match[0].count("\n")
    if match["docstring"] is None:
        return match[0]
    return match["docstring"] + '""' + "\n" * match[0].count("\n")


NO_VERSION = "the agent does not tell its version of Python"

_VERSION = re.compile(rb"(\d{1,9})\.(\d{1,9})")


class Greeting:
    """Finds the mark in the output of a host, and the version of its Python, which follows.

    Attributes:
        version: the version; None until the host has sent it.
        rest: the bytes after the version.
    """

    def __init__(self) -> None:
        self.version: tuple[int, int] | None = None
        self.rest = b""
        self._skipped = 0

    @property
    def noise(self) -> str:
        """What the host has printed instead of a greeting."""
        return self.rest.decode(errors="replace").strip() if self.version is None else ""

    def feed(self, data: bytes) -> None:
        """Add bytes that the host has sent.

        Raises:
            ValueError: the host has sent too many bytes without a mark, or no version after it.
        """
        self.rest += data
        before, mark, behind = self.rest.partition(MARK)
        if not mark:
            self._skipped += max(0, len(before) - KEPT_NOISE)
            self.rest = before[-KEPT_NOISE:]
            if self._skipped > MAX_NOISE:
                raise ValueError("the host sends something else than an agent does")
            return
        line, newline, behind = behind.partition(b"\n")
        if newline:
            if (match := _VERSION.fullmatch(line)) is None:
                raise ValueError(NO_VERSION)
            self.version = int(match[1]), int(match[2])
            self.rest = behind
        elif len(line) > 20:
            raise ValueError(NO_VERSION)
