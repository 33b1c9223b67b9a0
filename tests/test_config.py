"""`currant.config`: what files mean, and what is said about wrong ones; no process is started."""

from __future__ import annotations

import inspect
import json
import os
import pickle
import signal
import subprocess
import sys
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import ValidationError

from currant import (
    PIPE,
    Capture,
    Command,
    CommandError,
    Limits,
    MissingExtraError,
    Pty,
    RestartPolicy,
    Runner,
    Watch,
    ready,
)
from currant._values.launch_spec import SILENT
from currant.config import Config, ConfigError, load, read_schema
from currant.config._build import OWN_KEYS, RUNNER_KEYS
from currant.config._find import find_config
from currant.config._lines import lines_of
from currant.config._make_schema import make_schema
from currant.config._model import COMMAND_TABLE, TOP_TABLE, VALIDATOR
from currant.config._probes import probe_from_text
from currant.config._toml import to_toml
from currant.config._variables import escape, expand

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from currant.config._problems import Key

SCHEMA = Path("currant", "config", "schema.json")
ROOT = Path(__file__).parent.parent

SUCCESSFUL = range(200, 400)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(text: str, name: str = "currant.toml") -> None:
    """Write a file of a configuration."""
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text)


def loaded(text: str) -> Config:
    """Return what a configuration with this text means."""
    write(text)
    return load()


def command(table: str, name: str = "a") -> Command:
    """Return the command that the settings of a table describe."""
    config = loaded(f"[commands.{name}]\n{table}")
    return config.commands[0]


def problems(text: str | None = None, **options: Any) -> list[str]:
    """Return the lines of the message about a wrong configuration."""
    if text is not None:
        write(text)
    with pytest.raises(ConfigError) as caught:
        load(**options)
    first, *more = str(caught.value).splitlines()
    if len(caught.value.problems) == 1:
        return [first, *more]
    assert first == f"{len(caught.value.problems)} problems"
    return more


# ---- commands ----


def test_text_is_a_shell_line_and_an_array_is_words() -> None:
    """A text runs in a shell, which the program replaces; words run without a shell."""
    config = loaded('[commands]\na = "echo $HOME | cat"\nb = { command = ["echo", "$HOME"] }')
    shell, words = config.commands
    assert (shell.name, shell.argv) == ("a", ("/bin/sh", "-c", "echo $HOME | cat"))
    assert (words.name, words.argv) == ("b", ("echo", "$HOME"))
    assert shell.stdin is SILENT


OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ('ready = "tcp:5432"', {"ready": ready.tcp("localhost", 5432)}),
    (
        'alive = { tcp = "db:80", own = false, interval = 2 }',
        {"alive": ready.tcp("db", 80, own=False, interval=2)},
    ),
    (
        'ready = { unix = "a.sock", own = false }\nalive = { file = "a.pid", non_empty = true }',
        {"ready": ready.unix("a.sock", own=False), "alive": ready.file("a.pid", non_empty=True)},
    ),
    (
        'ready = { http = "https://h", status = 201, method = "POST", body = "b", ca = "c" }',
        {"ready": ready.https("https://h", 201, method="POST", body="b", ca="c")},
    ),
    (
        'ready = { http = "8/", status = [200], headers = { H = "h" }, pattern = "p" }',
        {"ready": ready.http("http://localhost:8/", headers={"H": "h"}, pattern="p")},
    ),
    (
        'ready = { http = "https://h", status = 200, verify = false }',
        {"ready": ready.http("https://h", verify=False)},
    ),
    (
        'ready = { all = ["line:^a", { delay = 2 }], timeout = 9 }',
        {"ready": ready.all_of(ready.line("^a"), ready.delay(2), timeout=9)},
    ),
    (
        'ready = { any = [{ line = "x", stream = "stderr", raw = true }] }',
        {"ready": ready.any_of(ready.line("x", "stderr", raw=True))},
    ),
    (
        'ready = { http = "http://h/x", status = [200, 204] }',
        {"ready": ready.http("http://h/x", (200, 204))},
    ),
    ('ready = { command = ["true"] }', {"ready": ready.command(["true"])}),
    ("failure_threshold = 5", {"failure_threshold": 5}),
    ('restart = "always"', {"restart": "always"}),
    (
        'restart = { when = "on-failure", max_restarts = 3, delay = 1 }',
        {"restart": RestartPolicy("on-failure", 3, 1.0)},
    ),
    ('kill_others_on = "exit"', {"kill_others_on": "exit"}),
    ("replicas = 1", {"replicas": 1}),
    ('color = "bold red"', {"color": "bold red"}),
    ("inherit_env = false", {"inherit_env": False}),
    ('env = { A = "1", B = 2 }', {"env": {"A": "1", "B": "2"}}),
    ('stdin = "null"', {"stdin": None}),
    ('stdin = "pipe"', {"stdin": PIPE}),
    ('stdin = { text = "y" }', {"stdin": b"y"}),
    ('stdin = { file = "in" }', {"stdin": Path("in")}),
    ('stdout = { file = "out" }', {"stdout": Path("out")}),
    ('stdout = "inherit"', {"stdout": "inherit"}),
    ('stderr = { file = "err" }', {"stderr": Path("err")}),
    ('stderr = "stdout"', {"stderr": "stdout"}),
    ('watch = "src"', {"watch": Watch("src")}),
    ('watch = ["src", ".env"]', {"watch": Watch(["src", ".env"])}),
    (
        'watch = { paths = "a", include = ["*.c"], ignore = "b", debounce = 1, action = "hup" }',
        {"watch": Watch("a", include="*.c", ignore="b", debounce=1, action="HUP")},
    ),
    ("pty = true", {"pty": True, "stdin": None}),
    ("pty = { columns = 100 }", {"pty": Pty(columns=100), "stdin": None}),
    ('stop_signal = "INT"', {"stop_signal": signal.SIGINT}),
    ('stop_command = "a | b"', {"stop_command": Command.shell("a | b")}),
    ('stop_command = ["a", "b c"]', {"stop_command": Command(["a", "b c"])}),
    ("grace = 1.5", {"grace": 1.5}),
    ('kill_mode = "mixed"', {"kill_mode": "mixed"}),
    ('leftovers = "wait"', {"leftovers": "wait"}),
    ("timeout = 5", {"timeout": 5.0}),
    ("idle_timeout = 5", {"idle_timeout": 5.0}),
    ('max_output = "2k"', {"max_output": 2048}),
    ("success_codes = [0, 3]", {"success_codes": (0, 3)}),
    (
        'limits = { memory = "1G", open_files = 9 }',
        {"limits": Limits(memory=1 << 30, open_files=9)},
    ),
    ("nice = 5", {"nice": 5}),
    ("umask = 0o077", {"umask": 0o077}),
    ('user = "me"', {"user": "me"}),
    ("group = 5", {"group": 5}),
    ('extra_groups = ["a", 5]', {"extra_groups": ["a", 5]}),
    ("wrap = \"nice -n '5'\"", {"wrap": ("nice", "-n", "5")}),
    ('wrap = ["a b"]', {"wrap": ("a b",)}),
    ('host = "gpu1"', {"host": "gpu1"}),
    ("resources = { gpus = 1 }", {"resources": {"gpus": 1}}),
    ("capture = 100", {"capture": 100}),
    ('capture = { tail = 9, spill = "{name}" }', {"capture": Capture(0, 9, "{name}")}),
    ("line_limit = 100", {"line_limit": 100}),
    ("flush_after = 1", {"flush_after": 1.0}),
    ('flush_after = "never"', {"flush_after": None}),
]


