"""`currant start` with a configuration, and `check`, `graph`, `schema` and `init`.

What a configuration means is the subject of `test_config.py`.  Subcommands that start no process
are called in this one.
"""

from __future__ import annotations

import os
import re
import resource
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from currant.cli._commands import currant
from currant.cli._graph import mermaid, tree
from currant.cli._run_commands import start
from currant.cli._write_config import from_commands, from_processes
from currant.config import load, read_schema
from currant.config._model import TOP_TABLE
from tests.clis import type_on
from tests.waiting import EXEC_FOREVER

if TYPE_CHECKING:
    from tests.clis import Run, Start
    from tests.lifeline import Lifeline


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Called(NamedTuple):
    """The exit status and the output of a subcommand that was called in this process."""

    status: int | None
    out: str
    err: str


def call(*arguments: str) -> Called:
    """Call the command line; an exception leaves it."""
    from click.testing import CliRunner

    done = CliRunner().invoke(currant, arguments, standalone_mode=False, catch_exceptions=False)
    if done.exception is not None:
        raise done.exception
    return Called(done.return_value, done.stdout, done.stderr)


# ---- start ----

CONFIG = """
grace = 7
prefix = "{name}> "
[commands]
migrate = "echo migrated >migrated"
[commands.web]
command = "cat migrated; echo web $CURRANT_REPLICA $MODE"
replicas = 2
after = { migrate = "succeeded" }
env = { MODE = "test" }
[commands.noise]
command = "echo noise; exit 4"
hidden = true
after = { web = "ended" }
[commands.debug]
command = "echo debug"
profiles = ["debug"]
"""


@pytest.mark.slow
def test_start_runs_the_commands_of_a_configuration_above(run: Run, folder: Path) -> None:
    """The display, dependencies, replicas, hidden commands and the folder are as in the file."""
    Path("currant.toml").write_text(CONFIG)
    (folder / "deep").mkdir()
    ended = run(subcommand="start", cwd=folder / "deep")
    assert sorted(ended.out.splitlines()) == [
        b"web.1  > migrated",
        b"web.1  > web 1 test",
        b"web.2  > migrated",
        b"web.2  > web 2 test",
    ]
    assert b"currant: noise: exit code 4\n" in ended.err
    assert ended.status == 4


@pytest.mark.slow
def test_names_profiles_and_options_win_over_the_file(run: Run, folder: Path) -> None:
    """Named commands start alone; an option replaces the value of the file, not of a command."""
    Path("currant.toml").write_text(f"quiet = true\n{CONFIG}")
    ended = run("--profile", "debug", "--prefix", "none", "migrate", subcommand="start", cwd=folder)
    assert ended == (0, b"debug\n", b"")


@pytest.mark.slow
def test_signal_stops_the_commands_of_a_configuration(
    start: Start, folder: Path, lifeline: Lifeline
) -> None:
    """What holds for other commands of currant holds here, too."""
    line = f"{lifeline.hold('a')}; {EXEC_FOREVER}"
    Path("currant.toml").write_text(from_commands({"a": line}))
    cli = start(subcommand="start", cwd=folder)
    lifeline.wait_for("a")
    cli.signal(15)
    assert cli.end().status == 143
    assert lifeline.ended() == {"a"}


