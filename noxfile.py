"""All checks of the project, one session each; ``nox -l`` lists the sessions.

``nox -s quick`` is for the minutes before a commit.  Without ``-s``, nox checks the style and the
types, and runs the tests on every installed Python.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2026.8.17"
nox.options.error_on_missing_interpreters = False
nox.options.reuse_venv = "yes"
nox.options.default_venv_backend = "uv|virtualenv"  # uv installs in a tenth of the time
nox.options.sessions = ["lint", "typing", "tests", "lowest"]

PYPROJECT = nox.project.load_toml(Path(__file__).with_name("pyproject.toml"))
PYTHONS = nox.project.python_versions(PYPROJECT)
NEWER_PYTHON = "3.13"  # of which CI has an interpreter, or skips the session
BACKENDS = ["asyncio", "uvloop", "trio"]

# Tests wait for processes about half of the time, so each CPU can serve two workers.
WORKERS = min(8, 2 * (os.cpu_count() or 1))
FAST_TESTS = [
    "--backend=asyncio",
    "-m",
    "not slow",
    f"--numprocesses={WORKERS}",
    "--dist=worksteal",
]
# Other dependencies or a newer Python change nothing here: an agent needs no dependency and runs on
# each Python in test_shipment.py, what the examples of pages and docstrings call has own tests, a
# simulation is a benchmark, and templates are filled in for shells.
NOT_TWICE = [
    f"--ignore=tests/test_{name}.py"
    for name in (
        *("hosts_contract", "hosts_lost", "remote", "remote_lost", "remote_ssh"),
        *("ssh", "ssh_faults", "ssh_hosts", "transports"),
        *("docstring_examples", "examples", "pytest_pages", "readme"),
        *("example_agent", "example_batch", "example_frontend", "example_suite"),
        *("fleet", "map_template"),
    )
]

# What the operating system does with processes, files and sockets, and what needs nothing but the
# standard library: no dependency changes that.
NOT_OF_DEPENDENCIES = [
    f"--ignore=tests/test_{name}.py"
    for name in (
        *("containment", "escapees", "guard", "hosts", "kill", "leftovers", "posix", "pty"),
        *("ready_file", "ready_servers", "remote_faults", "remote_seam", "shipment"),
        *("command", "lines", "line_pattern", "map_log", "map_results_folder", "wire"),
    )
]

PLUGIN_TESTS = [
    f"tests/test_pytest_{name}.py"
    for name in ("ends", "pages", "plugin", "reports", "servers", "shared")
]
# What a newer Python may do in another way: forks, signals and imports.
PLUGIN_TESTS_OF_PYTHON = ["tests/test_pytest_ends.py", "tests/test_pytest_plugin.py"]
SUITES_PYTEST = "pytest==7.4"  # the oldest that the plugin works with, as docs/pytest.md says

CONCURRENTLY = "concurrently@9.2.5"  # The benchmarks compare currant with this npm package.
MERMAID = "mermaid@12.3.0"  # This npm package draws the diagrams of the site.
BENCH_FILES = [
    "--json=benchmarks/results.json",
    "--plot=benchmarks/plot.svg",
    "--table=benchmarks/README.md",
]


@nox.session
def quick(session: nox.Session) -> None:
    """Check style, imports and types, and run the fast tests on one event loop in two minutes.

    Takes pytest's arguments.  At the end, quick lists the checks that it has left out.
    """
    groups = nox.project.dependency_groups(PYPROJECT, "lint", "typing")
    session.install("-e", ".[test]", *groups)
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports")
    session.run("mypy")
    session.run("python", "-m", "pytest", *FAST_TESTS, *session.posargs)
    tests = Path(__file__).with_name("tests").glob("test_*.py")
    slow = sorted(test.name for test in tests if "pytest.mark.slow" in test.read_text())
    session.log(f"left out: the slow tests in {', '.join(slow)}")
    session.log("left out: the tests on uvloop and trio, and pyright; run .ci/run for all checks")


@nox.session(python=PYTHONS)
@nox.parametrize("backend", BACKENDS)
def tests(session: nox.Session, backend: str) -> None:
    """Run all tests on one Python and one event loop; takes pytest's arguments."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "pytest", f"--backend={backend}", *session.posargs)