@pytest.mark.parametrize(("table", "options"), OPTIONS)
def test_table_sets_the_option_of_a_command(table: str, options: dict[str, Any]) -> None:
    """Each setting has the same effect as the option of `Command` with that name."""
    options.setdefault("stdin", SILENT)
    expected = Command.shell("exec serve", name="a", **options)
    assert command(f'command = "serve"\n{table}') == expected


def test_commands_restart_with_others_that_are_started(folder: Path) -> None:
    """Names of commands that are not started are left out, and a wrong name has its line."""
    write(
        """
        [commands]
        db = { command = "db", replicas = 2, profiles = ["data"] }
        api = { command = "api", restart_with = ["db", "db.2"] }
        """
    )
    config = load()
    assert config.commands[1].restart_with == ("db", "db.2")
    assert [each.restart_with for each in config.select(["api"])] == [()]
    assert [each.restart_with for each in config.select(profiles=["data"])] == [(), ("db", "db.2")]
    write('[commands.api]\ncommand = "api"\nrestart_with = ["ap"]')
    with pytest.raises(ConfigError, match=r"3: commands\.api\.restart_with.*did you mean 'api'"):
        load()


def test_each_option_of_a_command_is_a_setting() -> None:
    """The table of a command has all parameters of `Command`, but for three."""
    elsewhere = {
        "argv": "the setting `command`",
        "name": "the name of the table",
        "listen": "sockets, which a file cannot hold",
        "new_session": "for a program that lends its terminal",
    }
    keys = set(COMMAND_TABLE.keys)
    parameters = set(inspect.signature(Command).parameters)
    assert parameters - keys == elsewhere.keys()
    assert keys - parameters == set(OWN_KEYS) - {"env"}
    tried = {name for _, options in OPTIONS for name in options}
    assert parameters - tried == {
        *elsewhere,
        "after",
        "cwd",
        "restart_with",
    }  # which have tests of their own


def test_each_option_of_the_runner_is_a_setting() -> None:
    """The top level has all parameters of `Runner`, but for those of programs."""
    elsewhere = {
        "commands": "the table `commands`",
        "sinks": "the settings of the display",
        "launcher": "the options for hosts",
        "iterable": "nobody iterates",
        "unread": "nobody iterates",
        "buffer_size": "nobody iterates",
        "keep_open": "commands do not join later",
        "keep_results": "the summary shows all",
        "on_exit": "there is no block",
        "orphan_guard": "always: nothing may be left",
    }
    parameters = set(inspect.signature(Runner).parameters)
    assert parameters - set(RUNNER_KEYS) == elsewhere.keys()
    assert set(RUNNER_KEYS) <= set(TOP_TABLE.keys)


def test_top_level_has_the_options_of_the_runner_and_the_display() -> None:
    """The top level is for the Runner and the output; single commands keep their own values."""
    config = loaded(
        """
        grace = 3
        restart = "on-failure"
        cgroup = "auto"
        max_processes = 2
        wrap = "nice"
        stop_signal = "INT"
        max_output = "1k"
        prefix = "{time} "
        group = true
        json = false
        [commands]
        a = "true"
        b = { command = "true", stop_signal = "TERM", stdout = "inherit" }
        """
    )
    assert config.runner == {
        "grace": 3.0,
        "restart": "on-failure",
        "cgroup": "auto",
        "max_processes": 2,
        "wrap": ("nice",),
    }
    assert config.display == {"prefix": "{time} ", "group": True, "json": False}
    first, second = config.commands
    assert (first.stop_signal, first.max_output) == (signal.SIGINT, 1024)
    assert (second.stop_signal, second.max_output) == (signal.SIGTERM, None)
    Runner(config.commands, **config.runner)


def test_after_has_names_or_conditions() -> None:
    """A dependency is a name, several names, or a table with conditions."""
    config = loaded(
        """
        [commands]
        a = "true"
        b = { command = "true", after = "a" }
        c = { command = "true", after = ["a", "b"] }
        d = { command = "true", after = { a = "succeeded" }, replicas = 2 }
        e = { command = "true", after = ["d", "d.2"] }
        """
    )
    assert [dict(each.after) for each in config.commands] == [
        {},
        {"a": None},
        {"a": None, "b": None},
        {"a": "succeeded"},
        {"d": None, "d.2": None},
    ]


