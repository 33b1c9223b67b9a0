"""README.md and the pages in docs: their code runs as printed, and their links and options exist.

A block of Python is a whole program.  If it is async, or the cells of a notebook, it runs on each
event loop.  A block of text after "This prints:" is compared with the output.
"""

from __future__ import annotations

import ast
import inspect
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from tests.ports import free_port
from tests.waiting import LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = [README, *(ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md"))]
PAGES += sorted(ROOT.glob("docs/**/*.md"))

PORT = "8000"
"""The port in the examples; tests use a free one instead."""

EXAMPLE = re.compile(
    r"^```python\n(.*?)^```$(?:\n\nThis prints:\n\n```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL
)
LINK = re.compile(r"(?<!`)\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Example:
    """A block of Python on a page.

    Attributes:
        page: the file.
        line: the line of the block's first line of code.
        code: the block.
        output: what the page says that it prints; None: the page does not say.
    """

    page: Path
    line: int
    code: str
    output: str | None

    @property
    def is_async(self) -> bool:
        """Whether the block defines a coroutine function, or awaits as a notebook does."""
        awaits = r"^async (def|with) |^(\w+ = )?await "
        return re.search(awaits, self.code, re.MULTILINE) is not None

    def __str__(self) -> str:
        return f"{short(self.page)}:{self.line}"

    def at(self, port: int) -> str:
        """Return the code with another port; line numbers stay those of the page."""
        return "\n" * (self.line - 1) + self.code.replace(PORT, str(port))

    def on_a_loop(self, port: int, end: str = "await main()") -> str:
        """Return the code for an event loop that runs, with `end` in place of its last line."""
        return self.at(port).replace("\nanyio.run(main)\n", f"\n{end}\n")


def short(page: Path) -> str:
    """Return the path of a page in the project."""
    return str(page.relative_to(ROOT))


def examples() -> Iterator[Example]:
    """Yield all examples, in order."""
    for page in PAGES:
        text = page.read_text()
        for block in EXAMPLE.finditer(text):
            line = text.count("\n", 0, block.start(1)) + 1
            yield Example(page, line, block[1], block[2])


EXAMPLES = list(examples())
PROGRAMS = [example for example in EXAMPLES if not example.is_async]
COROUTINES = [example for example in EXAMPLES if example.is_async]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to run examples in, with the two files that they use."""
    for name in ("README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("example", PROGRAMS, ids=str)
def test_each_program_runs_as_printed(example: Example, folder: Path) -> None:
    """A block that is a program runs by itself without a warning, and prints what the page says."""
    with free_port() as port:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", example.at(port)],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=2 * LIMIT,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert example.output in (None, done.stdout)


@pytest.mark.anyio
@pytest.mark.backends("asyncio", "trio")
@pytest.mark.parametrize("example", COROUTINES, ids=str)
async def test_each_async_program_runs_as_printed(
    example: Example, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A block runs to its end in the event loop of the test, and prints what the page says."""
    namespace: dict[str, Any] = {"__name__": "example"}
    with free_port() as port, anyio.fail_after(2 * LIMIT):
        code = example.on_a_loop(port)
        program = compile(code, example.page, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        if program.co_flags & inspect.CO_COROUTINE:
            await eval(program, namespace)
        else:
            exec(program, namespace)
            for name, value in list(namespace.items()):
                if name.startswith("test_") and not inspect.signature(value).parameters:
                    await value()
    assert example.output in (None, capsys.readouterr().out)


@pytest.mark.parametrize("example", COROUTINES, ids=str)
def test_each_async_program_can_be_copied(example: Example) -> None:
    """A block that has a `main` also runs it, and imports what it needs for that."""
    if "async def main()" in example.code:
        assert example.code.endswith("\n\nanyio.run(main)\n")
        assert re.search(r"^import anyio$", example.code, re.MULTILINE)


def test_program_of_the_readme_stops_all_after_a_failure(folder: Path) -> None:
    """The first program of the README shows one failure, and the other command as stopped."""
    program = next(example for example in EXAMPLES if example.page == README)
    with free_port() as port:
        shown = subprocess.check_output(
            [sys.executable, "-W", "error", "-c", program.at(port)],
            cwd=folder,
            text=True,
            timeout=2 * LIMIT,
        )
    assert "tick exited: exit code 3" in shown
    assert shown.endswith("stopped\n")


@pytest.mark.parametrize("page", PAGES, ids=short)
def test_each_link_leads_to_a_file_or_a_heading(page: Path) -> None:
    """A link between pages names a file that exists, and a heading in it."""
    broken = []
    for link in LINK.findall(page.read_text()):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = (heading.lower() for heading in HEADING.findall(page.read_text()))
    return {re.sub(r"[^\w -]", "", heading).replace(" ", "-") for heading in headings}


def test_each_option_of_the_page_on_the_command_line_exists() -> None:
    """The page on the command line names no option that ``--help`` does not list."""
    named = set(re.findall(r"--[a-z][a-z-]+", (ROOT / "docs" / "command-line.md").read_text()))
    listed = set()
    for subcommand in SUBCOMMANDS:
        help_ = subprocess.check_output(
            [sys.executable, "-m", "currant", *subcommand.split(), "--help"],
            text=True,
            timeout=LIMIT,
        )
        listed |= set(re.findall(r"--[a-z][a-z-]+", help_))
    assert named - listed == set()


LISTED = ("project", "reference")
"""The folders whose pages the site lists for the README."""


def test_each_page_is_linked_from_the_readme() -> None:
    """A reader of the README finds every page that a person wrote."""
    links = set(LINK.findall(README.read_text()))
    pages = {short(page) for page in PAGES if page != README and page.parent.name not in LISTED}
    assert pages - links == set()


SUBCOMMANDS = (
    *("run", "start", "with", "exec", "completion"),
    *("check", "graph", "init", "report", "hosts check"),
)

SHELL = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)

HOST_LINES = [
    pytest.param(line, id=f"{short(page)}-{number}")
    for page in PAGES
    for block in SHELL.findall(page.read_text())
    for number, line in enumerate(block.splitlines())
    if line.startswith("currant") and "--hosts" in line
]
"""The commands on the pages that name hosts."""

STUB = """#!/bin/sh
for word; do line=$word; done
exec sh -c "$line"
"""
"""An ssh to hosts that all are this machine."""


@pytest.fixture
def shell(folder: Path) -> Callable[[str], str]:
    """Return a function that runs a line in a shell and returns its stdout; ssh leads nowhere."""
    programs = {
        "ssh": STUB,
        "currant": f'#!/bin/sh\nexec {sys.executable} -m currant "$@"\n',
        "make": "#!/bin/sh\n",
        "job": "#!/bin/sh\n",
    }
    for name, text in programs.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    (folder / "hosts").write_text("a slots=2\nn[1-2]\n")
    env = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}

    def run(line: str) -> str:
        done = subprocess.run(
            ["sh", "-c", line],
            env=env,
            capture_output=True,
            text=True,
            timeout=2 * LIMIT,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.mark.parametrize("line", HOST_LINES)
def test_each_command_for_hosts_runs_as_printed(line: str, shell: Callable[[str], str]) -> None:
    """A program in place of ssh runs here what a host would run."""
    shell(line)


@pytest.mark.skipif(sys.platform != "linux", reason="the page shows what Linux prints")
def test_output_of_hosts_in_the_readme_is_right(shell: Callable[[str], str]) -> None:
    """What the page shows is a part of what the command prints."""
    text = README.read_text()
    line = next(line for line in text.splitlines() if "--same" in line)
    shown = text.partition(line)[2].partition("```text\n")[2].partition("```")[0]
    assert "uname@a,n[1-3] (4)" in shown
    assert shown in shell(line)


PATH = re.compile(r"`([\w*][\w.*-]*(?:/[\w.*-]*)+|[\w.]+\.(?:py|sh|toml))`")
"""A file or folder that a page names: a path, or a bare file name.

A path may begin in a subfolder of the project, and ``*`` matches any part of a name.  Hidden
folders are left out, because a source distribution does not have them.
"""

BASES = [ROOT, ROOT / "currant", ROOT / "tests", ROOT / "examples"]
BASES += [path for path in (ROOT / "currant").rglob("*") if path.is_dir()]


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_each_file_that_a_page_for_developers_names_exists(page: str) -> None:
    """The pages for developers name no file or folder that does not exist."""
    names = set(PATH.findall((ROOT / page).read_text()))
    assert names
    names -= {"currant/sinks/_name.py", "util.py"}  # A new sink, and a name that is forbidden.
    missing = [name for name in names if not any(any(base.glob(name)) for base in BASES)]
    assert missing == []


def test_the_set_up_lines_are_the_ones_that_ci_runs() -> None:
    """Two lines, copied and pasted, are the whole set-up."""
    lines = [line for line in README.read_text().splitlines() if line.startswith("python3 -m venv")]
    assert len(lines) == 2
    assert lines[0].count("currant run") == 1
    assert lines[1].endswith("-m pytest")
