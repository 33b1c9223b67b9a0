"""`Command`: valid and invalid arguments, its behavior as a value, and names."""

from __future__ import annotations

import copy
import inspect
import math
import os
import pickle
import shlex
from dataclasses import FrozenInstanceError, fields, replace
from pathlib import Path, PurePath
from signal import SIGINT, SIGKILL, SIGTERM, Signals
from subprocess import DEVNULL, STDOUT
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

import currant
from currant import (
    PIPE,
    Command,
    CommandError,
    CommandParseError,
    DuplicateNameError,
    EmptyCommandError,
    Limits,
    Pty,
    RestartPolicy,
    Runner,
    Watch,
    ready,
    run,
)
from currant._values.command import CommandOptions, as_command, flush_after_of, single_command
from currant._values.names import Names

if TYPE_CHECKING:
    from collections.abc import Callable

SURROGATE = "\ud800"
"""Half of a surrogate pair, which cannot be encoded."""

FULL_OPTIONS: CommandOptions = {
    "name": "web",
    "cwd": "/srv",
    "env": {"TOKEN": "secret"},
    "inherit_env": False,
    "stdout": None,
    "stderr": "stdout",
    "stdin": b"hello",
    "pty": Pty(30, 100),
    "new_session": True,
    "wrap": ("nice", "-n", "5"),
    "umask": 0o077,
    "user": "nobody",
    "group": 65534,
    "extra_groups": ("tty", 5),
    "limits": Limits(memory=2**30, core=0),
    "nice": 5,
    "listen": (),
    "success_codes": (0, 3),
    "capture": 4096,
    "restart": RestartPolicy("always", max_restarts=3),
    "kill_others_on": "failure",
    "stop_command": Command(["quit"], env={"A": "1"}),
    "stop_signal": SIGINT,
    "grace": 1.5,
    "kill_mode": "mixed",
    "leftovers": "wait",
    "host": "gpu1",
    "resources": MappingProxyType({"gpus": 2, "license": 1}),
    "ready": ready.line("up", "stdout", timeout=5),
    "alive": ready.all_of(ready.tcp("::1", 80), ready.command("true"), interval=0.5),
    "failure_threshold": 2,
    "after": MappingProxyType({"db": "ready", "cache": None}),
    "watch": None,  # not with a host
    "restart_with": ("db",),
    "timeout": 60,
    "idle_timeout": 20,
    "max_output": 1_000_000,
    "replicas": 2,
    "color": "bold red",
    "line_limit": 1,
    "flush_after": 0.25,
}


