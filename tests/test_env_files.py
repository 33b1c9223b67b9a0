"""Files of variables, such as `.env`: files, pipes and what else a path may name."""

from __future__ import annotations

import os
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from currant import CommandError
from currant.config import _env_files
from currant.config._env_files import MAX_BYTES, read_env_files

if TYPE_CHECKING:
    from pathlib import Path


def test_later_file_overrides_an_earlier_one(tmp_path: Path) -> None:
    """A byte order mark and line endings of Windows are no part of a name or a value."""
    (tmp_path / "one").write_bytes(b"\xef\xbb\xbfA=1\r\nB='b b'\r\n")
    (tmp_path / "two").write_bytes(b"# comment\nexport A=2\n")
    paths = [str(tmp_path / name) for name in ("one", "two", "/dev/null")]
    assert read_env_files(paths) == {"A": "2", "B": "b b"}


def test_variables_may_come_from_a_pipe(tmp_path: Path) -> None:
    """A password manager puts a named pipe in place of the file; a shell has ``<(command)``."""
    named = tmp_path / "named"
    os.mkfifo(named)
    writer = Thread(target=named.write_bytes, args=(b"A=1\n",))
    writer.start()
    reader, end = os.pipe()
    os.write(end, b"B=2\n")
    os.close(end)
    try:
        assert read_env_files([str(named), f"/dev/fd/{reader}"]) == {"A": "1", "B": "2"}
    finally:
        os.close(reader)
        writer.join()


def test_pipe_without_a_writer_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise currant would wait for ever, without a word."""
    monkeypatch.setattr(_env_files, "PIPE_TIMEOUT", 0.01)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CommandError, match=r"/pipe: it is a pipe, and nothing came for 0.01 s$"):
        read_env_files([str(tmp_path / "pipe")])


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/dev/zero", f"it has more than {MAX_BYTES} bytes"),
        ("/dev", "Is a directory"),
        ("/dev/nowhere", "No such file or directory"),
    ],
)
def test_path_that_cannot_be_read_is_an_error(path: str, reason: str) -> None:
    """The error names the path and the reason."""
    with pytest.raises(CommandError, match=f"^cannot read the variables in {path}: {reason}$"):
        read_env_files([path])
