"""All checks that CI runs, one session each; ``nox -l`` lists the sessions.

Without a session's name, nox checks the code and runs the tests on every Python that is installed.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2026.8.17"
nox.options.error_on_missing_interpreters = False
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "typing", "tests", "lowest"]

PYPROJECT = nox.project.load_toml(Path(__file__).with_name("pyproject.toml"))
PYTHONS = nox.project.python_versions(PYPROJECT)
BACKENDS = ["asyncio", "uvloop", "trio"]

SLOW_TESTS = [
    "tests/test_cancellation_fuzz.py",  # cancels hundreds of runs at random moments
    "tests/test_cli_*.py",  # the next two as well: each test starts a Python of its own
    "tests/test_procfile.py",
    "tests/test_examples.py",
    "tests/test_faults.py",  # the fault matrix
    "tests/test_guard.py",  # kills whole programs
    "tests/test_interleavings.py",  # random orders of events
    "tests/test_stack.py",  # real database servers that crash
]
"""Files that `quick` leaves out."""

CONCURRENTLY = "concurrently@9.2.5"  # npm installs this peer of the benchmarks.
BENCH_FILES = [
    "--json=benchmarks/results.json",
    "--plot=benchmarks/plot.svg",
    "--table=benchmarks/README.md",
]


@nox.session(python=PYTHONS)
@nox.parametrize("backend", BACKENDS)
def tests(session: nox.Session, backend: str) -> None:
    """Run the tests on one event loop; pass pytest's arguments after ``--``."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "pytest", f"--backend={backend}", *session.posargs)


@nox.session
def quick(session: nox.Session) -> None:
    """Check the style, the imports and the types, and run the tests on asyncio alone.

    For use before a commit.  Left out: pyright, the other event loops, and the tests that take long
    (`SLOW_TESTS`): the command line, the orphan guard, the fault matrix, the examples, random
    cancellations and random orders of events.  Pass pytest's arguments after ``--``.
    """
    groups = nox.project.dependency_groups(PYPROJECT, "lint", "typing")
    session.install("-e", ".[test]", *groups)
    _lint(session)
    session.run("mypy")
    left_out = [f"--ignore-glob={pattern}" for pattern in SLOW_TESTS]
    session.run("python", "-m", "pytest", "-q", "--backend=asyncio", *left_out, *session.posargs)


@nox.session(python=PYTHONS[0])
def lowest(session: nox.Session) -> None:
    """Run the tests with the oldest releases that pyproject.toml allows."""
    project = PYPROJECT["project"]
    extras = project["optional-dependencies"].values()
    bounds = [bound for group in (project["dependencies"], *extras) for bound in group]
    oldest = [bound.replace(">=", "==") for bound in bounds if ">=" in bound]
    session.install("-e", ".[test]", *oldest)
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check the style, and that imports follow the layers."""
    session.install(*nox.project.dependency_groups(PYPROJECT, "lint"))
    _lint(session)


def _lint(session: nox.Session) -> None:
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports")


@nox.session(name="format")
def format_(session: nox.Session) -> None:
    """Format the code, and apply the safe fixes of the linter."""
    session.install(*nox.project.dependency_groups(PYPROJECT, "lint"))
    session.run("ruff", "check", "--fix")
    session.run("ruff", "format")


@nox.session
def typing(session: nox.Session) -> None:
    """Check the types, and that each public name has a type."""
    session.install("-e", ".[test]", *nox.project.dependency_groups(PYPROJECT, "typing"))
    session.run("mypy")
    session.run("pyright")
    session.run("pyright", "--verifytypes", "currant", "--ignoreexternal")


@nox.session
def coverage(session: nox.Session) -> None:
    """Run the tests and list the lines they do not reach; pass pytest's arguments after ``--``."""
    session.install("-e", ".[test]", *nox.project.dependency_groups(PYPROJECT, "coverage"))
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", *session.posargs)
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")


@nox.session
def faults(session: nox.Session) -> None:
    """Run the fault matrix; pass arguments of ``python -m tests.faults`` (--peers) after ``--``."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "tests.faults", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Compare the speed with other tools; pass arguments of ``python -m benchmarks`` after ``--``.

    Without arguments, the session writes all figures and the plot in `benchmarks/README.md`.
    """
    session.install("-e", ".[test]", *nox.project.dependency_groups(PYPROJECT, "bench"))
    path = os.environ["PATH"]
    if shutil.which("npm") is not None:
        tmp = Path(session.create_tmp()).absolute()
        session.run("npm", "install", f"--prefix={tmp}", CONCURRENTLY, external=True, silent=True)
        path += os.pathsep + str(tmp / "node_modules/.bin")
    arguments = session.posargs or BENCH_FILES
    session.run("python", "-m", "benchmarks", *arguments, env={"PATH": path})