# ---- invalid arguments ----


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"argv": ["a\0b"]}, "NUL"),
        ({"argv": ["ls", "a\0b"]}, "NUL"),
        ({"argv": ["ls", Path("a\0b")]}, "NUL"),
        ({"argv": ["ls", SURROGATE]}, "surrogate"),
        ({"argv": ["ls", 3]}, "argv"),
        ({"argv": ["ls", None]}, "argv"),
        ({"argv": None}, "argv"),
        ({"argv": 3}, "argv"),
        ({"argv": Path("ls")}, "argv"),
        ({"name": ""}, "name"),
        ({"name": 3}, "name"),
        ({"name": "a\0b"}, "NUL"),
        ({"name": SURROGATE}, "surrogate"),
        ({"cwd": "a\0b"}, "NUL"),
        ({"cwd": SURROGATE}, "surrogate"),
        ({"cwd": 3}, "cwd"),
        ({"new_session": None}, "new_session"),
        ({"new_session": False, "pty": True}, "new_session cannot be False if pty is set"),
        ({"env": None}, "env"),
        ({"env": [("A", "1")]}, "env"),
        ({"env": {"A=B": "1"}}, "="),
        ({"env": {"=": "1"}}, "="),
        ({"env": {"": "1"}}, "empty"),
        ({"env": {"A\0": "1"}}, "NUL"),
        ({"env": {"A": "1\0"}}, "NUL"),
        ({"env": {SURROGATE: "1"}}, "surrogate"),
        ({"env": {"A": SURROGATE}}, "surrogate"),
        ({"env": {"A": 1}}, "env"),
        ({"env": {"A": b"1"}}, "env"),
        ({"env": {"A": None}}, "env"),
        ({"env": {b"A": "1"}}, "env"),
        ({"host": ""}, "host must be the name of a host or None, not ''"),
        ({"host": 3}, "host must be the name of a host or None, not 3"),
        ({"host": "a\0"}, "NUL"),
        ({"resources": ["gpus"]}, "resources must be a mapping such as {'cpus': 2, 'gpus': 1}"),
        ({"resources": {"": 1}}, "the name of a resource must be a non-empty str"),
        ({"resources": {SURROGATE: 1}}, "surrogate"),
        ({"resources": {"gpus": -1}}, "the resource 'gpus' must be an integer >= 0, not -1"),
        ({"resources": {"gpus": 0.5}}, "the resource 'gpus' must be an integer >= 0, not 0.5"),
        ({"resources": {"gpus": True}}, "the resource 'gpus' must be an integer >= 0, not True"),
        ({"stderr": "stdin"}, "stderr"),
        ({"stderr": None}, "stderr"),
        ({"stdin": "text"}, "stdin"),
        ({"stdin": DEVNULL}, "stdin"),
        ({"stdin": DEVNULL}, "None, the default, is /dev/null"),
        ({"stdin": True}, "stdin"),
        ({"stdin": -7}, "stdin"),
        ({"stdin": 2**31}, "stdin"),
        ({"stdin": "inherit"}, "a path, an open file or a descriptor, not 'inherit'; use"),
        ({"stdout": "log"}, "a descriptor, not 'log'; use Path(...) for a file"),
        ({"stdout": "separate"}, "stdout must be None, 'inherit', a path, an open file or"),
        ({"stdout": b"log"}, "stdout"),
        ({"stdout": True}, "stdout"),
        ({"stdout": False}, "stdout"),
        ({"stdout": 1.0}, "stdout"),
        ({"stdout": ["log"]}, "stdout"),
        ({"stdout": PIPE}, "a pipe to currant is the default, None"),
        ({"stdout": DEVNULL}, "use Path(os.devnull)"),
        ({"stdout": Path("a\0b")}, "NUL"),
        ({"stderr": "log"}, "use Path(...) for a file"),
        ({"stderr": PIPE}, "a pipe to currant is the default, 'separate'"),
        ({"stderr": STDOUT}, "use 'stdout'"),
        ({"stderr": DEVNULL}, "use Path(os.devnull)"),
        ({"stdout": Path("log"), "pty": True}, "if pty is set, because the terminal is the output"),
        ({"stderr": Path("log"), "pty": True}, "if pty is set, because the terminal is the output"),
        ({"stdout": "inherit", "pty": True}, "stdout cannot be 'inherit' if pty is set"),
        ({"stdin": 0, "pty": True}, "stdin cannot be a file if pty is set"),
        ({"stdout": Path("log"), "stderr": Path("./log")}, "use stderr='stdout'"),
        ({"stdin": Path("f"), "stdout": Path("f")}, "because each start empties that file"),
        ({"stdin": Path("f"), "stderr": Path("f")}, "because each start empties that file"),
        ({"stdout": Path("log"), "replicas": 2}, "open for appending"),
        (
            {"stdout": Path("log"), "stderr": "stdout", "idle_timeout": 1},
            "idle_timeout needs output that goes to currant",
        ),
        (
            {"stdout": "inherit", "stderr": Path("log"), "max_output": 1},
            "max_output needs output that goes to currant",
        ),
        ({"stderr": Path("log"), "replicas": 2}, "open for appending"),
        ({"stdin": bytearray(b"x")}, "stdin"),
        ({"stdin": "file"}, "Path(...) for a file"),
        ({"stdin": Path("a\0b")}, "NUL"),
        ({"stdin": Path(SURROGATE)}, "surrogate"),
        ({"stdin": Path("file"), "pty": True}, "stdin cannot be a file if pty is set"),
        ({"stdin": Path("file"), "pty": Pty()}, "stdin cannot be a file if pty is set"),
        ({"pty": None}, "pty"),
        ({"pty": 1}, "pty"),
        ({"pty": (24, 80)}, "pty"),
        ({"pty": "yes"}, "pty"),
        ({"umask": -1}, "umask"),
        ({"umask": 0o1000}, "0o777"),
        ({"umask": True}, "umask"),
        ({"umask": "022"}, "umask"),
        ({"user": ""}, "user"),
        ({"user": -1}, "user"),
        ({"user": True}, "user"),
        ({"user": 2**32 - 1}, "user"),
        ({"user": "a\0b"}, "NUL"),
        ({"group": 1.5}, "group"),
        ({"extra_groups": "tty"}, "extra_groups must be a sequence"),
        ({"extra_groups": 5}, "extra_groups must be a sequence"),
        ({"extra_groups": [None]}, "extra_groups"),
        ({"limits": 5}, "limits must be a Limits or None"),
        ({"limits": {"memory": 5}}, "limits must be a Limits or None"),
        ({"nice": 40}, "nice"),
        ({"nice": -40}, "nice"),
        ({"nice": 1.5}, "nice"),
        ({"nice": True}, "nice"),
        ({"nice": None}, "nice"),
        ({"success_codes": 0}, "success_codes"),
        ({"success_codes": None}, "success_codes"),
        ({"success_codes": "0"}, "exit code"),
        ({"success_codes": [-1]}, "exit code"),
        ({"success_codes": [256]}, "exit code"),
        ({"success_codes": [0.0]}, "exit code"),
        ({"capture": -1}, "capture"),
        ({"capture": 1.5}, "capture"),
        ({"capture": "all"}, "capture"),
        ({"restart": "sometimes"}, "restart"),
        ({"restart": True}, "restart"),
        ({"restart": ["always"]}, "restart"),
        ({"kill_others_on": "never"}, "kill_others_on"),
        ({"kill_others_on": True}, "kill_others_on"),
        ({"kill_mode": "process"}, "kill_mode"),
        ({"stop_command": 3}, "stop_command"),
        ({"stop_command": "a | b"}, "stop_command"),
        ({"stop_command": Command(["a"], nice=1)}, "stop_command: only argv"),
        ({"stop_signal": 0}, "stop_signal"),
        ({"stop_signal": -15}, "stop_signal"),
        ({"stop_signal": 1000}, "stop_signal"),
        ({"stop_signal": "SIGTREM"}, "stop_signal"),
        ({"stop_signal": None}, "stop_signal"),
        ({"ready": "up"}, "ready"),
        ({"alive": 3}, "alive"),
        ({"alive": ready.line("up")}, "happens once"),
        ({"alive": ready.any_of(ready.tcp("a", 1), ready.delay(1))}, "happens once"),
        ({"failure_threshold": 0}, "failure_threshold"),
        ({"failure_threshold": True}, "failure_threshold"),
        ({"after": 3}, "after"),
        ({"after": [3]}, "after"),
        ({"after": [["db"]]}, "after"),
        ({"after": ""}, "after"),
        ({"after": {"db": "up"}}, "of 'db' must be 'ready'"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": math.inf}, "timeout"),
        ({"timeout": "5"}, "timeout"),
        ({"idle_timeout": 0}, "idle_timeout"),
        ({"idle_timeout": math.nan}, "idle_timeout"),
        ({"max_output": 0}, "max_output"),
        ({"max_output": 1.5}, "max_output"),
        ({"replicas": 0}, "replicas"),
        ({"replicas": 1.0}, "replicas"),
        ({"grace": -1}, "grace"),
        ({"grace": -0.001}, "grace"),
        ({"grace": -math.inf}, "grace"),
        ({"grace": math.nan}, "grace"),
        ({"grace": "5"}, "grace"),
        ({"grace": 10**400}, "grace"),
        ({"color": 3}, "color"),
        ({"flush_after": -0.1}, "flush_after"),
        ({"flush_after": math.inf}, "flush_after"),
        ({"flush_after": math.nan}, "flush_after"),
        ({"flush_after": True}, "flush_after"),
        ({"flush_after": "soon"}, "flush_after"),
        ({"line_limit": 0}, "line_limit"),
        ({"line_limit": -1}, "line_limit"),
        ({"line_limit": None}, "line_limit"),
        ({"line_limit": True}, "line_limit"),
        ({"line_limit": 1e6}, "line_limit"),
        ({"inherit_env": "no"}, "inherit_env"),
        ({"stdin": -1.0}, "stdin"),
        ({"grace": True}, "grace must be a number of seconds >= 0, not True"),
    ],
    ids=ascii,
)
def test_invalid_command_is_refused_when_built(options: dict[str, Any], text: str) -> None:
    """An argument that cannot work raises a `CommandError` that names it."""
    arguments: dict[str, Any] = {"argv": ["ls"]} | options
    with pytest.raises(CommandError) as caught:
        Command(**arguments)
    assert text in str(caught.value)
    assert type(caught.value) is CommandError


