"""What is sent to a host: the files are complete, and run on old Pythons without anyio."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import currant
from currant._agent import loop
from currant._remote.shipment import (
    MAX_NOISE,
    MODULES,
    SLOTS,
    STAND_INS,
    Greeting,
    agent_argv,
    files,
    payload,
)
from tests.pythons import PYTHONS, path_of
from tests.test_anyio_names import names_in
from tests.waiting import LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(currant.__path__[0]).parent

SHIPPED = {f"{package}.{name}" for package, names in MODULES.items() for name in names}

AT_FIRST_USE = {"currant._process.tls"}
"""Modules that are imported when they are needed."""

NOT_ON_A_HOST = {"open_process"}
"""For systems without pidfds; there the agent starts processes in another way."""

IMPORT_ALL = """
import importlib, json, sys
files = json.load(sys.stdin)
names = {"__name__": "importer"}
exec(files["currant/_agent/importer.py"].replace("    main()", ""), names)
names["start"](files)
for file in files:
    if file.endswith(".py"):
        importlib.import_module(file[:-3].replace("/__init__", "").replace("/", "."))
print(sorted(n for n in sys.modules if n.startswith(("asyncio", "trio", "sniffio"))))
"""


def statements(module: str) -> ast.Module:
    """Return the syntax of a module without what is there for type checkers only."""
    tree = ast.parse(Path(str(import_module(module).__file__)).read_text())

    class Run(ast.NodeTransformer):
        def visit_If(self, node: ast.If) -> ast.AST | None:
            return None if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)

    return Run().visit(tree)  # type: ignore[no-any-return]


def imported_by(module: str) -> Iterator[str]:
    """Yield the modules of currant that a module imports at once."""
    for node in statements(module).body:
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("currant."):
            package = {f"{node.module}.{name.name}" for name in node.names} & SHIPPED
            yield from package or {str(node.module)}


def test_each_module_that_the_agent_imports_is_sent() -> None:
    """And none that it does not import."""
    found: set[str] = set()
    todo = {"currant._agent.main", "currant._agent.importer", *AT_FIRST_USE}
    while todo:
        found |= todo
        todo = {each for module in todo for each in imported_by(module)} - found
    assert found == SHIPPED


@pytest.mark.parametrize("module", sorted(SHIPPED))
def test_sent_modules_use_only_the_names_of_the_loop(module: str) -> None:
    """The loop takes the place of anyio, under the same names."""
    used = {name.rpartition(".")[2] for name in names_in(statements(module))}
    assert used - NOT_ON_A_HOST - {"abc", "lowlevel"} <= set(loop.__all__)


def test_modules_of_anyio_have_names_of_the_loop() -> None:
    """The other modules of anyio import their names from the loop."""
    for text in STAND_INS.values():
        (statement,) = ast.parse(text).body
        assert isinstance(statement, ast.ImportFrom)
        assert {name.name for name in statement.names} <= set(loop.__all__)


@pytest.mark.parametrize("version", PYTHONS)
def test_each_sent_file_imports_on_the_host(version: str) -> None:
    """On every Python that an agent may find, and without an event loop of another package."""
    ran = subprocess.run(
        [str(path_of(version)), "-ISW", "error", "-c", IMPORT_ALL],
        input=json.dumps(files()).encode(),
        capture_output=True,
        timeout=LIMIT,
        check=False,
    )
    assert (ran.stderr, ran.stdout) == (b"", b"[]\n")


def test_first_program_is_small_and_plain() -> None:
    """No shell on the way changes it: csh has its own use of ``!``, fish of parentheses."""
    python, options, first, program = agent_argv("python3")
    assert (python, options) == ("python3", "-ISc")
    assert agent_argv()[-2:] == (first, program)
    assert not set(first) & set("'\"!$`\\\n")
    assert program.replace("+", "").replace("/", "").rstrip("=").isalnum()
    assert len(first + program) < 1200


def test_shipment_is_small() -> None:
    """It is sent at each connection.  The limit is the present size, and a little."""
    assert len(payload()) < 58_000


@pytest.mark.parametrize("module", sorted(SHIPPED))
def test_files_are_sent_without_what_only_people_and_tools_read(module: str) -> None:
    """Without docstrings, comments, imports for types, and slots; all else is on the same lines."""

    class Silence(ast.NodeTransformer):
        def visit_If(self, node: ast.If) -> ast.If | None:
            is_for_types = isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
            return None if is_for_types else node

        def visit_Expr(self, node: ast.Expr) -> ast.Expr:
            if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
                node.value.value = ""
            return node

    sent = files()[f"{module.replace('.', '/')}.py"]
    original = Path(str(import_module(module).__file__)).read_text().replace(SLOTS, "")
    assert ast.dump(Silence().visit(ast.parse(original))) == ast.dump(ast.parse(sent))
    assert original.count("\n") == sent.count("\n")


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_greeting_skips_what_a_login_shell_prints(size: int) -> None:
    """However the bytes are cut."""
    greeting = Greeting()
    data = b"Welcome!\n" * 1000 + b"\n\0currant agent\0\n3.9\nrest"
    for start in range(0, len(data), size):
        assert greeting.version is None or start > 9000
        greeting.feed(data[start : start + size])
    assert greeting.version == (3, 9)
    assert greeting.rest == b"rest"


@pytest.mark.parametrize(
    "data",
    [
        b"x" * (2 * MAX_NOISE),
        b"\n\0currant agent\0\nthree\n",
        b"\n\0currant agent\0\n" + b"3" * 99,
    ],
)
def test_greeting_refuses_what_is_none(data: bytes) -> None:
    """The host may send anything."""
    with pytest.raises(ValueError, match=r"tell its version|something else"):
        Greeting().feed(data)


def test_first_program_ends_if_the_driver_goes() -> None:
    """At any point of what it reads."""
    for data in (b"", b"00000", payload()[:100]):
        ran = subprocess.run(
            agent_argv(sys.executable), input=data, capture_output=True, timeout=LIMIT, check=False
        )
        assert (ran.returncode, ran.stderr) == (0, b"")