@pytest.mark.slow
def test_stderr_of_a_command_with_a_file_is_not_merged_into_it(run: Run, folder: Path) -> None:
    """`merge` is for what currant shows; a file gets what the command was told to write there."""
    Path("currant.toml").write_text(
        'quiet = true\nmerge = true\n[commands.a]\ncommand = "echo out; echo err >&2"\n'
        'stdout = { file = "out" }\n'
    )
    assert run(subcommand="start", cwd=folder).err == b"a | err\n"
    assert Path("out").read_text() == "out\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope"], "there is no command 'nope' in currant.toml; did you mean 'noise'? There"),
        (["--profile", "debg"], "there is no profile 'debg' in currant.toml; did you mean 'debug'"),
        (["-m", "web=2"], "--formation is for Procfiles; set replicas in the configuration"),
        (["-p", "80"], "--port is for Procfiles; set PORT in a table env of the configuration"),
        (["--max-restarts", "3"], "--max-restarts requires --restart"),
        (["-f", "wrong.toml"], "2 problems\nwrong.toml:1: grce: unknown key; did you mean 'grace'"),
        (["-f", "none.toml"], "none.toml: cannot be read: No such file or directory"),
        (["-f", "currant.toml", "-f", "Proc"], "cannot read the Procfile Proc: No such file"),
        (["-e", "none"], "cannot read the variables in none: No such file"),
        (["--cwd", "nowhere"], "--cwd nowhere: there is no such directory"),
        (["--hide", "x"], "--hide x: there is no such command"),
        (["--hide", "9" * 5000], f"--hide {'9' * 5000}: there is no such command"),
        (["--raw", "--json"], "--raw and --json cannot be combined"),
        (["--prefix", "{x}"], "the command line: prefix: prefix '{x}': unknown field {x}"),
        (["-s", "x"], "the command line: success: there is no command 'x'; there are: "),
    ],
)
def test_usage_error_is_reported_and_starts_no_process(
    folder: Path, arguments: list[str], message: str
) -> None:
    """The status is 2, and the message says what to do."""
    Path("currant.toml").write_text(CONFIG)
    Path("wrong.toml").write_text('grce = 1\n[commands.a]\ncommand = "touch migrated"\nx = 1')
    called = call("start", *arguments)
    assert (called.status, called.out) == (2, "")
    assert called.err.startswith(f"currant: {message}")
    assert not Path("migrated").exists()


def test_each_option_of_start_is_a_setting() -> None:
    """The top level has all options of `start` about the commands and the output, but for some."""
    elsewhere = {
        "names": "what to start is the user's choice, as the next ones",
        **dict.fromkeys(["files", "profile", "dry_run"], "which files, and what of them"),
        **dict.fromkeys(["formation", "concurrency", "port"], "for Procfiles; see `replicas`"),
        **dict.fromkeys(["max_restarts", "restart_delay", "restart_factor"], "a table `restart`"),
        "detach": "as above",
        "hide": "`hidden` of each command",
        "pty": "`pty` of each command",
        **dict.fromkeys(["interactive", "keys"], "for the person at the terminal"),
        "quiet_processes": "`quiet`, and `hidden` of each command",
        "metrics": "a port is for one run at a time",
        "junit": "each run would replace the report of the last",
        "trace": "each run would replace the timeline of the last",
        **dict.fromkeys(["hosts", "hosts_file", "ssh", "python"], "hosts differ from day to day"),
        **dict.fromkeys(["per_host", "each", "same", "forward_env"], "as the hosts do"),
    }
    options = {parameter.name for parameter in start.params}
    assert options - set(TOP_TABLE.keys) == elsewhere.keys()


def test_profile_needs_a_configuration() -> None:
    """A Procfile has no profiles."""
    Path("Procfile").write_text("a: true\n")
    assert "--profile needs a configuration" in call("start", "--profile", "x").err


# ---- check and graph ----


def test_check_lists_commands_in_order_with_their_settings() -> None:
    """The order is that of the start; of variables only the names are shown."""
    Path("currant.toml").write_text(
        'env = { SECRET = "x" }\n'
        '[commands.b]\ncommand = "true\\ntrue\\n"\nafter = { a = "ready" }\n'
        '[commands.a]\ncommand = ["serve", "a b"]\nready = "tcp:80"\nlimits = { memory = "1G" }\n'
        'env = { OTHER = "${NAME:-y}" }\n'
    )
    expected = """\
# currant.toml
env = SECRET

a | ["serve", "a b"]
  |   ready = "tcp:80"
  |   env = OTHER
  |   limits = { memory = "1G" }
b | true
  | true
  |   after = { a = "ready" }
"""
    assert call("check") == (0, expected, "")


