"""The Pythons of this machine, for tests of what runs on another host."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet

__all__ = ["OLDEST_AND_OWN", "PYTHONS", "path_of"]

VERSIONS = ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14")

OWN = "{}.{}".format(*sys.version_info)


@cache
def path_of(version: str) -> str | None:
    """Return the path of a Python of that version; None if there is none that runs."""
    if version == OWN:
        return sys.executable
    installed = Path.home() / ".pyenv" / "versions"
    places = [
        *map(str, installed.glob(f"{version}.*/bin/python3")),
        shutil.which(f"python{version}"),
    ]
    return next(filter(None, map(_if_it_runs, places)), None)


def _if_it_runs(path: str | None) -> str | None:
    if path is None:
        return None
    run = subprocess.run([path, "-ISc", ""], check=False, capture_output=True)
    return path if run.returncode == 0 else None


def _parameter(version: str, *more_marks: pytest.MarkDecorator) -> ParameterSet:
    is_missing = path_of(version) is None
    marks = [pytest.mark.skipif(is_missing, reason=f"there is no Python {version}"), *more_marks]
    if version not in (OWN, VERSIONS[0]):
        marks.append(pytest.mark.slow)
    return pytest.param(version, marks=marks)


PYTHONS = list(map(_parameter, VERSIONS))
"""The versions that run the agent, as parameters of a test; slow but for the oldest and our own."""

OLDEST_AND_OWN = [_parameter(VERSIONS[0], pytest.mark.backends("asyncio")), _parameter(OWN)]
"""The same without those in between, for a test that takes long."""