@pytest.mark.parametrize(
    ("text", "probe"),
    [
        ("tcp:80", ready.tcp("localhost", 80)),
        ("tcp:db:80", ready.tcp("db", 80)),
        ("tcp:[::1]:80", ready.tcp("::1", 80)),
        ("http://a:8/b?c", ready.http("http://a:8/b?c", SUCCESSFUL)),
        ("http:8000/b", ready.http("http://localhost:8000/b", SUCCESSFUL)),
        ("http:8000", ready.http("http://localhost:8000/", SUCCESSFUL)),
        ("https://a:8/b?c", ready.https("https://a:8/b?c", SUCCESSFUL)),
        ("https:8000/b", ready.https("https://localhost:8000/b", SUCCESSFUL)),
        ("unix:a:b", ready.unix("a:b")),
        ("file:/a/b", ready.file("/a/b")),
        ("line:a:b", ready.line("a:b")),
        ("command:test -e x", ready.command(Command.shell("test -e x"))),
        ("delay:0.5", ready.delay(0.5)),
    ],
)
def test_text_describes_a_probe(text: str, probe: ready.Probe) -> None:
    """A probe is its kind, a colon and its argument."""
    assert str(probe_from_text(text)) == str(probe).replace(str(SUCCESSFUL), str(tuple(SUCCESSFUL)))


def test_config_is_a_value_that_compares_and_selects() -> None:
    """Two readings of the same files are equal, and a change of a file is a difference."""
    text = '[commands]\na = "true"\nb = { command = "true", ready = "line:x" }'
    before = loaded(text)
    assert loaded(text) == before
    changed = loaded(text.replace("line:x", "line:y"))
    assert changed != before
    assert [a == b for a, b in zip(before.commands, changed.commands, strict=True)] == [True, False]
    assert before.values["commands"]["b"] == {"command": "true", "ready": "line:x"}


SELECTION = """
[commands]
db = "true"
api = { command = "true", after = "db" }
debug = { command = "true", profiles = ["debug", "all"], after = "tools.2" }
tools = { command = "true", profiles = ["all"], replicas = 2, hidden = true }
"""


@pytest.mark.parametrize(
    ("names", "profiles", "selected"),
    [
        ([], [], "db api"),
        (["api"], [], "db api"),
        (["db"], [], "db"),
        (["debug"], [], "debug tools"),
        ([], ["all"], "db api debug tools"),
        ([], ["debug"], "db api debug tools"),
        (["db"], ["all"], "db debug tools"),
    ],
)
def test_names_and_profiles_select_commands(
    names: list[str], profiles: list[str], selected: str
) -> None:
    """Named commands start with all that they need; others if they have no profile."""
    config = loaded(SELECTION)
    assert " ".join(each.name for each in config.select(names, profiles)) == selected
    assert config.hidden == {"tools"}
    assert config.profiles == {"debug": ("debug",), "all": ("debug", "tools")}


@pytest.mark.parametrize(
    ("names", "also", "selected"),
    [([], ["debug"], "db api debug tools"), (["db"], ["api"], "db api"), (["db"], ["gone"], "db")],
)
def test_further_commands_are_selected_if_they_exist(
    names: list[str], also: list[str], selected: str
) -> None:
    """A command that was added to a running stack may be gone from the files later."""
    chosen = loaded(SELECTION).select(names, also=also)
    assert " ".join(each.name for each in chosen) == selected


def test_selection_refuses_what_does_not_exist() -> None:
    """An unknown name or profile is an error, and so is a selection of nothing."""
    config = loaded(SELECTION)
    with pytest.raises(CommandError, match=r"no command 'dbb' in currant\.toml; did you mean 'db'"):
        config.select(["dbb"])
    with pytest.raises(CommandError, match=r"no profile 'debugg'.*did you mean 'debug'"):
        config.select([], ["debugg"])
    with pytest.raises(CommandError, match="choose one of x with --profile"):
        loaded('[commands.a]\ncommand = "true"\nprofiles = ["x"]').select()


def test_commands_are_ordered_by_their_dependencies() -> None:
    """A command comes after those that it waits for, and otherwise where the file has it."""
    config = loaded(
        '[commands]\na = { command = "x", after = "c" }\nb = "x"\n'
        'c = { command = "x", replicas = 2 }\nd = { command = "x", after = ["c.1", "a"] }'
    )
    assert "".join(each.name for each in config.in_order(config.commands)) == "bcad"


# ---- files ----


def test_configuration_is_found_from_the_folder_upwards(folder: Path) -> None:
    """The nearest file counts; in one folder, currant.toml comes before pyproject.toml."""
    (folder / "a" / "b").mkdir(parents=True)
    assert find_config() is None
    write('[tool.currant.commands]\nx = "true"', "pyproject.toml")
    write('[project]\nname = "currant"', "a/pyproject.toml")
    assert find_config(str(folder / "a" / "b")) == str(folder / "pyproject.toml")
    write("", "a/currant.toml")
    assert find_config("a") == "a/currant.toml"
    assert find_config("a/b") == str(folder / "a" / "currant.toml")
    write("", "a/b/currant.toml")
    assert find_config("a/b") == "a/b/currant.toml"


def test_configuration_of_a_stranger_above_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file in a folder such as /tmp, by another user, would run that user's commands."""
    (folder / "a").mkdir()
    write('[commands]\nx = "true"')
    real = os.stat

    def stat(path: Any, **options: Any) -> os.stat_result:
        found = list(real(path, **options))
        if os.path.basename(path) == "currant.toml":
            found[4] = os.geteuid() + 4711
        return os.stat_result(found)

    monkeypatch.setattr(os, "stat", stat)
    assert "belongs to another user" in problems(folder="a")[0]
    assert load().commands[0].name == "x"  # In the folder itself, and by name, a file is trusted.
    assert load(["currant.toml"]).commands[0].name == "x"


def test_link_above_that_leads_nowhere_is_a_problem(folder: Path) -> None:
    """It is the configuration, and cannot be read."""
    (folder / "a").mkdir()
    (folder / "currant.toml").symlink_to("nowhere")
    assert problems(folder="a") == [
        f"{folder / 'currant.toml'}: cannot be read: No such file or directory"
    ]