def test_dry_run_shows_what_would_start() -> None:
    """The commands are those of the names and profiles, with the options of the command line."""
    Path("currant.toml").write_text(CONFIG)
    arguments = ["--dry-run", "--grace", "9", "--restart", "always", "--max-restarts", "2", "web"]
    called = call("start", *arguments)
    assert called.status == 0
    assert [line.partition(" |")[0] for line in called.out.splitlines()] == [
        "# currant.toml",
        'restart = { when = "always", max_restarts = 2 }',
        "grace = 9",
        'prefix = "{name}> "',
        "",
        "migrate",
        "web    ",
        *["       "] * 3,
    ]
    Path("currant.toml").unlink()
    Path("Procfile").write_text("web: serve $PORT\njob: work\n")
    assert call("start", "--dry-run", "-m", "web=2").out == (
        "web.1 | serve $PORT\n      |   PORT = 5000\nweb.2 | serve $PORT\n      |   PORT = 5001\n"
    )


def test_check_reports_all_mistakes() -> None:
    """Each mistake has a line of its own."""
    Path("currant.toml").write_text('a = 1\nb = 2\n[commands]\nx = "true"\n')
    assert call("check") == (
        2,
        "",
        "currant: 2 problems\ncurrant.toml:1: a: unknown key\ncurrant.toml:2: b: unknown key\n",
    )


NEEDS = {
    "web": {"api": "", "vite": "started"},
    "api": {"db": "ready", "migrate": "succeeded"},
    "migrate": {"db": "ready"},
    "db": {},
    "vite": {},
    "cron": {},
}


def test_graph_is_a_tree_below_each_command_that_no_other_needs() -> None:
    """What a command waits for is shown once in full."""
    assert list(tree(NEEDS)) == [
        "web",
        "├── api",
        "│   ├── db (ready)",
        "│   └── migrate (succeeded)",
        "│       └── db (ready)",
        "└── vite (started)",
        "cron",
    ]
    again = {"a": {"b": ""}, "c": {"b": ""}, "b": {"d": ""}, "d": {}}
    assert list(tree(again)) == ["a", "└── b", "    └── d", "c", "└── b ..."]


def test_graph_shows_a_chain_of_any_length() -> None:
    """A chain may be longer than Python's recursion is deep."""
    names = list(map(str, range(1200)))
    lines = list(tree({name: {before: ""} for before, name in pairwise(["", *names])}))
    assert [line.lstrip(" └─") for line in lines] == [*reversed(names), ""]


def test_mermaid_has_an_arrow_from_what_comes_first() -> None:
    """Names are labels, in which no character has a meaning."""
    assert list(mermaid({'a"]': {"b": "ready"}, "b": {}, "c": {"b": ""}})) == [
        "flowchart LR",
        '    c0["a#34;#93;"]',
        '    c1["b"]',
        '    c2["c"]',
        "    c1 -->|ready| c0",
        "    c1 --> c2",
    ]


def test_graph_reads_a_configuration_or_a_procfile() -> None:
    """A Procfile has no dependencies."""
    Path("Procfile").write_text("web: serve\njob: work\n")
    assert call("graph").out == "web\njob\n"
    Path("currant.toml").write_text('[commands]\na = { command = "x", after = ["b"] }\nb = "y"')
    assert call("graph").out == "a\n└── b\n"
    assert call("graph", "--mermaid").out.startswith("flowchart LR\n")
    assert call("graph", "-f", "x.toml").status == 2


def test_schema_is_printed() -> None:
    """It is the file in the package."""
    assert call("schema").out == read_schema()


# ---- init ----


