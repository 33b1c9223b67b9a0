"""Test shortcuts for scripts of package.json, placeholders, ``--teardown`` and ``--timings``."""

from __future__ import annotations

import json
import re
import signal
from typing import TYPE_CHECKING

import pytest

from currant import CommandError
from currant.cli._prepare.scripts import expand_scripts, fill_placeholders
from tests.waiting import TRAPS_SIGNALS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.clis import Run, Start
    from tests.lifeline import Lifeline

TIME = re.compile(r"\d\d:\d\d:\d\d\.\d{3}")

SCRIPTS = ["watch:js", "watch:css", "watch:fix", "build", "a b"]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Return a folder inside a package."""
    scripts = {name: f"echo {name}" for name in SCRIPTS}
    (tmp_path / "package.json").write_text(json.dumps({"scripts": scripts}))
    (tmp_path / "src").mkdir()
    return tmp_path / "src"


@pytest.mark.parametrize(
    ("line", "expanded"),
    [
        ("npm:build", ["npm run build"]),
        (" pnpm:build -- --watch ", ["pnpm run build -- --watch"]),
        ("node:build", ["node --run build"]),
        ("yarn:tsc", ["yarn run tsc"]),
        ("bun:*:js", ["bun run watch:js"]),
        ("npm:watch:* -q", [f"npm run watch:{name} -q" for name in ("js", "css", "fix")]),
        ("npm:watch:*(!fix|css)", ["npm run watch:js"]),
        ("npm:a*", ["npm run 'a b'"]),
        ("npm run build", ["npm run build"]),
        ("echo npm:build", ["echo npm:build"]),
    ],
)
def test_shortcut_stands_for_scripts_of_the_nearest_package(
    package: Path, line: str, expanded: list[str]
) -> None:
    """A wildcard is each script that fits, in the order of the file; arguments follow each."""
    assert expand_scripts(["first", line, "last"], str(package)) == ["first", *expanded, "last"]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("npm:biuld", "has no script 'biuld'; did you mean 'build'?"),
        ("yarn:test:*", "no script of .*package.json fits; there are: 'watch:js'"),
        ("npm:*(!()", "npm:*(!(): '(' is not a regular expression"),
        ("npm:*(!a{9999999999})", "is not a regular expression: the repetition number"),
    ],
)
def test_script_that_does_not_exist_is_an_error(package: Path, line: str, text: str) -> None:
    """The error names the shortcut, the file and the scripts that there are."""
    with pytest.raises(CommandError, match=text if ".*" in text else re.escape(text)):
        expand_scripts([line], str(package))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"{", "is not JSON"),
        (b"[]", "has no script 'build'$"),
        (b'{"scripts": 3}', "has no script 'build'$"),
    ],
)
def test_package_that_cannot_be_read_is_an_error(tmp_path: Path, content: bytes, text: str) -> None:
    """The error names the file."""
    (tmp_path / "package.json").write_bytes(content)
    with pytest.raises(CommandError, match=f"npm:build: .*package.json.*{text}"):
        expand_scripts(["npm:build"], str(tmp_path))


def test_missing_package_is_an_error(tmp_path: Path) -> None:
    """The search ends at the root."""
    with pytest.raises(CommandError, match=r"there is no package\.json in"):
        expand_scripts(["npm:build"], str(tmp_path))


@pytest.mark.parametrize(
    ("line", "filled"),
    [
        ("a {1} {2} {3}", "a x 'y z' "),
        ("a {@}", "a x 'y z'"),
        ("a {*}", "a 'x y z'"),
        (r"a \{1} {0} {} {1}", "a {1} {0} {} x"),
    ],
)
def test_placeholders_are_filled_with_quoted_arguments(line: str, filled: str) -> None:
    """A number without an argument is empty, and a backslash keeps the braces."""
    assert fill_placeholders([line], ["x", "y z"]) == [filled]


def test_braces_have_no_meaning_without_dashes() -> None:
    """Without ``--`` a line stays as it is, and without arguments placeholders are empty."""
    assert fill_placeholders(["awk {1}"], None) == ["awk {1}"]
    assert fill_placeholders(["a {@}"], []) == ["a "]
    with pytest.raises(CommandError, match="no command has a placeholder for the arguments"):
        fill_placeholders(["a"], ["x"])


@pytest.mark.slow
def test_run_expands_shortcuts_and_shows_timings(run: Run, package: Path) -> None:
    """Scripts run under their names; words after ``--`` are arguments; the table is sorted."""
    program = package / "npm"
    program.write_text('#!/bin/sh\necho "$@"\n')
    program.chmod(0o755)
    path = {"PATH": f"{package}:/usr/bin:/bin"}
    words = ("--timings", "npm:watch:*(!fix)", "echo {2}", "--", "x", "y z")
    ended = run(*words, cwd=package, env=path)
    assert ended.status == 0
    lines = {b"watch:js  | run watch:js", b"watch:css | run watch:css", b"echo      | y z"}
    assert set(ended.out.splitlines()) == lines
    table = [line.split() for line in ended.err.decode().splitlines()]
    assert table[0] == ["name", "start", "end", "duration", "status"]
    assert {row[0] for row in table[1:]} == {"watch:js", "watch:css", "echo"}
    assert all(TIME.fullmatch(time) for row in table[1:] for time in row[1:3])
    durations = [float(row[3]) for row in table[1:]]
    assert durations == sorted(durations, reverse=True)


@pytest.mark.slow
def test_dashes_before_the_first_command_end_the_options(run: Run) -> None:
    """As for other programs, `currant run -- ...` has no arguments."""
    assert run("-q", "-p", "none", "--", "echo {1}").out == b"{1}\n"


@pytest.mark.slow
def test_teardown_runs_after_ctrl_c(start: Start, lifeline: Lifeline) -> None:
    """All teardown commands run, in order, when the others have ended; currant still dies of it."""
    stops = f"trap 'echo stopped; exit' TERM; echo up; {TRAPS_SIGNALS}"
    cli = start(
        *("-p", "none", f"{lifeline.hold('a')}; {stops}"),
        *("--teardown", "echo one; exit 4", "--teardown", "echo two"),
    )
    cli.read_until(b"up")
    cli.signal(signal.SIGINT)
    ended = cli.end()
    assert cli.process.returncode == -signal.SIGINT
    assert ended.out == b"up\nstopped\none\ntwo\n"
    assert lifeline.ended() == {"a"}


@pytest.mark.slow
@pytest.mark.parametrize(("command", "status"), [("exit 3", 3), ("true", 4)])
def test_teardown_hides_no_failure(run: Run, command: str, status: int) -> None:
    """The exit status is that of the commands if one failed, and otherwise that of the teardown."""
    assert run(command, "--teardown", "exit 4").status == status


@pytest.mark.slow
def test_teardown_does_not_run_if_nothing_could_start(run: Run) -> None:
    """After a mistake in the command line nothing runs."""
    ended = run("true", "--wrap", "no-such-program", "--teardown", "echo no")
    assert (ended.status, ended.out) == (2, b"")
    assert run("echo a", "--teardown", " ").out == b""