def test_configuration_in_pyproject_has_its_own_table() -> None:
    """The lines in messages are those of the whole file."""
    write(
        '[project]\nname = "x"\n[tool.currant]\ngrace = 1\ngrce = 2\n'
        '[tool.currant.commands]\na = "true"',
        "pyproject.toml",
    )
    assert problems() == ["pyproject.toml:5: grce: unknown key; did you mean 'grace'?"]
    write('[tool.currant.commands]\na = "true"', "pyproject.toml")
    assert load().sources == ("pyproject.toml",)
    write("", "pyproject.toml")
    assert problems(files=["pyproject.toml"]) == ["pyproject.toml: has no table [tool.currant]"]


def test_later_files_replace_values_and_the_local_file_is_last() -> None:
    """Commands and variables are merged key by key; every other value is replaced whole."""
    write(
        """
        grace = 1
        env = { A = "1", B = "1" }
        [commands]
        web = "serve"
        [commands.db]
        command = "db"
        env = { C = "1", D = "1" }
        restart = { when = "always", delay = 5 }
        """
    )
    write(
        """
        grace = 2
        env = { B = "2" }
        [commands.web]
        cwd = "web"
        [commands.db]
        env = { D = "2" }
        restart = "never"
        """,
        "deploy/more.toml",
    )
    write('grace = 3\ncommands = { one = "1" }', "currant.local.toml")
    config = load(["currant.toml", "deploy/more.toml"])
    assert config.sources == ("currant.toml", "deploy/more.toml", "currant.local.toml")
    assert config.runner["grace"] == 3
    assert config.env == {"A": "1", "B": "2"}
    web, db, one = config.commands
    assert (web.argv[-1], web.cwd) == ("exec serve", "deploy/web")
    assert (db.restart, db.cwd, one.name) == ("never", None, "one")
    assert db.env == {"A": "1", "B": "2", "C": "1", "D": "2"}


def test_mistake_in_merged_files_has_the_place_of_its_value() -> None:
    """A command may be a text in one file, and get settings from another one."""
    write('[commands]\nweb = "serve ${UNSET}"')
    write('[commands.web]\nnice = "x"', "currant.local.toml")
    assert [line.partition(": ")[0] for line in problems()] == [
        "currant.toml:2",
        "currant.local.toml:2",
    ]


def test_paths_begin_at_the_file_that_has_them() -> None:
    """This holds for cwd, files of variables, spilled output and logs; cwd is that folder."""
    write("X=1", "a/vars")
    write(
        'log_dir = "logs"\nenv_file = "vars"\n[commands.x]\ncommand = "serve ${X}"\n'
        'capture = { spill = "out" }\n[commands.y]\ncommand = "true"\ncwd = "/"',
        "a/currant.toml",
    )
    config = load(["a/currant.toml"])
    x, y = config.commands
    assert (x.cwd, y.cwd) == ("a", "/")
    assert x.env == {"X": "1"}
    assert x.argv[-1] == "exec serve 1"
    assert x.capture == Capture(spill="a/out")
    assert config.display["log_dir"] == "a/logs"
    assert config.folder == "a"


def test_procfile_can_be_merged_with_a_configuration() -> None:
    """The processes become commands; a dollar sign in their lines is left to the shell."""
    write("web: serve $PORT ${X%y} $$\njob: work\n", "Procfile")
    write("[commands.web]\nenv = { PORT = 80 }", "more.toml")
    web, job = load(["Procfile", "more.toml"]).commands
    assert web.argv[-1] == "exec serve $PORT ${X%y} $$"
    assert (dict(web.env), job.name) == ({"PORT": "80"}, "job")


def test_command_line_counts_as_the_last_file() -> None:
    """Settings replace the top level, but not what a command sets for itself."""
    write('grace = 1\n[commands]\na = "true"\nb = { command = "true", cwd = "b" }')
    config = load(settings={"grace": 9, "cwd": "here"})
    assert config.runner["grace"] == 9
    assert [each.cwd for each in config.commands] == ["here", "b"]
    assert load(settings={"wrap": []}).runner["wrap"] == ()
    assert problems(settings={"grace": -1}) == [
        "the command line: grace: got -1, expected a number >= 0"
    ]


# ---- variables ----


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("${A}", "1"),
        ("x${A}y${B:-z}", "x1yz"),
        ("${E}", ""),
        ("${E:-d}", "d"),
        ("${B:-}", ""),
        ("$A $(x) $ $1", "$A $(x) $ $1"),
        ("$$", "$"),
        ("x-$$$$ $$$$$$", "x-$$ $$$"),
        ("$${A} $$$${A}", "${A} $${A}"),
        ("$$$${A}", "$${A}"),
        ("$$${A}", "$1"),
    ],
)
def test_variables_are_expanded(text: str, expanded: str) -> None:
    """`${NAME}`, `${NAME:-default}` and `$$` are replaced, and nothing else."""
    faults: list[str] = []
    assert expand(text, {"A": "1", "E": ""}, faults) == expanded
    assert faults == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("${B}", "the variable B is not set"),
        ("x ${A", "'${A' has no closing brace"),
        ("${", "'${' has no closing brace"),
        ("${}", "'${}' is neither ${NAME} nor ${NAME:-default}; write $${} to leave"),
        ("${A%x}", "'${A%x}' is neither"),
        ("${A:=x}", "'${A:=x}' is neither"),
        ("${1}", "'${1}' is neither"),
        ("${A:-${B}}", "the default of A has another variable in it"),
    ],
)
def test_wrong_reference_to_a_variable_is_a_fault(text: str, fault: str) -> None:
    """What only a shell understands is refused, with the way to leave it to the shell."""
    faults: list[str] = []
    expand(text, {"A": "1"}, faults)
    assert len(faults) == 1
    assert faults[0].startswith(fault)


@given(st.text("$${}:-aAZ_1"))
def test_escaped_text_is_left_as_it_is(text: str) -> None:
    """`expand` undoes `escape`, without any variable."""
    faults: list[str] = []
    assert (expand(escape(text), {}, faults), faults) == (text, [])


