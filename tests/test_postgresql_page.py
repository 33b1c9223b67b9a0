"""docs/howto/postgresql.md: its stack starts with a new database, and again with the same one."""

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

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.clis import Start

PAGE = ROOT / "docs" / "howto" / "postgresql.md"
FILE = re.compile(r"^```toml\n(# (\S+)\n.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAMS = [*sorted(Path("/usr/lib/postgresql").glob("*/bin")), *os.get_exec_path()]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(
            shutil.which(name, path=os.pathsep.join(map(str, PROGRAMS)))
            for name in ("initdb", "postgres", "pg_isready", "psql")
        ),
        reason="PostgreSQL is not installed: apt-get install postgresql",
    ),
]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the user of the database may enter, too."""
    with tempfile.TemporaryDirectory(prefix="stack-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o711)
        yield Path(name)


def test_stack_of_the_page_keeps_its_database(folder: Path, runtime: Path, start: Start) -> None:
    """The first start creates the database; the workers find a job of each start in it."""
    files = {name: text for text, name in FILE.findall(PAGE.read_text())}
    assert list(files) == ["currant.toml", "root.toml"]
    insert = "psql -qc \"INSERT INTO jobs VALUES ('job')\""
    files["currant.toml"] += f"\n[commands.client]\ncommand = '''{insert}'''\nafter = \"api\"\n"
    for name, text in files.items():
        (folder / name).write_text(text)
    chosen = list(files) if os.geteuid() == 0 else ["currant.toml"]
    options = [word for name in chosen for word in ("-f", str(folder / name))]
    for is_new in (True, False):
        with free_port() as database, free_port() as api:
            env = {"PGPORT": str(database), "API_PORT": str(api)}
            with start(*options, subcommand="start", cwd=folder, env=env) as cli:
                cli.read_until(b"| job\n")
                cli.signal(2)
                ended = cli.end()
        assert (b"Success." in ended.out) == is_new
        assert b"database system is shut down" in ended.out + ended.err