@nox.session(python=PYTHONS[0])
def lowest(session: nox.Session) -> None:
    """Run most fast tests with the oldest dependencies that pyproject.toml allows.

    Takes pytest's arguments; without them, the tests run on one event loop.
    """
    project = PYPROJECT["project"]
    extras = project["optional-dependencies"].values()
    bounds = [bound for group in (project["dependencies"], *extras) for bound in group]
    oldest = [bound.replace(">=", "==") for bound in bounds if ">=" in bound]
    session.install("-e", ".[test]", *oldest)
    others = [*NOT_TWICE, *NOT_OF_DEPENDENCIES, *(f"--ignore={test}" for test in PLUGIN_TESTS)]
    session.run("python", "-m", "pytest", *(session.posargs or [*FAST_TESTS, *others]))
    # The tests need a newer pytest than the plugin, so the suites of its tests have their own.
    suites = Path(session.create_tmp()).absolute() / "pytest"
    old = ["-e", ".[cli]", f"{SUITES_PYTEST}.*", "redis", "pytest-xdist"]
    if session.venv_backend == "uv":
        python = shutil.which("python", path=session.bin)
        session.run("uv", "venv", "-q", "--allow-existing", f"--python={python}", str(suites))
        session.run("uv", "pip", "install", "-q", f"--python={suites}", *old)
    else:
        session.run("python", "-m", "venv", str(suites), silent=True)
        session.run(f"{suites}/bin/python", "-m", "pip", "install", "-q", *old, external=True)
    env = {"CURRANT_SUITE_PYTHON": f"{suites}/bin/python"}
    several = f"--numprocesses={WORKERS}"
    session.run("python", "-m", "pytest", "--backend=asyncio", several, *PLUGIN_TESTS, env=env)


@nox.session(python=NEWER_PYTHON)
def newer(session: nox.Session) -> None:
    """Run most fast tests on a newer Python, as `lowest` does on the oldest."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "pytest", *(session.posargs or [*FAST_TESTS, *NOT_TWICE]))
    several = f"--numprocesses={WORKERS}"
    session.run("python", "-m", "pytest", "--backend=asyncio", several, *PLUGIN_TESTS_OF_PYTHON)


@nox.session
def lint(session: nox.Session) -> None:
    """Check the style, and that imports go down the layers."""
    session.install(*nox.project.dependency_groups(PYPROJECT, "lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports")


@nox.session(name="format")
def format_(session: nox.Session) -> None:
    """Format the code, and apply the safe fixes of ruff."""
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
    session.run("python", "-m", "pytest", "tests/test_example_types.py")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site of the documentation into `build/docs`, and check its links and files."""
    session.install("-e", ".[cli]", *nox.project.dependency_groups(PYPROJECT, "docs"))
    strict = ("--quiet", "--fail-on-warning", "--keep-going", "--fresh-env")
    shutil.rmtree("build/docs", ignore_errors=True)
    session.run("sphinx-build", *strict, "-d", "build/doctrees", "docs", "build/docs")
    session.run("python", "-m", "pytest", "docs/test_site.py", *session.posargs)


@nox.session
def diagrams(session: nox.Session) -> None:
    """Draw the diagrams of the pages for the site; needs npm and Chromium."""
    tmp = Path(session.create_tmp()).absolute()
    session.run("npm", "install", f"--prefix={tmp}", MERMAID, external=True, silent=True)
    script = f"{tmp}/node_modules/mermaid/dist/mermaid.min.js"
    session.run("python", "docs/draw_diagrams.py", script)


@nox.session
def coverage(session: nox.Session) -> None:
    """Run the tests and list the lines that they do not reach; takes pytest's arguments."""
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
    """Compare currant with its peers; takes the arguments of ``python -m benchmarks``.

    Without arguments, writes all figures of `benchmarks/README.md`.
    """
    session.install("-e", ".[test]", *nox.project.dependency_groups(PYPROJECT, "bench"))
    path = os.environ["PATH"]
    if shutil.which("npm") is not None:
        tmp = Path(session.create_tmp()).absolute()
        session.run("npm", "install", f"--prefix={tmp}", CONCURRENTLY, external=True, silent=True)
        path += os.pathsep + str(tmp / "node_modules/.bin")
    arguments = session.posargs or BENCH_FILES
    session.run("python", "-m", "benchmarks", *arguments, env={"PATH": path})