def test_variables_come_from_files_and_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """`.env` comes before the environment; a number or truth value may be a variable."""
    monkeypatch.setenv("ONE", "1")
    monkeypatch.setenv("TWO", "1")
    write("TWO=2\nYES=true\n", ".env")
    config = loaded(
        'grace = "${TWO}"\ntimestamps = "${YES}"\n[commands.a]\ncommand = "serve ${ONE}${TWO}"\n'
        'replicas = "${N:-3}"\nenv = { N = "${ONE}" }'
    )
    (a,) = config.commands
    assert (config.runner["grace"], config.display["timestamps"]) == (2.0, True)
    assert (a.argv[-1], a.replicas) == ("exec serve 12", 3)
    assert a.env == {"TWO": "2", "YES": "true", "N": "1"}
    (problem,) = problems(env_files=[])
    assert problem.endswith(
        ":2: timestamps: the variable YES is not set; set it in the environment, in a file of "
        "variables or in env at the top level, give a default with ${YES:-...}, or write $${YES} "
        "to leave it to the shell"
    )
    write("YES=false", "other")
    assert load(env_files=["other"]).commands[0].argv[-1] == "exec serve 11"


def test_variables_come_from_env_at_the_top_level(monkeypatch: pytest.MonkeyPatch) -> None:
    """`${NAME}` has the value that all commands get, in whatever order `env` is written."""
    monkeypatch.setenv("A", "outside")
    monkeypatch.setenv("B", "outside")
    text = (
        'env = { A = "${A}+", C = "${A}${B}", N = 3 }\n'
        '[commands.x]\ncommand = ["x", "${A}", "${B}", "${C}"]\nreplicas = "${N}"\n'
        'env = { C = "own" }'
    )
    config = loaded(text)
    (x,) = config.commands
    assert (*x.argv, x.replicas) == ("x", "outside+", "outside", "outside+outside", 3)
    assert config.env == {"A": "outside+", "C": "outside+outside", "N": "3"}
    given = load(variables={"A": "given"})
    assert (given.commands[0].argv[1], given.env["A"]) == ("given", "given")
    assert given.env["C"] == "givenoutside"
    write("env = { P = 1, U = '${P}' }\n[commands.x]\ncommand = 'x'")
    write("env = { Q = 2, P = '${Q}' }", "currant.local.toml")
    assert load().env == {"P": "2", "U": "2", "Q": "2"}
    Path("currant.local.toml").unlink()
    write(text.partition("\n")[2])
    assert [problem.partition(" is not")[0] for problem in problems()] == [
        "currant.toml:2: commands.x.command[3]: the variable C",
        "currant.toml:3: commands.x.replicas: the variable N",
    ]


def test_variables_of_a_command_replace_those_for_all() -> None:
    """The order is: files for all, env for all, files of the command, env of the command."""
    write("A=1\nB=1\nC=1\nD=1", ".env")
    write("C=3\nD=3", "own")
    config = loaded(
        'env = { B = "2", C = "2", D = "2" }\n[commands.x]\ncommand = "true"\n'
        'env_file = ["own"]\nenv = { D = "4" }'
    )
    assert config.commands[0].env == {"A": "1", "B": "2", "C": "3", "D": "4"}
    assert config.env == {"A": "1", "B": "2", "C": "2", "D": "2"}


# ---- mistakes ----

COMMAND = '[commands.a]\ncommand = "true"\n'

TYPE_MISTAKES = [
    ("grce = 1\n" + COMMAND, "1: grce: unknown key; did you mean 'grace'?"),
    ("kill-others-on = 1\n" + COMMAND, "1: kill-others-on: unknown key; did you mean 'kill_others"),
    ("qqq = 1\n" + COMMAND, "1: qqq: unknown key"),
    ("grace = -1\n" + COMMAND, "1: grace: got -1, expected a number >= 0"),
    ('grace = "5"\n' + COMMAND, '1: grace: got "5", expected a number'),
    ("grace = true\n" + COMMAND, "1: grace: got true, expected a number"),
    ("max_processes = 0\n" + COMMAND, "1: max_processes: got 0, expected a number >= 1"),
    ("max_processes = 1.5\n" + COMMAND, "1: max_processes: got 1.5, expected a whole number"),
    ("timestamps = 1\n" + COMMAND, "1: timestamps: got 1, expected true or false"),
    ("env = 1\n" + COMMAND, "1: env: got 1, expected a table"),
    ("env = { A = 1.5 }\n" + COMMAND, "1: env.A: got 1.5, expected a whole number"),
    ("env = { A = 2020-01-01 }\n" + COMMAND, "1: env.A: got 2020-01-01, expected a text in quotes"),
    ('restart = "alway"\n' + COMMAND, "; did you mean 'always'?"),
    ("restart = 1\n" + COMMAND, "1: restart: got 1, expected a text in quotes or a table"),
    (COMMAND + "grce = 1", "3: commands.a.grce: unknown key; did you mean 'grace'?"),
    (COMMAND + "limits = { memry = 1 }", "3: commands.a.limits.memry: unknown key; did you mean"),
    (
        COMMAND + "restart = { when = 'always', dely = 1 }",
        "3: commands.a.restart.dely: unknown key",
    ),
    (COMMAND + "restart = { delay = 1 }", "3: commands.a.restart: the key 'when' is missing"),
    (COMMAND + "nice = 99", "3: commands.a.nice: got 99, expected a number <= 39"),
    (COMMAND + "ready = { own = true }", "3: commands.a.ready: got none of them, expected exactly"),
    (
        COMMAND + 'ready = { tcp = 1, line = "x" }',
        "3: commands.a.ready: got tcp and line, expected",
    ),
    (
        COMMAND + "ready = { tcp = 1, verify = false }",
        "3: commands.a.ready: the key verify is only for http",
    ),
    (
        COMMAND + 'ready = { http = "8/", non_empty = true }',
        "3: commands.a.ready: the key non_empty is only for file",
    ),
    (
        COMMAND + 'ready = { http = "8/", headers = { A = 1 } }',
        "3: commands.a.ready.headers.A: got 1, expected a text in quotes",
    ),
    (
        COMMAND + "ready = { tcp = 1, raw = true }",
        "3: commands.a.ready: the key raw is only for line",
    ),
    (COMMAND + 'stdin = { file = "a", text = "b" }', "3: commands.a.stdin: got file and text"),
    (
        COMMAND + 'capture = "x"',
        '3: commands.a.capture: got "x", expected true or false or a number',
    ),
    (
        COMMAND + 'max_output = "10T"',
        '3: commands.a.max_output: got "10T", expected a number of bytes',
    ),
    (COMMAND + 'after = { a = "redy" }', """3: commands.a.after.a: got "redy", expected 'ready'"""),
    ("[commands.a]\nnice = 1", "1: commands.a: the key 'command' is missing"),
    ("[commands]\na = 1", "2: commands.a: got 1, expected a line for the shell, or a table"),
    ('[commands]\na = ""', '2: commands.a.command: got "", expected a text that is not empty'),
    ("[commands]\na = { command = [] }", "2: commands.a.command: got an array, expected an array"),
    ('[commands]\n"" = "true"', '2: commands."": got "", expected a text that is not empty'),
    ("commands = 1", "1: commands: got 1, expected a table"),
    ("", ": the key 'commands' is missing"),
]
"""Wrong keys, types, words and limits, which a schema knows, too."""