@pytest.mark.parametrize(
    "build",
    [
        lambda: Command([]),
        lambda: Command(()),
        lambda: Command([""]),
        lambda: Command(["", "-l"]),
        lambda: Command.parse(""),
        lambda: Command.parse(" \t\n"),
        lambda: Command.parse("''"),
        lambda: Command.shell(""),
        lambda: Command.shell(" \n"),
    ],
    ids=[
        "no words", "empty tuple", "empty word", "empty first word", "parse nothing",
        "parse blanks", "parse an empty word", "shell nothing", "shell blanks",
    ],
)  # fmt: skip
def test_command_without_a_program_is_refused(build: Callable[[], Command]) -> None:
    """Every way to build a command without a program raises `EmptyCommandError`."""
    with pytest.raises(EmptyCommandError, match="needs a"):
        build()


@pytest.mark.parametrize("argv", ["ls -la", b"ls -la"], ids=["text", "bytes"])
def test_str_as_argv_is_refused_with_advice(argv: Any) -> None:
    """A str is not split into one-letter words; the error names `parse` and `shell`."""
    with pytest.raises(CommandError, match=r"Command\.parse .* Command\.shell"):
        Command(argv)


@pytest.mark.parametrize("text", [None, 3, b"ls", ["ls"]], ids=repr)
@pytest.mark.parametrize("build", [Command.parse, Command.shell], ids=["parse", "shell"])
def test_parse_and_shell_refuse_other_types_than_str(
    build: Callable[[Any], Command], text: Any
) -> None:
    """Another type raises a `CommandError` rather than an error of `shlex`."""
    with pytest.raises(CommandError):
        build(text)


@pytest.mark.parametrize("text", ["echo 'a", 'echo "a', "echo a\\"])
def test_open_quotation_is_a_parse_error(text: str) -> None:
    """`CommandParseError` keeps the text as given and shows it with the reason."""
    with pytest.raises(CommandParseError) as caught:
        Command.parse(text)
    assert caught.value.text == text
    assert repr(text) in str(caught.value)
    assert caught.value.reason in str(caught.value)


