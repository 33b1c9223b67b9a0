"""What users of GNU parallel write: `currant map` takes it, or says what to write instead.

`tests/test_map_parallel.py` runs both programs side by side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from currant._values.errors import CommandError
from currant.cli._map.arguments import Group, split_arguments
from currant.cli._map.from_parallel import check_no_perl, remark_on_words
from tests.maps import run_map

if TYPE_CHECKING:
    from pathlib import Path


def test_files_of_options_come_before_those_of_words() -> None:
    """`--arg-file` is another way to write ``::::``."""
    assert split_arguments(["echo", ":::", "a"], ["x", "y"]) == (
        ("echo",),
        (
            Group(("x",), are_files=True),
            Group(("y",), are_files=True),
            Group(("a",)),
        ),
    )


@pytest.mark.parametrize("words", [["echo", "{= s/a/b/ =}"], ["echo", "{=", "uc()", "=}"]])
def test_perl_in_a_template_is_refused(words: list[str]) -> None:
    """Perl must not silently become an argument."""
    with pytest.raises(CommandError, match="is Perl of GNU parallel"):
        check_no_perl(words)
    check_no_perl(["echo", "{a=b}", "=}", "{="])


@pytest.mark.parametrize("word", [">", ">>", "2>", "2>&1", "<", "|", "||", "&&", "&", ">&2"])
def test_remark_on_a_word_for_a_shell(word: str) -> None:
    """A redirection among several words does nothing, and a person should know."""
    remark = remark_on_words(["echo", "{}", word, "x"])
    assert remark is not None
    assert remark.startswith(repr(word))


@pytest.mark.parametrize(
    "words", [["|"], ["find", "{}", "-exec", "rm", "x", ";"], ["echo", "a > b", "->", "-|"], []]
)
def test_no_remark_on_other_words(words: list[str]) -> None:
    """A part of a word, one word by itself, and what `find` takes are usual."""
    assert remark_on_words(words) is None


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        (["--header", ":", "--tag", "echo", "{x}", ":::", "x", "1"], b"1\t1\n"),
        (["--header", "--tag", "echo", "{x}", ":::", "x", "1"], b"1\t1\n"),
        (["echo", "--header", ":", ":::", "1"], b"--header : 1\n"),
        (["-P", "1", "echo", "{#}", ":::", "a", "b"], b"1\n2\n"),
        (["-k", "-N", "2", "echo", ":::", "a", "b", "c"], b"a b\nc\n"),
        (["-k", "-C", ",", "echo", "{2}", ":::", "a,b"], b"b\n"),
        (["-k", "-a", "values", "echo"], b"v\nw\n"),
        (["--dryrun", "echo", ":::", "a b"], b"echo 'a b'\n"),
        *([[option, "echo", ":::", "a"], b"a\n"] for option in ("--lb", "--linebuffer", "-u")),
        *([[option, "echo", ":::", "a"], b"a\n"] for option in ("--bar", "--eta", "--ungroup")),
        (["--load", "9999", "echo", ":::", "a"], b"a\n"),
    ],
)
def test_options_of_parallel_are_taken(
    preloaded: None, tmp_path: Path, arguments: list[str], output: bytes
) -> None:
    """The names of these options are those of parallel."""
    (tmp_path / "values").write_text("v\nw\n")
    ended = run_map(*arguments, cwd=tmp_path)
    assert (ended.status, ended.out) == (0, output)


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["--link", "echo"], "No such option '--link'. Use :::+ for :::, and ::::+ for ::::."),
        (["-d", "_", "echo"], "No such option '-d'. Use --null, or --recend with --stdin."),
        (["--kill-others", "echo"], "No such option"),
    ],
)
def test_other_options_of_parallel_get_advice(
    preloaded: None, arguments: list[str], advice: str
) -> None:
    """Advice on options of programs with other tasks would be wrong here."""
    ended = run_map(*arguments, ":::", "a")
    assert (ended.status, ended.out) == (2, b"")
    assert ended.err.decode().startswith(f"currant: {advice}")
    assert "Use --kill-others-on" not in ended.err.decode()


def test_remark_is_on_stderr_and_the_commands_run(preloaded: None) -> None:
    """The output is that of the commands alone."""
    ended = run_map("echo", "{}", ">", "x", ":::", "a")
    assert (ended.status, ended.out) == (0, b"a > x\n")
    assert ended.err.startswith(b"currant: '>' is an argument here")
    assert run_map("--shell", "echo {} > /dev/null", ":::", "a").err == b""


def test_one_record_for_each_command(preloaded: None) -> None:
    """With `--stdin`, ``-n 1`` is a number of records, and not the lack of one."""
    words = ["--stdin", "-k", "-n", "1", "--recend", ", ", "cat; echo {#}"]
    assert run_map(*words, stdin=b"a, b, c") == (0, b"a, 1\nb, 2\nc3\n", b"")