OTHER_MISTAKES = [
    ("grace = inf\n" + COMMAND, "1: grace: got inf, expected a finite number"),
    (
        'restart = "alway"\n' + COMMAND,
        """1: restart: got "alway", expected 'never', 'on-failure'""",
    ),
    ('stop_signal = "FOO"\n' + COMMAND, "1: stop_signal: stop_signal must be a signal"),
    ('env_file = "none"\n' + COMMAND, "1: env_file: cannot read the variables in none"),
    ('prefix = "{nme}"\n' + COMMAND, "1: prefix: "),
    (COMMAND + 'ready = "tpc:80"', "3: commands.a.ready: 'tpc:80' is no probe, expected tcp:PORT"),
    (COMMAND + 'ready = "tcp:x"', "3: commands.a.ready: tcp: 'x' is neither a PORT"),
    (COMMAND + 'ready = "tcp:99999"', "3: commands.a.ready: tcp: port must be an integer from 1"),
    (COMMAND + 'ready = "line:("', "3: commands.a.ready: line: '(' is not a regular expression"),
    (COMMAND + 'ready = "http://"', "3: commands.a.ready: http: url must start with http://"),
    (
        COMMAND + 'ready = { all = [\n"tcp:1",\n{ tcp = 0 }] }',
        "5: commands.a.ready.all[1].tcp: got 0, expected a number >= 1",
    ),
    (COMMAND + 'alive = "line:x"', "3: commands.a.alive: alive cannot be"),
    (COMMAND + 'leftovers = "leave"\npty = true', "1: commands.a: leftovers cannot be 'leave'"),
    (COMMAND + 'color = "blurple"', "3: commands.a.color: color is not a style"),
    (COMMAND + 'wrap = "a \'b"', "3: commands.a.wrap: No closing quotation"),
    (COMMAND + 'env_file = ["x"]', "3: commands.a.env_file: cannot read the variables in x"),
    (
        COMMAND + 'env = { "A=" = "1" }',
        '3: commands.a.env."A=": got "A=", expected the name of a variable',
    ),
    (COMMAND + 'after = "b"', "3: commands.a.after: there is no command 'b'; there are: 'a'"),
    (COMMAND + 'after = ["b"]', "3: commands.a.after[0]: there is no command 'b'"),
    (COMMAND + 'after = { b = "ready" }', "3: commands.a.after.b: there is no command 'b'"),
    (COMMAND + 'after = "a"', "3: commands.a.after: commands wait for one another: 'a' after 'a'"),
    (
        COMMAND + 'after = "b"\n[commands.b]\ncommand = "x"\nafter = "a"',
        ": commands wait for one another: 'a' after 'b' after 'a'",
    ),
    (
        COMMAND + 'restart_with = "b"\n[commands.b]\ncommand = "x"\nrestart_with = "a"',
        "3: commands.a.restart_with: commands restart with one another: 'a' with 'b' with 'a'",
    ),
    (
        COMMAND + 'restart = "always"\n[commands.b]\ncommand = "x"\nafter = { a = "succeeded" }',
        "4: commands.b: after: 'a' can never succeed",
    ),
    (
        COMMAND + 'replicas = 2\n[commands."a.2"]\ncommand = "x"',
        "4: commands.\"a.2\": a replica of 'a' has this name, too",
    ),
    ('[commands]\na = " "', "2: commands.a.command: a shell command needs a script to run"),
    ('[commands]\na = "\\u0000"', "2: commands.a.command: each item of argv contains a NUL"),
    ('[commands]\na = "${B}"', "2: commands.a.command: the variable B is not set; set it in"),
    ('[commands]\na = "${"', "2: commands.a.command: '${' has no closing brace"),
    (
        'success = "!wb"\n[commands]\nweb = "x"',
        "1: success: there is no command 'wb'; did you mean 'web'? There are: 'web'",
    ),
    (
        'success = "a"\n' + COMMAND + "replicas = 2",
        "1: success: there is no command 'a'; there are: 'a.1', 'a.2'",
    ),
    ('success = "command-1"\n' + COMMAND, "1: success: there is no command 'command-1'"),
    (
        COMMAND + '[env]\nA = "${B}"\nB = "${C:-1}"\nC = "${A}"\nD = "${A}"',
        "4: env.A: variables refer to one another: 'A' to 'B' to 'C' to 'A'; give one of them",
    ),
    ("[commands]", ": defines no command; add"),
    ("a = ", "1: is not valid TOML: Invalid value"),
    ("\n\na b", "3: is not valid TOML: Expected '=' after a key"),
    ("a = 1\na = 2", "2: is not valid TOML: Cannot overwrite a value"),
    ('a = """', "1: is not valid TOML: "),
    ("a = " + "[" * 9999, ": "),
    ("a = " + "9" * 9999, ": is not valid TOML: "),
]
"""What only a look at the whole configuration, or at a text, can find."""