@pytest.mark.parametrize(
    "build",
    [
        lambda: Command(["ls"], grace=-1),
        lambda: Command.parse("ls 'a"),
        lambda: Command.shell("ls", env={"=": ""}),
        lambda: Command.parse("ls", restart=cast("Any", "sometimes")),
    ],
    ids=["Command", "parse", "shell", "option of parse"],
)
def test_mistake_fails_in_the_callers_frame(build: Callable[[], Command]) -> None:
    """The line that builds the command raises the error, without an event loop."""
    with pytest.raises(CommandError) as caught:
        build()
    assert [entry.path for entry in caught.traceback[:2]] == [Path(__file__)] * 2
    assert caught.traceback[1].frame.code.name == "<lambda>"


# ---- valid arguments ----


def test_options_and_defaults_match_the_contract() -> None:
    """`Command` has the promised parameters, all except `argv` by keyword."""
    parameters = list(inspect.signature(Command).parameters.values())
    assert [p.name for p in parameters] == ["argv", *FULL_OPTIONS]
    assert [p.kind for p in parameters[1:]] == [inspect.Parameter.KEYWORD_ONLY] * len(FULL_OPTIONS)
    command = Command(["ls"])
    assert {name: getattr(command, name) for name in FULL_OPTIONS} == {
        "name": "ls",
        "cwd": None,
        "env": {},
        "inherit_env": True,
        "stdout": None,
        "stderr": "separate",
        "stdin": None,
        "pty": False,
        "new_session": True,
        "wrap": None,
        "umask": None,
        "user": None,
        "group": None,
        "extra_groups": None,
        "limits": None,
        "nice": 0,
        "listen": (),
        "success_codes": (0,),
        "capture": None,
        "restart": None,
        "kill_others_on": None,
        "stop_command": None,
        "stop_signal": SIGTERM,
        "grace": None,
        "kill_mode": None,
        "leftovers": None,
        "host": None,
        "resources": {},
        "ready": None,
        "alive": None,
        "failure_threshold": 3,
        "after": {},
        "watch": None,
        "restart_with": (),
        "timeout": None,
        "idle_timeout": None,
        "max_output": None,
        "replicas": 1,
        "color": None,
        "line_limit": 65536,
        "flush_after": "auto",
    }


def test_a_default_is_the_same_whether_it_is_given_or_not() -> None:
    """A command does not check its defaults, so they must already have the form of the fields."""
    given: Any = {"listen": [], "success_codes": [0], "after": [], "restart_with": []}
    mappings: Any = {"env": {}, "resources": {}}
    assert Command(["ls"], stop_signal="TERM", **given, **mappings) == Command(["ls"])


def test_unfinished_lines_of_a_terminal_are_flushed_by_default() -> None:
    """With a pty the default is 0.1 s, which None turns off; the repr shows other values only."""
    assert flush_after_of(Command(["sh"])) is None
    assert flush_after_of(Command(["sh"], pty=True)) == 0.1
    assert flush_after_of(Command(["sh"], pty=True, flush_after=None)) is None
    assert flush_after_of(Command(["sh"], flush_after=0)) == 0
    assert "flush_after" not in repr(Command(["sh"], pty=True)) + repr(Command(["sh"]))
    assert "flush_after=None" in repr(Command(["sh"], pty=True, flush_after=None))
    copied = pickle.loads(pickle.dumps(Command(["sh"], pty=True, flush_after=None)))
    assert copied.flush_after is None


def test_default_flush_follows_the_terminal_of_a_copy() -> None:
    """A copy with a pty shows its prompts, and one without does not wait for them."""
    plain, terminal = Command(["sh"]), Command(["sh"], pty=True)
    assert flush_after_of(replace(plain, pty=Pty())) == 0.1
    assert flush_after_of(replace(terminal, pty=False)) is None
    assert single_command("open_process", plain, {"pty": True}) == terminal
    assert flush_after_of(replace(Command(["sh"], flush_after=None), pty=Pty())) is None


def test_parse_and_shell_accept_the_options_of_the_class() -> None:
    """`Command.parse` and `Command.shell` pass each option of `Command` on."""
    assert set(CommandOptions.__annotations__) == {
        spec.name for spec in fields(Command)[1:] if spec.init
    }
    argv = ["ls", "-la"]
    assert Command.parse("ls -la", **FULL_OPTIONS) == Command(argv, **FULL_OPTIONS)
    shell = ["/bin/sh", "-c", "ls | wc"]
    assert Command.shell("ls | wc", **FULL_OPTIONS) == Command(shell, **FULL_OPTIONS)


