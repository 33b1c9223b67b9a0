"""Describe the machine and the programs that were measured."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["machine", "machine_line"]

MODULES = ("anyio", "trio", "uvloop", "shellous", "honcho")
PROGRAMS = ("concurrently", "parallel")


def machine() -> dict[str, str | int]:
    """Return the properties of the machine, and the versions of the compared programs."""
    return {
        "cores": os.cpu_count() or 0,
        "processor": _value("/proc/cpuinfo", "model name"),
        "memory": _value("/proc/meminfo", "MemTotal"),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        **_versions(),
    }


def machine_line() -> str:
    """Return the same as one line for people."""
    known = machine()
    known["cores"] = f"{known['cores']} cores"
    known["memory"] = f"{int(str(known['memory']).split()[0]) / 1e6:.1f} GB of memory"
    plain = ("cores", "processor", "memory", "kernel", "python")
    parts = [str(v) if k in plain else f"{k} {v}" for k, v in known.items() if v]
    return ", ".join(parts)


def _value(file: str, name: str) -> str:
    for line in Path(file).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


def _versions() -> dict[str, str]:
    versions: dict[str, str] = {}
    for name in MODULES:
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    for name in PROGRAMS:
        if program := shutil.which(name):
            argv = [program, "--version"]
            said = subprocess.run(
                argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
            ).stdout
            versions[name] = said.splitlines()[0].split()[-1] if said else "?"
    return versions
