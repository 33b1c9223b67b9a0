"""The `exec` that the command line puts before the program of a simple line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import currant
from currant._values.shell_syntax import with_exec, without_exec


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("celery -A tasks worker", "exec celery -A tasks worker"),
        ("  npm run dev # all\t", "exec npm run dev # all"),
        ("python -m http.server $PORT", "exec python -m http.server $PORT"),
        ("A=1 B='x;y' C=$D bundle exec puma", "A=1 B='x;y' C=$D exec bundle exec puma"),
        ('"$VENV/bin/celery" worker', 'exec "$VENV/bin/celery" worker'),
        ("~/bin/serve >> log 2>&1 < in", "exec ~/bin/serve >> log 2>&1 < in"),
        ("sh -c 'a; b | c' \"&&\" \\;", "exec sh -c 'a; b | c' \"&&\" \\;"),
        ("serve \\\n --port 1", "exec serve \\\n --port 1"),
    ],
)
def test_simple_line_gets_exec(line: str, expected: str) -> None:
    """The program of a single command takes the place of the shell."""
    assert with_exec(line) == expected
    assert without_exec(expected) == line.strip()


@pytest.mark.parametrize(
    "line",
    [
        *("a | b", "a && b", "a; b", "a &", "a\nb", "(a)", "{ a; }", "! a", "f() { a; }"),
        *("if a; then b; fi", "while :; do a; done", "a <(b)", "a &> b", "time a"),
        *("a $(b)", "a `b`", 'a "$(b "c")"', "a $'\\'' ; b '", "A=`b` c", "A=$(b) c"),
        *("cd web", "echo -n a", "kill -9 1", "[ -f a ]", ". ./env/a", "exec a", "A=1 exec a"),
        *("$CMD a", "A=1", "A+=1/b c", "A=1 cd b", "2>/dev/null cd a", ">a cd b", "cd>a", "-a b"),
        *("", "# a", "it's a", 'a "b', "a \\"),
    ],
)
def test_other_line_stays_as_it_is(line: str) -> None:
    """A list, a word of the shell itself, and what is hard to read keep their shell."""
    assert with_exec(line) == line


def test_no_pattern_repeats_a_group_possessively() -> None:
    """Python before 3.11.5 goes on behind the wrong character after such a group."""
    package = Path(currant.__file__).parent
    possessive = re.compile(r"\)(?:[*+?]|\{[\d,]+\})\+")
    found = [path.name for path in package.rglob("*.py") if possessive.search(path.read_text())]
    assert found == []