@pytest.mark.parametrize(
    "options",
    [
        {"grace": 0},
        {"grace": 0.0},
        {"grace": math.inf},
        {"capture": False},
        {"capture": True},
        {"capture": 0},
        {"stdin": b""},
        {"stdin": PIPE},
        {"stdin": Path("a/file")},
        {"stdin": 0},
        {"stdout": Path("a/file"), "stderr": Path("another")},
        {"stdout": Path(os.devnull), "stderr": Path(os.devnull), "replicas": 2},
        {"stdout": 1, "stderr": 1},
        {"stdout": "inherit", "stderr": "inherit"},
        {"stdout": 1, "stderr": "stdout"},
        {"pty": False},
        {"pty": Pty(1, 65535)},
        {"pty": Pty(), "stdin": PIPE, "stderr": "stdout"},
        {"pty": Pty(), "stdin": b"typed"},
        {"success_codes": ()},
        {"success_codes": (0, 255)},
        {"stop_signal": SIGKILL},
        {"restart": "never"},
        {"restart": "on-failure"},
        {"restart": "always"},
        {"kill_others_on": "failure"},
        {"kill_others_on": "success"},
        {"kill_others_on": "exit"},
        {"env": {"A": ""}},
        {"env": {"A": "b=c"}},
        {"env": {"a b": "ü\n"}},
        {"name": "a b/#2"},
    ],
    ids=repr,
)
def test_valid_option_is_kept_as_given(options: dict[str, Any]) -> None:
    """Values at the edge of the valid range are accepted and can be read back."""
    command = Command(["ls"], **options)
    assert {name: getattr(command, name) for name in options} == options


@pytest.mark.parametrize(
    ("text", "argv"),
    [
        ("ls -la 'a b'", ("ls", "-la", "a b")),
        ('echo "a  b" c', ("echo", "a  b", "c")),
        ("echo a\\ b", ("echo", "a b")),
        ("echo ''", ("echo", "")),
        ("echo a'b'\"c\"", ("echo", "abc")),
        ("  echo\ta\nb ", ("echo", "a", "b")),
        ("ls * a? [a-z] ~ {a,b} # c", ("ls", "*", "a?", "[a-z]", "~", "{a,b}", "#", "c")),
        ("find . -exec ls {} \\;", ("find", ".", "-exec", "ls", "{}", ";")),
        ("echo 'a | b' \"c & d; $E `f`\"", ("echo", "a | b", "c & d; $E `f`")),
        (r"echo \| \& \; \< \> \$A \` \(", ("echo", "|", "&", ";", "<", ">", "$A", "`", "(")),
        ('echo "a\\"|"', ("echo", 'a"|')),
        ("echo '\\' \"|\"", ("echo", "\\", "|")),
        ("echo $ a$ $, =$/", ("echo", "$", "a$", "$,", "=$/")),
        ("env A=1 b", ("env", "A=1", "b")),
        ("make CC=cc cd export", ("make", "CC=cc", "cd", "export")),
        ("./cd a", ("./cd", "a")),
        ("'cd' a", ("cd", "a")),
        ("'A=1' a", ("A=1", "a")),
        ("./a=b c", ("./a=b", "c")),
        ("[ -f a ]", ("[", "-f", "a", "]")),
        ("python -c print(1) a!b", ("python", "-c", "print(1)", "a!b")),
    ],
)
def test_parse_follows_the_shells_quoting_rules(text: str, argv: tuple[str, ...]) -> None:
    """Quotes and backslashes work as in a shell, and patterns are literal, as for `shlex`."""
    assert Command.parse(text).argv == argv == tuple(shlex.split(text))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a | b", "'|' needs a shell"),
        ("a|b", "'|' needs a shell"),
        ("a && b", "'&&' needs a shell"),
        ("a &", "'&' needs a shell"),
        ("curl http://host/?a=1&b=2", "'&' needs a shell"),
        ("a; b", "';' needs a shell"),
        ("find . -exec ls {} ;", "';' needs a shell"),
        ("a < b", "'<' needs a shell"),
        ("a 2>&1", "'>&' needs a shell"),
        ("a >> b", "'>>' needs a shell"),
        ("echo $HOME", "'$HOME' needs a shell"),
        ("echo a$b", "'$b' needs a shell"),
        ("echo ${HOME}", "'${' needs a shell"),
        ("echo $(date)", "'$(' needs a shell"),
        ("echo $1", "'$1' needs a shell"),
        ("echo $?", "'$?' needs a shell"),
        ("echo `date`", "'`' needs a shell"),
        ("echo 'a'|b", "'|' needs a shell"),
        ('echo "a\\""|b', "'|' needs a shell"),
        ("echo '\\'|b", "'|' needs a shell"),
        ("echo \\\\|b", "'|' needs a shell"),
        ("$EDITOR a", "'$EDITOR' needs a shell"),
    ],
)
def test_parse_refuses_text_that_needs_a_shell(text: str, reason: str) -> None:
    """An operator or an expansion is no argument, so the error names the two ways out."""
    with pytest.raises(CommandParseError) as caught:
        Command.parse(text)
    assert caught.value.reason.startswith(reason)
    assert "use Command.shell, or quote it" in caught.value.reason
    assert Command.parse(f"echo {shlex.quote(text)}").argv == ("echo", text)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("FOO=1 cmd", "the variable FOO before a program; use env=, or Command.shell"),
        ("FOO='a b' BAR= cmd", "the variable FOO before a program; use env=, or Command.shell"),
        ("FOO=1", "use env="),
        ("cd /srv", "use Command.shell, or set cwd="),
        ("export A=1", "use Command.shell, or set env="),
        ("exec python", "use Command.shell, or leave it out"),
        ("source venv/bin/activate", "'source' is shell syntax"),
        (". venv/bin/activate", "'.' is shell syntax"),
        ("set -e", "'set' is shell syntax"),
        ("ulimit -n 64", "'ulimit' is shell syntax"),
        ("umask 077", "'umask' is shell syntax"),
        ("alias ll=ls", "'alias' is shell syntax"),
        ("! test -f a", "'!' is shell syntax"),
        ("(make)", "'(make)' is shell syntax"),
    ],
)
def test_parse_refuses_a_first_word_that_is_no_program(text: str, advice: str) -> None:
    """Assignments and builtins work in a shell alone; quoted, they are programs of that name."""
    with pytest.raises(CommandParseError) as caught:
        Command.parse(text)
    assert advice in str(caught.value)
    assert "Command.shell" in str(caught.value)
    argv = ["sh", *shlex.split(text)]
    assert Command.parse(str(Command(argv))).argv == tuple(argv)


