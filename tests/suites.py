"""Suites of tests that use the pytest plugin, each run by a pytest in a process of its own.

Only the plugins that a suite asks for are loaded, so that a run takes a fraction of a second.  With
the variable ``CURRANT_SUITE_PYTHON``, another interpreter runs the suites, with another pytest.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from tests.waiting import LIMIT

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

__all__ = ["PYTHON", "Outcome", "outcome_of", "pytest_line", "write_servers"]

PYTHON = os.environ.get("CURRANT_SUITE_PYTHON", sys.executable)

SERVERS = '''
import os
import signal
import subprocess

from currant import Command, ready


def server(name="server", script="", **options):
    """A server that is ready at once."""
    script = f"{script}; echo ready; exec sleep 9999" if script else "echo ready; exec sleep 9999"
    return Command.shell(script, name=name, ready=ready.line("^ready$"), **options)


def is_alive(pid):
    """Whether a process exists and is no zombie."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True).stdout
    return state.strip()[:1] not in (b"", b"Z")


def die(job):
    """Have a process die, as if it had crashed."""
    os.kill(job.pid, signal.SIGKILL)
'''
"""The module `servers`, which each suite can import."""


@dataclass(frozen=True)
class Outcome:
    """What a suite has come to.

    Attributes:
        code: the exit code of pytest.
        text: all output of pytest.
        tests: how each test ended: passed, failed, error, skipped or "failed error".
        properties: the properties of each test in the JUnit XML.
    """

    code: int
    text: str
    tests: dict[str, str]
    properties: dict[str, list[tuple[str, str]]]

    def section(self, test: str, title: str) -> str:
        """Return the first section with a title below the headline of a test."""
        headline = f" {test} _"
        assert headline in self.text
        part = self.text.partition(headline)[2]
        lines = part.splitlines()[1:]
        starts = [number for number, line in enumerate(lines) if line.strip("-") == f" {title} "]
        assert starts, f"no section {title!r} of {test} in\n{self.text}"
        section: list[str] = []
        for line in lines[starts[0] + 1 :]:
            if line.startswith(("---", "___", "===")):
                break
            section.append(line)
        return "\n".join(section)


def pytest_line(*options: str) -> list[str]:
    """Return the command line of a pytest that loads no plugin but ours."""
    return [
        PYTHON,
        "-W",
        "error",
        "-m",
        "pytest",
        "-p",
        "currant",
        "-p",
        "no:cacheprovider",
        *options,
    ]


def write_servers(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the module `servers`, and keep other plugins out."""
    pytester.makepyfile(servers=SERVERS)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)


def outcome_of(pytester: pytest.Pytester, *options: str, timeout: float = 2 * LIMIT) -> Outcome:
    """Run the suite in the folder of `pytester`."""
    junit = pytester.path / "junit.xml"
    result = pytester.run(*pytest_line(f"--junit-xml={junit}", *options), timeout=timeout)
    text = "\n".join([*result.outlines, *result.errlines])
    tests, properties = _from_xml(junit) if junit.exists() else ({}, {})
    return Outcome(int(result.ret), text, tests, properties)


def _from_xml(junit: Path) -> tuple[dict[str, str], dict[str, list[tuple[str, str]]]]:
    words = {"failure": "failed", "error": "error", "skipped": "skipped"}
    tests: dict[str, list[str]] = {}
    properties: dict[str, list[tuple[str, str]]] = {}
    for case in ET.parse(junit).iter("testcase"):
        name = case.attrib["name"]
        found = [words[child.tag] for child in case if child.tag in words]
        tests.setdefault(name, []).extend(found)
        properties[name] = [
            (each.attrib["name"], each.attrib["value"]) for each in case.iter("property")
        ]
    return {name: " ".join(found) or "passed" for name, found in tests.items()}, properties