@pytest.mark.parametrize(("text", "message"), TYPE_MISTAKES + OTHER_MISTAKES)
def test_mistake_is_reported_with_its_line_and_key(text: str, message: str) -> None:
    """A message says where the mistake is, what was there, and what is expected."""
    (line,) = problems(text)
    assert line.startswith("currant.toml:")
    assert message in line
    if message[0].isdigit():
        assert line.startswith(f"currant.toml:{message.split(':', maxsplit=1)[0]}:")


@pytest.mark.parametrize("success", ["last", "a", "!a", "command-a", "!command-0", "a@host"])
def test_success_may_name_a_command_in_each_way_that_a_run_knows(success: str) -> None:
    """A command on each host, such as `a@host`, gets its name when it starts."""
    assert loaded(f'success = "{success}"\n' + COMMAND).display == {"success": success}


def test_all_mistakes_are_reported_at_once_in_order() -> None:
    """Mistakes of each kind and in each file are in one message, those of a file by line."""
    write('[commands.a]\ncomand = "x"\n', "currant.local.toml")
    found = problems(
        """grce = 5
grace = -1
restart = { when = "sometimes" }
[commands.web]
command = "serve ${PORT_OF_THE_SERVER}"
after = ["dbb", "api"]
stop_signal = "FOO"
nice = "x"
[commands.api]
after = "web"
command = "x"
"""
    )
    assert [line.partition(": ")[0] for line in found] == [
        "currant.toml:1",
        "currant.toml:2",
        "currant.toml:3",
        "currant.toml:5",
        "currant.toml:6",
        "currant.toml:6",
        "currant.toml:7",
        "currant.toml:8",
        "currant.local.toml:1",
        "currant.local.toml:2",
    ]


def test_each_loop_of_variables_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value in the environment ends none, as `env` replaces it; a name may refer to itself."""
    monkeypatch.setenv("B", "1")
    found = problems(
        '[env]\nA = "${B}"\nB = "${A}"\nC = "${D}"\nD = "${C}"\nHOME = "${HOME}/x"\n' + COMMAND
    )
    assert [line.partition(";")[0] for line in found] == [
        "currant.toml:2: env.A: variables refer to one another: 'A' to 'B' to 'A'",
        "currant.toml:4: env.C: variables refer to one another: 'C' to 'D' to 'C'",
    ]


def test_command_with_a_mistake_is_still_known_to_others() -> None:
    """A mistake in a command is no reason to report each command that waits for it."""
    assert len(problems(COMMAND + 'nice = "x"\n[commands.b]\ncommand = "x"\nafter = "a"')) == 1
    assert len(problems('[commands.a]\n[commands.b]\ncommand = "x"\nafter = "a"')) == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a = 1\nb = '\xe4'\n", "currant.toml:2: is not valid UTF-8: byte 0xe4"),
        (b"\xff\xfea\x00", "currant.toml:1: is not valid UTF-8: byte 0xff"),
        (b"#" * (10 << 20), "currant.toml: is larger than 1 MiB, so it is no configuration"),
        (b"\xef\xbb\xbfgrce = 1\n[commands]\na='x'", "currant.toml:1: grce: unknown key"),
        (b"grace = 1\r\ngrce = 1\r\n[commands]\r\na='x'", "currant.toml:2: grce: unknown key"),
    ],
)
def test_bytes_of_a_file_are_checked(data: bytes, message: str) -> None:
    """A byte order mark is ignored; what is not UTF-8 or is very large is refused."""
    Path("currant.toml").write_bytes(data)
    (line,) = problems()
    assert line.startswith(message)


def test_file_that_cannot_be_read_is_reported(folder: Path) -> None:
    """A folder, a missing file and a broken link are no configuration; each is reported."""
    (folder / "a.toml").mkdir()
    (folder / "b.toml").symlink_to("nowhere")
    assert problems(files=["a.toml", "b.toml", "c.toml"]) == [
        "a.toml: cannot be read: Is a directory",
        "b.toml: cannot be read: No such file or directory",
        "c.toml: cannot be read: No such file or directory",
    ]
    assert "has no currant.toml, and neither has a folder above" in problems()[0]


def test_variable_that_is_not_utf8_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment may have any bytes; a configuration is text."""
    monkeypatch.setitem(os.environ, "BYTES", os.fsdecode(b"\xff"))
    (line,) = problems('[commands]\na = "echo ${BYTES}"')
    assert line.endswith("expected a text that is valid UTF-8")
    assert line.isascii()


def test_message_has_no_control_characters() -> None:
    """A name or value with a newline or an escape does not write to the terminal."""
    (line,) = problems('"a\\nb\\u001b" = 1\n' + COMMAND)
    assert line == r'currant.toml:1: "a\nb\u001b": unknown key'


def test_error_can_be_pickled() -> None:
    """The problems are fields of the error."""
    write("grce = 1")
    with pytest.raises(ConfigError) as caught:
        load()
    copy = pickle.loads(pickle.dumps(caught.value))
    assert copy.problems == caught.value.problems
    assert (str(copy), copy.problems[0].line) == (str(caught.value), None)