@pytest.mark.parametrize("program", ["A=1", "cd", ".", ":", "!", "(make)", "if"])
def test_program_with_the_name_of_a_builtin_survives_str(program: str) -> None:
    """``str(command)`` quotes such a program, so that parsing returns the same command."""
    command = Command([program, "a b"])
    assert Command.parse(str(command)) == command


def test_every_door_for_text_refuses_shell_syntax() -> None:
    """A Runner, a mapping and a probe parse their texts in the same way."""
    for build in (
        lambda: Runner(["a | b"]),
        lambda: Runner({"a": "a | b"}),
        lambda: run("a | b"),
        lambda: ready.command("a | b"),
    ):
        with pytest.raises(CommandParseError, match=r"Command\.shell"):
            build()


def test_shell_passes_the_text_unchanged() -> None:
    """The text is one argument of ``/bin/sh -c``."""
    text = " while :; do date; done | wc 'a b' "
    assert Command.shell(text).argv == ("/bin/sh", "-c", text)


@given(st.lists(st.text("ab= \n\t\"'\\$#*;|&ü\udcff", max_size=8), min_size=1, max_size=5))
def test_str_of_a_command_parses_to_the_same_command(argv: list[str]) -> None:
    """``str(command)`` quotes the words for a shell, so parsing returns the same argv."""
    argv[0] = argv[0] or "program"
    command = Command(argv)
    assert Command.parse(str(command)) == command
    assert command.argv == tuple(argv)


def test_paths_become_str() -> None:
    """argv and cwd accept path-like objects and hold str."""
    command = Command([Path("/bin/ls"), "-l", Path("x")], cwd=Path("/tmp"))
    assert command.argv == ("/bin/ls", "-l", "x")
    assert command.cwd == "/tmp"


def test_file_name_that_is_not_utf8_is_accepted() -> None:
    """A str that `os.fsdecode` returns can be encoded, so it is not refused as a surrogate."""
    name = os.fsdecode(b"\xff\xfe")
    command = Command(["ls", name], cwd=name, env={name: name})
    assert command.argv == ("ls", name)


@pytest.mark.parametrize("path", [Path("a/file"), PurePath("a/file"), os.fspath], ids=repr)
def test_stdin_accepts_any_path_except_str(path: Any) -> None:
    """Every path-like object is kept as a `Path`; bytes and str have another meaning."""

    class Named:
        def __fspath__(self) -> str:
            return "a/file"

    command = Command(["cat"], stdin=Named() if path is os.fspath else path)
    assert command.stdin == Path("a/file")
    assert type(command.stdin) is type(Path())
    assert repr(command).endswith(f"stdin={Path('a/file')!r})")
    assert pickle.loads(pickle.dumps(command)) == command


def test_pty_true_means_the_default_size() -> None:
    """``pty=True`` equals ``pty=Pty()``, and the repr shows the size."""
    command = Command(["ls"], pty=True)
    assert command == Command(["ls"], pty=Pty()) == Command(["ls"], pty=Pty(24, 80))
    assert command.pty == Pty(rows=24, columns=80)
    assert repr(command) == "Command(['ls'], pty=Pty(rows=24, columns=80))"
    assert pickle.loads(pickle.dumps(command)) == command
    assert command != Command(["ls"])


@pytest.mark.parametrize("number", [0, -1, 65536, 1.0, "24", None, True], ids=repr)
@pytest.mark.parametrize("what", ["rows", "columns"])
def test_impossible_terminal_size_is_refused(what: str, number: Any) -> None:
    """A `CommandError` names the wrong number."""
    sizes: dict[str, Any] = {what: number}
    with pytest.raises(CommandError, match=f"^{what} must be an integer from 1 to 65535"):
        Pty(**sizes)


def test_pty_is_a_value() -> None:
    """A `Pty` is frozen and can be pickled."""
    pty = Pty(1, 65535)
    with pytest.raises(FrozenInstanceError):
        pty.rows = 2  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(pty)) == pty
    assert len({pty, Pty(1, 65535), Pty()}) == 2


