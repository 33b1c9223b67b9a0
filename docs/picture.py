"""Draw the picture in the README from a real run on a terminal: python docs/picture.py."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import termios
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

COLUMNS, ROWS = 92, 40

COMMANDS = {
    "web": "python3 -m http.server 8000 --bind 127.0.0.1",
    "client": """
        until curl -sf -o page localhost:8000; do sleep 0.1; done
        echo first page is there
        curl -s -o page -w '%{http_code}\n' localhost:8000/missing
        sleep 60
    """,
    "tests": r"""
        sleep 1
        echo 'test_login   ok'
        printf 'test_logout  \033[31mFAILED\033[0m\n'
        exit 1
    """,
}

TYPED = """$ currant run --kill-others-on failure --summary --names web,client,tests \\
      'python3 -m http.server 8000' ./client.sh ./tests.sh"""


def main() -> None:
    """Run the commands on a terminal, and draw its screen."""
    console = Console(record=True, width=COLUMNS, file=StringIO())
    console.print(Text(TYPED, "bold"), highlight=False)
    console.print(Text.from_ansi(_shown()), highlight=False)
    # The picture must not load fonts from another server.
    form = re.sub(r"<!--.*?-->|@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    form = form.replace("Fira Code, ", "")
    svg = console.export_svg(title="currant", code_format=form, unique_id="currant")
    Path(__file__).with_name("terminal.svg").write_text(svg)


def _shown() -> str:
    """Return the output that the terminal receives."""
    options = ["--kill-others-on", "failure", "--summary", "--names", ",".join(COMMANDS)]
    ours, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (ROWS, COLUMNS))
    with TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [sys.executable, "-m", "currant", "run", *options, *COMMANDS.values()],
            stdout=terminal,
            stderr=terminal,
            cwd=folder,
            env={**os.environ, "TERM": "xterm-256color"},
        )
        os.close(terminal)
        shown = b""
        while data := _read(ours):
            shown += data
        process.wait()
    os.close(ours)
    return shown.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # EIO: every process has closed the other end.
        return b""


if __name__ == "__main__":
    main()