def test_init_writes_what_the_procfile_does() -> None:
    """Lines reach the shell as they are, and each process has its port."""
    lines = 'web: serve "$PORT" ${X%y} $$\njob: echo \\n é\nwork_er-2: x --port=${PORT}\n'
    Path("Procfile").write_text(lines)
    assert call("init") == (0, "wrote currant.toml; 'currant check' lists what it starts\n", "")
    config = load()
    assert config.runner == {"kill_others_on": "exit"}
    tables = config.values["commands"]
    assert "".join(f"{name}: {table['command']}\n" for name, table in tables.items()) == lines
    ports = [command.env.get("PORT") for command in config.commands]
    assert ports == ["5000", None, "5200"]


def test_init_keeps_what_exists() -> None:
    """A configuration is not overwritten, and without a Procfile somebody must answer."""
    assert call("init").status == 2
    assert os.listdir() == []
    Path("Procfile").write_text("a: true\n")
    Path("currant.toml").write_text("# mine")
    called = call("init")
    assert (called.status, called.out) == (2, "")
    assert called.err == "currant: currant.toml exists already; nothing has been written\n"
    assert Path("currant.toml").read_text() == "# mine"


def test_init_refuses_a_procfile_that_toml_cannot_hold() -> None:
    """TOML is UTF-8; no half of a file is left."""
    Path("Procfile").write_bytes(b"a: echo \xff\n")
    assert "is not valid UTF-8" in call("init").err
    assert not Path("currant.toml").exists()


@pytest.mark.slow
@pytest.mark.parametrize("end", [b"\n", b"\x04"], ids=["enter", "ctrl-d"])
def test_init_asks_for_commands(on_terminal: Start, folder: Path, end: bytes) -> None:
    """Each command has a name of its own, which is that of its program by default."""
    cli = on_terminal(subcommand="init", cwd=folder)
    for question, answer in (
        (b"A command to start (none: done)", b"npm run dev\n"),
        (b"Its name [dev]", b"\n"),
        (b"[dev]: \r\nA command to start (none: done)", b"serve ${X%y}\n"),
        (b"Its name [serve]", b"dev\n"),
        (b"Another command has the name dev.\r\nIts name [serve]", b"web server\n"),
        (b"web server\r\nA command to start (none: done)", end),
    ):
        cli.read_until(question)
        type_on(cli, answer)
    assert cli.end().status == 0
    assert tomllib.loads(Path("currant.toml").read_text()) == {
        "commands": {"dev": "npm run dev", "web server": "serve $${X%y}"}
    }
    assert load().values["commands"]["web server"] == {"command": "serve ${X%y}"}


def test_init_leaves_no_half_of_a_file() -> None:
    """After a full disk, the next attempt must not find a file."""
    Path("Procfile").write_text("a: true\n")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        called = call("init")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert called.err == "currant: cannot write currant.toml: File too large\n"
    assert not Path("currant.toml").exists()


def test_text_of_init_is_a_configuration(folder: Path) -> None:
    """Names and lines are quoted as TOML needs it."""
    lines = {"a.b": 'x "y" \\ \x7f', "c": "$${"}
    for text in (from_commands(lines), from_processes({**lines, "d": "$PORT"})):
        Path("currant.toml").write_text(text)
        tables = load().values["commands"]
        assert {name: tables[name]["command"] for name in lines} == lines


# ---- the page ----

PAGE = Path(__file__).parent.parent / "docs" / "config.md"

BLOCK = re.compile(r"^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def test_page_shows_what_the_commands_print() -> None:
    """Each file on the page is written, and each command after it prints the text below it."""
    blocks = [(block["kind"], block["text"]) for block in BLOCK.finditer(PAGE.read_text())]
    printed: list[tuple[str, str]] = []
    for (kind, text), (_, expected) in pairwise([*blocks, ("", "")]):
        if kind == "toml" and (name := re.match(r"# (\S+\.toml)\n", text)):
            Path(name[1]).write_text(text)
        elif kind == "sh":
            called = call(*text.split()[1:])
            printed.append((called.out + called.err, expected))
    assert len(printed) == 3
    for shown, expected in printed:
        assert shown == expected