@pytest.mark.parametrize("codes", [[0, 3], (0, 3), {0: "", 3: ""}, range(0, 4, 3)], ids=repr)
def test_success_codes_accept_any_collection(codes: Any) -> None:
    """Two commands with the same codes are equal, whatever the type of the collection."""
    assert Command(["ls"], success_codes=codes) == Command(["ls"], success_codes=(0, 3))


def test_stop_signal_is_shown_by_name() -> None:
    """`stop_signal` is a `Signals`, even if it was given as a number."""
    assert repr(Command(["ls"], stop_signal=2).stop_signal) == repr(SIGINT)


# ---- value semantics ----


@pytest.mark.parametrize("name", [spec.name for spec in fields(Command)])
def test_no_field_of_a_command_can_be_set(name: str) -> None:
    """A `Command` is frozen."""
    command = Command(["ls"])
    with pytest.raises(FrozenInstanceError):
        setattr(command, name, getattr(command, name))


def test_collections_of_a_command_are_immutable() -> None:
    """argv, env and success_codes are immutable copies of the arguments."""
    argv, env, codes = ["ls"], {"A": "1"}, {0}
    command = Command(argv, env=env, success_codes=codes)
    argv.append("-l")
    env["B"] = "2"
    codes.add(1)
    assert command == Command(["ls"], env={"A": "1"})
    with pytest.raises(TypeError):
        cast("Any", command.env)["B"] = "2"
    assert isinstance(command.argv, tuple)
    assert isinstance(command.success_codes, tuple)


@pytest.mark.parametrize(
    "duplicate",
    [lambda c: pickle.loads(pickle.dumps(c)), copy.copy, copy.deepcopy],
    ids=["pickle", "copy", "deepcopy"],
)
@pytest.mark.parametrize(
    "options", [{}, FULL_OPTIONS, {"stdin": PIPE}], ids=["bare", "full", "PIPE"]
)
def test_command_survives_pickle_and_copy(
    duplicate: Callable[[Command], Command], options: CommandOptions
) -> None:
    """A copy, in another process too, is equal, has the same hash and is immutable."""
    command = Command(["ls", "-l"], **options)
    again = duplicate(command)
    assert again == command
    assert hash(again) == hash(command)
    with pytest.raises(TypeError):
        cast("Any", again.env)["B"] = "2"


@pytest.mark.parametrize("name", sorted(FULL_OPTIONS.keys() - {"listen"}))  # see test_listen
def test_commands_that_differ_in_one_field_are_not_equal(name: str) -> None:
    """Commands compare by all of their fields."""
    changed = {"stdout": Path("log"), "new_session": False, "watch": Watch("src")}
    value = cast("dict[str, Any]", FULL_OPTIONS | changed)[name]
    assert Command(["ls"], **{name: value}) != Command(["ls"])
    assert Command(["ls"], **{name: value}) == Command(["ls"], **{name: value})
    assert Command(["ls"]) != Command(["ls", "-l"])


def test_parse_and_shell_build_a_subclass() -> None:
    """Called on a subclass, `parse` and `shell` return an instance of it."""

    class Job(Command):
        pass

    assert type(Job.parse("ls")) is Job
    assert type(Job.shell("ls")) is Job
    with pytest.raises(CommandError):
        Job([])


# ---- repr ----


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (Command(["ls", "a b"]), "Command(['ls', 'a b'])"),
        (Command(["ls"], name="web", grace=2), "Command(['ls'], name='web', grace=2)"),
        (Command(["ls"], env={"B": "x", "A": "y"}), "Command(['ls'], env=['A', 'B'])"),
        (Command(["ls"], success_codes=[0, 3]), "Command(['ls'], success_codes=(0, 3))"),
        (Command(["ls"], inherit_env=False), "Command(['ls'], inherit_env=False)"),
        (Command(["ls"], capture=False), "Command(['ls'], capture=False)"),
    ],
    ids=repr,
)
def test_repr_omits_defaults(command: Command, shown: str) -> None:
    """``repr(command)`` shows the argv and the options that differ from their default."""
    assert repr(command) == shown


def test_repr_hides_the_values_of_variables() -> None:
    """A repr ends up in logs, where secrets must not appear."""
    command = Command(["ls"], env={"TOKEN": "secret"})
    assert "TOKEN" in repr(command)
    assert "secret" not in repr(command)


# ---- names ----


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        (["ls"], "ls"),
        (["/usr/bin/ls", "-l"], "ls"),
        (["./build/"], "build"),
        (["../tool.sh"], "tool.sh"),
        ([Path("bin/tool")], "tool"),
        ([".."], ".."),
        (["/"], "/"),
        (["a b/c d"], "c d"),
    ],
)
def test_default_name_is_the_last_path_component_of_the_program(argv: list[Any], name: str) -> None:
    """A command without a name is named after its program."""
    assert Names().give(Command(argv)).name == name