def test_missing_pydantic_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    write(COMMAND)
    monkeypatch.setitem(sys.modules, "pydantic_core", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'currant\[config\]'"):
        load()


def test_import_of_the_package_imports_no_extra() -> None:
    """Only reading a file needs pydantic."""
    code = "import sys, currant.config; print([m for m in sys.modules if 'pydantic' in m])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


# ---- lines ----


def keys_of(value: Any, key: Key = ()) -> Iterator[Key]:
    """Yield the keys of all tables and the indexes of all arrays in a value."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for name, each in items:
        yield (*key, name)
        yield from keys_of(each, (*key, name))


DOCUMENT = '''# = [
top = 1 # a = 2
"quoted.key" = "a = [1] # \\" b"
literal = 'C:\\[x'
date = 1979-05-27 07:32:00
float = 1.5e3
  dotted . "inner key" . last = { x = 1, "y" = [1, { z = "}" }] }

[table]
text = """
a = 1
[no]
\\""" b = 2"""""
raw = \'\'\'
'' c = 3
\'\'\'
array = [
    1, # one ]
    [2,
     3],
    { a = "," },
]
[ table . "sub table" ]
after = true
[[list]]
name = 1
[[list]]
name = 2
[list.inner]
x = 1
[[list.deep]]
y = 1
[[list.deep]]
y = 2
'''


def test_each_key_of_a_file_has_its_line() -> None:
    """The lines are those on which the keys and the items of arrays begin."""
    lines = lines_of(DOCUMENT)
    assert set(keys_of(tomllib.loads(DOCUMENT))) == lines.keys()
    rows = DOCUMENT.splitlines()
    assert {key: rows[line - 1].strip() for key, line in lines.items() if key[0] == "table"} == {
        ("table",): "[table]",
        ("table", "text"): 'text = """',
        ("table", "raw"): "raw = '''",
        ("table", "array"): "array = [",
        ("table", "array", 0): "1, # one ]",
        ("table", "array", 1): "[2,",
        ("table", "array", 1, 0): "[2,",
        ("table", "array", 1, 1): "3],",
        ("table", "array", 2): '{ a = "," },',
        ("table", "array", 2, "a"): '{ a = "," },',
        ("table", "sub table"): '[ table . "sub table" ]',
        ("table", "sub table", "after"): "after = true",
    }
    assert rows[lines["list", 1, "deep", 1, "y"] - 1] == "y = 2"


texts = st.text(st.characters(codec="utf-8"), max_size=9)
values = st.recursive(
    st.one_of(st.booleans(), st.integers(-99, 99), texts),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=9,
)


@given(st.dictionaries(texts, values, max_size=4))
def test_lines_are_found_in_any_document(data: dict[str, Any]) -> None:
    """All keys of a document are found, each on its line; and TOML is written as it is read."""
    text = "".join(f"{to_toml({name: each})[2:-2]}\n" for name, each in data.items())
    assert tomllib.loads(text) == data
    lines = lines_of(text)
    assert lines.keys() == set(keys_of(data))
    assert [lines[name,] for name in data] == list(range(1, len(data) + 1))


# ---- the schema ----


def test_schema_in_the_package_is_the_one_of_the_model() -> None:
    """`schema.json` says what pydantic checks; a failure says how to write it anew."""
    expected = json.dumps(make_schema(), indent=2, ensure_ascii=False) + "\n"
    assert read_schema() == expected, "run: python -m currant.config._make_schema"


@pytest.fixture(scope="module")
def validate() -> Callable[[object], bool]:
    """Return a function that says whether an editor accepts a document."""
    schema = json.loads(read_schema())
    jsonschema.Draft7Validator.check_schema(schema)
    validator = jsonschema.Draft7Validator(schema)
    return lambda document: bool(validator.is_valid(cast("Any", document)))


@pytest.mark.parametrize("table", [table for table, _ in OPTIONS])
def test_schema_accepts_what_the_validator_accepts(
    table: str, validate: Callable[[object], bool]
) -> None:
    """An editor shows no mistake where there is none."""
    assert validate(tomllib.loads(f"{COMMAND}{table}"))
    assert validate(
        tomllib.loads(f'"$schema" = "x"\n[commands]\na = "x"\nb.command = ["{table[0]}"]')
    )


@pytest.mark.parametrize("text", [text for text, _ in TYPE_MISTAKES])
def test_schema_refuses_what_the_validator_refuses(
    text: str, validate: Callable[[object], bool]
) -> None:
    """An editor shows each mistake of a type, a key, a word or a limit."""
    assert not validate(tomllib.loads(text))


STRANGE: tuple[Any, ...] = (
    *(True, False, 0, 1, -1, 3.5, -0.5, 100, 300, 600, 99999),
    *("", " ", "a", "\0", "é", "'", "tcp:80", "10M", "always", "auto", "never", "null", "inherit"),
    *("stdout", "TERM", "mixed", "stop", "ready"),
    *([], [1], ["a"], [""], [["a"]], [True], [300], [{"tcp": 1}]),
    *({}, {"a": "b"}, {"a": 1}, {"a": "ready"}, {"": "x"}, {"a=": "b"}, {"file": "x"}),
    *({"file": ""}, {"text": ""}, {"file": "x", "text": "y"}, {"when": "always"}, {"tcp": 80}),
    *({"tcp": 80, "own": True}, {"line": "(", "own": True}, {"all": ["tcp:1"]}, {"all": []}),
    *({"any": [{"all": [{"delay": 1}]}]}, {"memory": "1G"}, {"rows": 5}, {"tail": 5}),
)
"""Values of all kinds, of which a key takes a few."""


@pytest.mark.parametrize(
    "key",
    [*((key,) for key in TOP_TABLE.keys), *(("a", key) for key in COMMAND_TABLE.keys)],
)
def test_schema_and_validator_agree_about_each_key(
    key: tuple[str, ...], validate: Callable[[object], bool]
) -> None:
    """Whatever the value, both accept or refuse it, and nothing but a `ConfigError` is raised."""
    for value in STRANGE:
        setting = {key[-1]: value}
        a = {"command": "true"}
        data = (
            {"commands": {"a": a}, **setting} if len(key) == 1 else {"commands": {"a": a | setting}}
        )
        write("".join(f"{name} = {to_toml(each)}\n" for name, each in data.items()))
        try:
            VALIDATOR.validate_python(data)
        except ValidationError:
            assert not validate(data), value
            assert problems()
        else:
            assert validate(data), value
            with suppress(ConfigError):
                load()


def test_schema_describes_each_key() -> None:
    """An editor can say what each key is for; nothing else may be there."""
    schema = json.loads(read_schema())
    for table in (schema, *schema["definitions"].values()):
        assert table["additionalProperties"] is False
        assert table["description"]
        for name, key in table["properties"].items():
            assert key["description"], name
    assert schema["$schema"]
    assert schema["$id"]
