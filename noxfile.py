"""All that CI runs, one session each; ``nox -l`` lists them.

Without a name: the checks of the code, and the tests on every Python that is installed.
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

CONCURRENTLY = "concurrently@9.2.5"  # a peer of the benchmarks, from npm
BENCH_FILES = [
    "--json=benchmarks/results.json",
    "--plot=benchmarks/plot.svg",
    "--table=benchmarks/README.md",
]


@nox.session(python=PYTHONS)
@nox.parametrize("backend", BACKENDS)
def tests(session: nox.Session, backend: str) -> None:
    """Run the tests on one event loop; takes pytest's arguments."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "pytest", f"--backend={backend}", *session.posargs)


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
    """Check the style, and which module imports which."""
    session.install(*nox.project.dependency_groups(PYPROJECT, "lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports")


@nox.session(name="format")
def format_(session: nox.Session) -> None:
    """Format the code, and mend what can be mended without a thought."""
    session.install(*nox.project.dependency_groups(PYPROJECT, "lint"))
    session.run("ruff", "check", "--fix")
    session.run("ruff", "format")


@nox.session
def typing(session: nox.Session) -> None:
    """Check the types, and that no public name lacks one."""
    session.install("-e", ".[test]", *nox.project.dependency_groups(PYPROJECT, "typing"))
    session.run("mypy")
    session.run("pyright")
    session.run("pyright", "--verifytypes", "currant", "--ignoreexternal")


@nox.session
def coverage(session: nox.Session) -> None:
    """Run the tests and show what they leave out; takes pytest's arguments."""
    session.install("-e", ".[test]", *nox.project.dependency_groups(PYPROJECT, "coverage"))
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", *session.posargs)
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")


@nox.session
def faults(session: nox.Session) -> None:
    """Run the fault matrix; takes the arguments of ``python -m tests.faults``, such as --peers."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "tests.faults", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure beside the peers; takes the arguments of ``python -m benchmarks``.

    Without any it writes all that `benchmarks/README.md` shows.
    """
    session.install("-e", ".[test]", *nox.project.dependency_groups(PYPROJECT, "bench"))
    path = os.environ["PATH"]
    if shutil.which("npm") is not None:
        tmp = Path(session.create_tmp()).absolute()
        session.run("npm", "install", f"--prefix={tmp}", CONCURRENTLY, external=True, silent=True)
        path += os.pathsep + str(tmp / "node_modules/.bin")
    arguments = session.posargs or BENCH_FILES
    session.run("python", "-m", "benchmarks", *arguments, env={"PATH": path})