@pytest.mark.parametrize(
    ("taken", "name"),
    [
        ([], "ls"),
        (["cat"], "ls"),
        (["ls"], "ls#2"),
        (["ls", "ls#2"], "ls#3"),
        (["ls", "ls#3"], "ls#2"),
        (["ls#2"], "ls"),
        (["ls", *(f"ls#{n}" for n in range(2, 12))], "ls#12"),
    ],
)
def test_taken_default_name_gets_the_next_free_number(taken: list[str], name: str) -> None:
    """Default names that clash become ``ls#2``, ``ls#3`` and so on."""
    names = Names()
    for other in taken:
        names.give(Command(["other"], name=other))
    named = names.give(Command(["/bin/ls"], cwd="/"))
    assert named == Command(["/bin/ls"], cwd="/", name=name)
    with pytest.raises(DuplicateNameError):
        names.give(named)


def test_explicit_name_is_never_changed() -> None:
    """Explicit names that clash raise `DuplicateNameError`, which carries the name."""
    names, command = Names(), Command(["ls"], name="web")
    assert names.give(command) is command
    with pytest.raises(DuplicateNameError, match="'web'") as caught:
        names.give(command)
    assert caught.value.name == "web"


def test_naming_many_commands_takes_linear_time() -> None:
    """The search for a free number continues from the last number."""

    class Counting(set[str]):
        looks = 0

        def __contains__(self, name: object) -> bool:
            self.looks += 1
            return super().__contains__(name)

    names = Names()
    names._taken = looked_in = Counting()
    command = Command(["ls"])
    assert [names.give(command).name for _ in range(10_000)][-1] == "ls#10000"
    assert looked_in.looks <= 20_000


# ---- other forms of a command ----


def test_str_is_parsed_and_a_sequence_is_an_argv() -> None:
    """A Runner accepts a `Command`, a line or a sequence of words."""
    command = Command(["ls", "a b"])
    assert as_command(command) is command
    assert as_command("ls 'a b'") == command
    assert as_command(["ls", Path("a b")]) == command
    with pytest.raises(EmptyCommandError):
        as_command("")


@pytest.mark.parametrize("name", ["INT", "int", "SIGINT", "sigint", 2, SIGINT], ids=repr)
def test_stop_signal_may_be_a_name(name: Any) -> None:
    """The field is a `Signals`, however the signal was given."""
    command = Command(["ls"], stop_signal=name)
    assert isinstance(command.stop_signal, Signals)
    assert command.stop_signal == SIGINT


@pytest.mark.parametrize("wrong", ["TREM", "", "SIG", True, b"INT", "SIG_IGN"])
def test_unknown_signal_is_rejected(wrong: Any) -> None:
    """The error shows the value, and a signal that is right."""
    with pytest.raises(CommandError, match="'TERM'") as raised:
        Command(["ls"], stop_signal=wrong)
    assert repr(wrong) in str(raised.value)


@pytest.mark.parametrize(
    ("build", "option", "remedy"),
    [
        (Command, "shell", "Command.shell"),
        (Command.parse, "shell", "Command.shell"),
        (Command, "capture_output", "capture=True"),
        (Command, "check", "Results.check()"),
        (Command, "text", "Line.text"),
        (Command, "input", "stdin=b'...'"),
        (Command, "max_processes", "the Runner"),
        (Command, "sucess_codes", "'success_codes'"),
        (Runner, "shell", "Command.shell"),
        (Runner, "check", "Results.check()"),
        (Runner, "cwd", "Command"),
        (Runner, "stdout", "Command, for a file; to read the output"),
        (Runner, "stderr", "Command, for a file; to read the output"),
        (Runner, "max_process", "'max_processes'"),
        (currant.run, "shell", "Command.shell"),
        (currant.run, "kill_other_on", "'kill_others_on'"),
    ],
)
def test_unknown_option_names_the_remedy(build: Any, option: str, remedy: str) -> None:
    """Options of `subprocess` and misspelt options get an error that says what to write."""
    with pytest.raises(TypeError, match=f"no option '{option}'") as raised:
        build("ls" if build == Command.parse else ["ls"], **{option: True})
    assert isinstance(raised.value, CommandError)
    assert remedy in str(raised.value)


@pytest.mark.parametrize("build", [Command, Runner])
def test_second_positional_argument_is_explained(build: Any) -> None:
    """The words and the commands are one argument."""
    with pytest.raises(TypeError, match=r"a list.* as its only positional argument"):
        build("ls", "-l")


@pytest.mark.parametrize(
    ("text", "argv"),
    [
        ("docker run \\\n  -it x", ("docker", "run", "-it", "x")),
        ('a "d\\\ne"', ("a", "de")),
        ("a 'b\\\nc'", ("a", "b\\\nc")),
        ("a\\\\\nb", ("a\\", "b")),
        ("a\n b\n", ("a", "b")),
    ],
)
def test_a_backslash_at_the_end_of_a_line_joins_two_lines(text: str, argv: tuple[str, ...]) -> None:
    """As in a shell, but for single quotes and for a backslash that is itself escaped."""
    assert Command.parse(text).argv == argv
