"""docs/pytest.md: each section is a suite that passes, with the files that the page shows."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.clis import ROOT
from tests.ports import free_port
from tests.suites import outcome_of, write_servers

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest_plugins = ["pytester"]

PAGE = ROOT / "docs" / "pytest.md"
FILE = re.compile(r"^```(?:python|toml)\n(# (?P<name>\S+)\n.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAMS = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:], *os.get_exec_path()]
PATH = os.pathsep.join(map(str, PROGRAMS))

AS_USER = """#!/bin/sh
exec setpriv --reuid=postgres --regid=postgres --init-groups -- {program} "$@"
"""
"""A program of PostgreSQL, which refuses to run as root."""

OPEN = """
import shutil
import pytest

@pytest.fixture(scope="session", autouse=True)
def folder_of_the_server(session_processes):
    \"\"\"Let the user of the database reach its folder.\"\"\"
    folder = session_processes.folder("data")
    shutil.chown(folder, "postgres", "postgres")
    folder.chmod(0o700)
    for parent in list(folder.parents)[:-3]:  # not those above the run's own
        parent.chmod(0o711)
"""


def sections() -> dict[str, list[tuple[str, str]]]:
    """Return the files of each section of the page: names and texts."""
    parts = re.split(r"^## (.*)\n", f"## The start\n{PAGE.read_text()}", flags=re.MULTILINE)[1:]
    files = {
        title: [(block["name"], block[1]) for block in FILE.finditer(text)]
        for title, text in zip(parts[::2], parts[1::2], strict=True)
    }
    return {title: blocks for title, blocks in files.items() if blocks}


SECTIONS = sections()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that any user may enter, which no other run of pytest closes."""
    with tempfile.TemporaryDirectory(prefix="suite-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.mark.parametrize("title", SECTIONS)
def test_section_is_a_suite_that_passes(
    title: str, open_folder: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All files of a section pass in one folder; each test on the page runs."""
    files = SECTIONS[title]
    text = "".join(text for _, text in files)
    if "redis-server" in text and shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed: apt-get install redis-server")
    write_servers(pytester, monkeypatch)
    monkeypatch.setenv("PYTEST_DEBUG_TEMPROOT", str(open_folder))
    if "initdb" in text:
        as_root = 'user="postgres"' in text
        if as_root and os.geteuid() != 0:
            pytest.skip("only root can become the user postgres")
        prepare_postgresql(pytester.path, monkeypatch, changes_user=not as_root)
    for name, content in files:
        (pytester.path / name).write_text(content)
    plugins = ["-p", "anyio"] if "anyio" in text else []
    if "shared=True" in text:
        plugins += ["-p", "xdist", "-n", "2", "--dist", "each"]
    with free_port() as port:
        monkeypatch.setenv("DB_PORT", str(port))
        outcome = outcome_of(pytester, *plugins)
    assert outcome.code == 0, outcome.text
    assert len(outcome.tests) >= text.count("def test_")


def prepare_postgresql(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, changes_user: bool
) -> None:
    """Find the programs of PostgreSQL; let root run them as another user, if the suite does not."""
    names = ("initdb", "postgres", "pg_isready", "createdb", "dropdb", "psql")
    programs = {name: shutil.which(name, path=PATH) for name in names}
    if None in programs.values():
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    monkeypatch.setenv("PATH", PATH)
    if os.geteuid() == 0 and changes_user:
        (folder / "bin").mkdir()
        for name in ("initdb", "postgres"):
            script = folder / "bin" / name
            script.write_text(AS_USER.format(program=programs[name]))
            script.chmod(0o755)
        (folder / "open_folders.py").write_text(OPEN)
        monkeypatch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{PATH}")
        monkeypatch.setenv("PYTEST_PLUGINS", "open_folders")
        monkeypatch.setenv("PYTHONPATH", str(folder))


def test_page_has_all_its_suites() -> None:
    """Each block of Python on the page is a file of a suite."""
    files = sum(len(files) for files in SECTIONS.values())
    assert files == len(re.findall("^```(?:python|toml)$", PAGE.read_text(), re.MULTILINE))
    assert files >= 8
