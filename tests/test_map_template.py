"""Commands from templates: words, options, and scripts that no value can change."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from currant import Command, CommandError, CommandParseError, EmptyCommandError
from currant._batch.rows import Row, row_of
from currant._batch.template import Template

if TYPE_CHECKING:
    from collections.abc import Sequence

    from currant._values.command import CommandLike

HOSTILE = (
    "$(touch x)",
    "`touch x`",
    "'; touch x; '",
    '"; touch x; "',
    "\\",
    "'",
    '"',
    "a\nb\n",
    "-rf",
    "*",
    "",
    "  a  b ",
    "~",
    "${HOME}",
    "{}",
    "{1}",
    "a[$(touch x)]",
    "\udcff\udcfe",
    "#",
    "\t!",
)
"""Values that would do harm, or change, if a shell read them as a part of its script."""

CONTEXTS = (
    ("P {1}", ["V"]),
    ("P a{1}b", ["aVb"]),
    ('P "{1}"', ["V"]),
    ('P "a b{1} c"', ["a bV c"]),
    ("P '{1}'", ["V"]),
    ("P 'a  {1}b'", ["a  Vb"]),
    ("P a\\ {1}", ["a V"]),
    ('P "\\{1}" "\\\\{1}" "\\a{1}"', ["\\V", "\\V", "\\aV"]),
    ("P \"$(P2 {1})\" '{1}'", ["VE", "V"]),
    ('P "$(P2 "{1}")"', ["VE"]),
    ('P "`P2 {1}`"', ["VE"]),
    ("P ${unset-{1}}", ["V"]),
    ('P "${unset-{1}}"', ["V"]),
    ("(P {1})", ["V"]),
    ('x={1}; P "$x"', ["V"]),
    ('f() { P {1} "$1"; }; f other', ["V", "other"]),
    ("set -- other; P {1} $1", ["V", "other"]),
    ("case {1} in '{1}') P '' {1};; esac", ["", "V"]),
    ("P {1} # it's {1}\nP {1}", ["V", "V"]),
    ("true && P {1}>&1", ["V"]),
    ("P {1}'{1}'\"{1}\"{1}", ["VVVV"]),
    ("P \\{1} '{{a}}' $$ >/dev/null; P {1}", ["V"]),
    ("P {#} '{%}' {1}", ["7", "3", "V"]),
    ('P $((1+(2*3))) {1} "$((2))"', ["7", "V", "2"]),
)
"""Scripts, and the arguments that P gets from them for the value V.

P2 writes its argument, and an E, because a substitution loses newlines at its end.
"""

SHELLS = [
    shell.split()
    for shell in ("dash", "bash", "ksh", "zsh --emulate sh")
    if shutil.which(shell.split()[0])
]


def argv_of(template: CommandLike, *values: object, shell: bool = False) -> list[str]:
    """Return the words of a command with some values."""
    return list(Template(template, shell=shell).fill(row_of(values), 7, 3))


def script_of(script: str, *values: str) -> str:
    """Return the script that a shell gets."""
    argv = argv_of(script, *values, shell=True)
    assert argv[:2] == ["/bin/sh", "-c"]
    assert argv[3] == "sh"
    return argv[2]


def output_of(argv: Sequence[str], cwd: Path | None = None) -> list[str]:
    """Run a command, and return the words that it has written, each with a NUL at its end."""
    done = subprocess.run(argv, cwd=cwd, stdout=subprocess.PIPE, check=True)
    return [os.fsdecode(word) for word in done.stdout.split(b"\0")[:-1]]


# ---- words ----


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("gzip", ["gzip", "a b", "c.d"]),
        ("gzip {}", ["gzip", "a b", "c.d"]),
        ("gzip x{}y", ["gzip", "xa b c.dy"]),
        ("gzip {2.} '{1} {2}'", ["gzip", "c", "a b c.d"]),
        ("cp {1} {#}-{%}", ["cp", "a b", "7-3"]),
        ("cp {#} {%}", ["cp", "7", "3"]),
        ("{} x", ["a b", "c.d", "x"]),
        ("{/} x", ["a b", "c.d", "x"]),
        ("awk '{print $1}' {1}", ["awk", "{print $1}", "a b"]),
        ("awk '{{print}}'", ["awk", "{print}", "a b", "c.d"]),
        ("echo '' {1}", ["echo", "", "a b"]),
        (["echo", "$HOME", "a;b"], ["echo", "$HOME", "a;b", "a b", "c.d"]),
        ([Path("x/y"), "{2}"], ["x/y", "c.d"]),
        (Command(["echo", "{2}"]), ["echo", "c.d"]),
        (["sh", "{1}"], ["sh", "a b"]),
        (["sh", "-c"], ["sh", "-c", "a b", "c.d"]),
    ],
)
def test_words_are_filled_with_values(template: CommandLike, expected: list[str]) -> None:
    """Each value is an argument, or a part of one; without a placeholder, all are appended."""
    assert argv_of(template, "a b", "c.d") == expected


@given(st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8")), max_size=4))
def test_values_are_whole_arguments(values: list[str]) -> None:
    """Whatever the values are, each of them is one argument."""
    assert argv_of("echo", *values) == ["echo", *values]


@pytest.mark.parametrize(
    ("template", "needs_shell"),
    [
        ("echo {}", False),
        ("echo {//} {#} {%} {-1} {/.}", False),
        ("echo '{} | $x'", False),
        ("echo {} | cat", True),
        ("echo {} > {}.out", True),
        ("X={} env", True),
        ("cd {}", True),
        ("echo $HOME", True),
        ("echo {} | cat # it's", True),
        (["echo", "{}", "|"], False),
    ],
)
def test_line_with_shell_syntax_gets_a_shell(template: CommandLike, needs_shell: bool) -> None:
    """A line needs a shell if it has syntax beside placeholders; a sequence of words never does."""
    has_shell = Template(template).base.argv[:2] == ("/bin/sh", "-c")
    assert has_shell == needs_shell


@pytest.mark.parametrize("script", ["P {a b} x{it's}", "P '{a b}' \"x{it's}\""])
def test_column_with_any_name_stays_whole_in_a_line(script: str) -> None:
    """A line whose placeholders have spaces or quotes is a script: it would not split at words."""
    row = row_of({"a b": "V  W", "it's": "Z"})
    template = Template(f"P() {{ printf '%s\\0' \"$@\"; }}; {script}", names=row.names)
    assert output_of(template.fill(row, 1, 1)) == ["V  W", "xZ"]
    plain = Template("printf '%s\\0' {a b} x{it's}", names=row.names)
    assert output_of(plain.fill(row, 1, 1)) == ["V  W", "xZ"]


def test_words_are_a_line_for_a_shell_that_is_asked_for() -> None:
    """With `shell`, words are joined by spaces, and a shell runs the line."""
    template = Template(["cat", "{}", "|", "wc"], shell=True)
    assert template.base.argv[:2] == ("/bin/sh", "-c")
    assert template.text == "cat {} | wc"
    assert template.fill(Row(("a",)), 1, 1)[2:] == ('cat "$@" | wc', "sh", "a")
    assert argv_of("cat {}", "a", shell=True)[2] == 'exec cat "$@"'


def test_options_of_the_command_are_kept() -> None:
    """A template that is a `Command` gives its options to each job, and its name."""
    command = Command(["cp", "{}"], cwd="/", env={"A": "1"}, timeout=3, name="copy")
    template = Template(command)
    made = template.command(Row(("a", "b")), 1, 1)
    assert made == Command(["cp", "a", "b"], cwd="/", env={"A": "1"}, timeout=3, name="copy")
    assert template.command(Row(("a",)), 1, 1, "other").name == "other"


@pytest.mark.parametrize("template", ["bin/{} x", "bin/{} | cat"])
def test_command_is_equal_to_one_that_is_built(template: str) -> None:
    """A command from a template equals one from its words, with the default name."""
    made = Template(template).command(Row(("ls",)), 1, 1)
    assert made == Command(made.argv)
    assert made.name == Command(made.argv).name
    assert repr(made) == repr(Command(made.argv))


@pytest.mark.parametrize(
    ("template", "error", "reason"),
    [
        ("", EmptyCommandError, "needs a program"),
        ([], EmptyCommandError, "needs a program"),
        ("echo '{}", CommandParseError, "No closing quotation"),
        ("echo {} | cat '", CommandParseError, "No closing quotation"),
        ('echo {} | cat "', CommandParseError, "No closing quotation"),
        ("awk '{print}'", CommandError, "unknown placeholder {print}.*write {{print}}"),
        ("awk '{print}' | cat", CommandError, "unknown placeholder {print}"),
        ("echo {3}", CommandError, r"no value for \{3}"),
        ("echo {3} | cat", CommandError, r"no value for \{3}"),
        ("echo $(( {1} + 1 ))", CommandError, r"\{1} cannot be in the arithmetic"),
        ("echo $(((1) + ({1})))", CommandError, "arithmetic"),
        ('echo "$((${x:-{1}}))" | cat', CommandError, "arithmetic"),
        ("((x={1}))", CommandError, "arithmetic"),
        ("cat <<E\n{}\nE\n", CommandError, "{} cannot come after the first line of a here-doc"),
        ("cat <<E\nx\nE\n", CommandError, "here-document"),
        ("cat | cat # all", CommandError, "before the comment"),
        (["sh", "-c", "echo {}", "sh", "x"], CommandError, "must be the last word, but 'sh'"),
    ],
)
def test_template_without_meaning_is_an_error(
    template: CommandLike, error: type[CommandError], reason: str
) -> None:
    """A template is refused before any job if it cannot have a meaning."""
    with pytest.raises(error, match=reason):
        Template(template, columns=2)


def test_command_cannot_be_run_by_another_shell() -> None:
    """A `Command` says itself whether a shell runs it."""
    with pytest.raises(CommandError, match=re.escape("Command.shell")):
        Template(Command(["a"]), shell=True)


@pytest.mark.parametrize("template", ["{}", "{1} x", "{2}"])
def test_job_without_a_program_or_a_value_is_an_error(template: str) -> None:
    """A row may make a command without a program, or lack a value; the error names the job."""
    with pytest.raises(CommandError, match="job 5"):
        Template(template).fill(Row(("",) if template != "{}" else ()), 5, 1)


# ---- scripts ----


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("gzip -c {1} > {2}.gz", 'exec gzip -c "${1}" > "${2}".gz'),
        ("x '{1}' \"{1}\" {1}", 'exec x \'\'"${1}"\'\' "${1}" "${1}"'),
        ("x {}", 'exec x "$@"'),
        ("x a{}", 'exec x a"$*"'),
        ("x a\\ {}", 'exec x a\\ "$*"'),
        ("x ${y- {} }", 'exec x ${y- "$@" }'),
        ("x {} {1}", 'exec x "${2}" "${3}" "${1}"'),
        ("x {} {.}", 'exec x "${1}" "${2}" "${3}" "${4}"'),
        ("x '{}' {#}", "exec x ''\"${2} ${3}\"'' \"${1}\""),
        ("x | y", 'x | y "$@"'),
        ("x >{}", 'exec x >"$*"'),
        ("set x; y {1}", '_value1=${1}; set x; y "${_value1}"'),
        ("x; . y {1}", '_value1=${1}; x; . y "${_value1}"'),
        ("x . --set {1} set.x", 'exec x . --set "${1}" set.x'),
        ("x ${HOME} {1} ${#} $#", 'exec x ${HOME} "${1}" ${#} $#'),
        ("x `y \\`z {1}\\``", 'x `y \\`z "${1}"\\``'),
        ("cat {1} << A <<B\n${x} {print}\nit's\nA", 'cat "${1}" << A <<B\n${x} {print}\nit\'s\nA'),
        ("x {1} <<< it; y {1}", 'x "${1}" <<< it; y "${1}"'),
        ("x $((1 << 2))\ny {1}", 'x $((1 << 2))\ny "${1}"'),
    ],
)
def test_placeholder_is_a_parameter_of_the_shell(script: str, expected: str) -> None:
    """The script refers to parameters in the place of placeholders."""
    assert script_of(script, "a", "b") == expected


def test_script_of_another_shell_gets_parameters_too() -> None:
    """The word after the option -c of a shell is a script, also if another program runs it."""
    assert argv_of(["bash", "-c", "a {1}"], "x") == ["bash", "-c", 'a "${1}"', "bash", "x"]
    argv = argv_of(["env", "A={1}", "/bin/dash", "-e", "-o", "nounset", "-uc", "a"], "x")
    assert argv == ["env", "A=x", "/bin/dash", "-e", "-o", "nounset", "-uc", "a"]
    argv = argv_of(["bash", "--norc", "--rcfile", "f", "-c", "a {1}"], "x")
    assert argv[-3:] == ['a "${1}"', "bash", "x"]
    assert argv_of(["sh", "-ec", "a"], "x") == ["sh", "-ec", 'a "$@"', "sh", "x"]
    assert argv_of(["sh", "-c", "a $1", "sh"], "x") == ["sh", "-c", "a $1", "sh", "x"]
    assert argv_of(Command.shell("a"), "x") == ["/bin/sh", "-c", 'a "$@"', "sh", "x"]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("grep bash -c", ["grep", "bash", "-c", "a b"]),
        ("nice -n 5 sh -c {}", ["nice", "-n", "5", "sh", "-c", '"$@"', "sh", "a b"]),
        ("timeout -k 1 5s sh -c {}", ["timeout", "-k", "1", "5s", "sh", "-c", '"$@"', "sh", "a b"]),
        ("sudo -u me A=1 sh -c x{}", ["sudo", "-u", "me", "A=1", "sh", "-c", 'x"$*"', "sh", "a b"]),
        (
            "docker exec web sh -c 'x {}'",
            ["docker", "exec", "web", "sh", "-c", 'x "$@"', "sh", "a b"],
        ),
    ],
)
def test_only_a_shell_that_is_run_has_a_script(template: str, expected: list[str]) -> None:
    """A word that is the name of a shell may be an argument."""
    assert argv_of(template, "a b") == expected


@pytest.mark.parametrize("shell", ["sh", "fish"])
@pytest.mark.parametrize("words", ["docker exec web", "grep", "sudo -u me grep", "sudo -Hu me"])
@pytest.mark.parametrize("word", ["{}", "x/{}"])
def test_word_that_may_be_a_script_is_refused(words: str, shell: str, word: str) -> None:
    """What programs such as docker and grep do with their words is not known."""
    with pytest.raises(
        CommandError, match=f"a script for '{shell}'; if it is, write 'exec {word}'"
    ):
        Template(f"{words} {shell} -c {word}")


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_value_is_a_value_in_every_context(
    value: str, shell: list[str], tmp_path: Path
) -> None:
    """Whatever a value is, and whatever quotes are around a placeholder, it arrives unchanged."""
    for script, expected in CONTEXTS:
        text = script.replace("P2", "printf %sE").replace("P", "printf '%s\\0'")
        _, *arguments = argv_of(text, value, shell=True)
        words = output_of([*shell, *arguments], tmp_path)
        assert words == [word.replace("V", value) for word in expected], script
    assert not list(tmp_path.iterdir())


VALUES = st.lists(
    st.text(st.sampled_from("ab $`\"'\\\n(){}*;|&<>#~\udcff-"), max_size=8), min_size=1, max_size=3
)


@settings(max_examples=60)
@given(VALUES)
def test_values_arrive_in_all_quotes(values: list[str]) -> None:
    """Several values are words of their own, or are joined by spaces in a longer word."""
    joined = " ".join(values)
    argv = argv_of("printf '%s\\0' {} \"{}\" '{}' x{} {#}", *values, shell=True)
    assert output_of(argv) == [*values, joined, joined, f"x{joined}", "7"]


@pytest.mark.parametrize("values", [[], ["a"], ["a b", ""]])
def test_number_of_values_may_differ(values: list[str]) -> None:
    """One template takes rows of any length, and none is an empty text in a longer word."""
    template = Template("printf '%s\\0' {} x{} {#}", shell=True)
    for _ in range(2):
        argv = template.fill(row_of(values), 7, 3)
        assert output_of(argv) == [*values, f"x{' '.join(values)}", "7"]
        assert template.fill(row_of("a"), 1, 1)[-2:] == ("1", "a")


def test_script_without_an_exec_of_its_own_gets_one() -> None:
    """The program of a simple command takes the place of the shell, but for a given `Command`."""
    assert script_of("sleep {}", "9") == 'exec sleep "$@"'
    assert argv_of(Command.shell("sleep {}"), "9")[2] == 'sleep "$@"'


# ---- lines ----


@pytest.mark.parametrize(
    ("template", "line"),
    [
        ("echo {}", "echo 'a b' c.d"),
        ("echo {2} x{}", "echo c.d 'xa b c.d'"),
        ("echo {1} | cat", "echo 'a b' | cat"),
        ("echo \"{1}\" '{1}'{2} > {2}", "echo \"a b\" 'a b'c.d > c.d"),
        ("echo {} | cat -{#}", "echo 'a b' c.d | cat -7"),
        ("f() { echo {}; }; f", "f() { echo 'a b' c.d; }; f"),
        ("echo `echo {2}`", "/bin/sh -c 'echo `echo \"${1}\"`' sh c.d"),
        (["sh", "-c", "echo {2}"], "sh -c 'echo \"${1}\"' sh c.d"),
        (Command.shell("echo {2}"), "echo c.d"),
    ],
)
def test_line_is_as_a_person_would_write_it(template: CommandLike, line: str) -> None:
    """The line of a job has its values, quoted, instead of parameters."""
    assert Template(template).line(row_of(["a b", "c.d"]), 7, 3) == line


@settings(max_examples=60)
@given(VALUES)
def test_line_does_the_same_in_a_shell(values: list[str]) -> None:
    """A shell that runs the line of a job does what the job does."""
    for text in ("printf '%s\\0' {} x{} {#}", "printf '%s\\0' {} \"a {}\" '{}' x{} | cat"):
        template = Template(text)
        line = template.line(row_of(values), 7, 3)
        done = output_of(["/bin/sh", "-c", line])
        assert done == output_of(template.fill(row_of(values), 7, 3))


# ---- scripts inside of scripts, and arithmetic ----


@pytest.mark.parametrize(
    "words",
    [
        ["bash", "-ce", "echo {}"],
        ["bash", "-c", "-e", "echo {}"],
        ["bash", "-c", "--", "echo {}"],
        ["bash", "-ec", "echo {}"],
        ["bash", "--norc", "-c", "echo {}"],
        ["env", "sh", "-cu", "echo {}"],
    ],
    ids=" ".join,
)
def test_script_is_found_behind_all_options_of_a_shell(words: list[str], tmp_path: Path) -> None:
    """The value is a parameter, wherever the option -c is."""
    argv = Template(words).fill(Row(("$(touch pwned)",)), 1, 1)
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, check=True)
    assert done.stdout == b"$(touch pwned)\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "script",
    [
        "true && bash -c 'echo {}'",
        'sh -c "echo {}" | cat',
        "x | /bin/sh -ec 'echo {}'",
        "trap 'echo {}' EXIT; exit 1",
        "trap -- 'echo {}' EXIT; exit 1",
        "eval 'echo {}'",
        'eval "echo {}"',
        "eval x={}",
        "eval {}=1",
        "eval echo {}",
        "true; eval 'echo' 2>&1 {}",
        "if eval \"$x\" '{}'; then y; fi",
        "true; sh -c $x {}",
        'eval "$(echo {})"',
        'true && sh -c "echo \\"hi\\" {}"',
        'true && bash -euo pipefail -c "echo {} | cat"',
        'true && bash -c -o pipefail "echo {}"',
        'true && bash -co pipefail "echo {}"',
        "true && zsh --emulate sh -c 'echo {}'",
        "true; sh -c 'echo '{}",
        "true; sh -c 'cd x && ./run '\"{}\"",
        "true; sh -c x{}",
        "true; sh -c {}",
        'true; "$SHELL" -c "echo {}"',
        "true; sh \\\n-c \\\n'echo {}'",
        "true; sh -c \"echo $(date '+%s {}')\"",
        'true; sh -c "echo $(basename "{}")"',
        "sh -c 'x'; sh -c 'x {}'",
        'trap "rm -f \\"{}.tmp\\"" EXIT; true',
        "bash -c \"bash -c 'echo x' sh '{}'\" | cat",
    ],
)
def test_script_inside_of_a_script_gets_no_value(script: str) -> None:
    """The inner shell would read the value as code, so this is an error of the template."""
    with pytest.raises(CommandError, match="a script inside of the script"):
        Template(script, shell=True)


@pytest.mark.parametrize(
    "script",
    [
        "true && bash -c 'echo \"$1\"' bash {}",
        'true && bash -o pipefail -c \'echo "$1"\' bash "{}"',
        'true && sh -c "echo $V $(date +%s)" {}',
        "x=$(sh -c 'echo a'); echo {}",
        "trap 'rm x' EXIT; cp {} x",
        'trap "rm $(echo x)" EXIT; cp "{}" x',
        "trap - EXIT; echo '{}'",
        'eval "$(ssh-agent)"; ssh-add {}',
        'eval $(x --shell) 2>&1; y "{}"',
        "if eval $x; then y {}; fi",
        "nix eval --json {} | cat",
        "cd x && eval {}",
        "echo bash {} -c",
    ],
)
def test_value_beside_a_script_inside_of_a_script_is_an_argument(script: str) -> None:
    """A word after the inner script, and a later command, get their value."""
    Template(script, shell=True)


@pytest.mark.parametrize("shell", ["fish", "csh", "tcsh"])
def test_script_of_a_shell_with_other_parameters_gets_no_value(shell: str) -> None:
    """A value can be a word after the script."""
    with pytest.raises(CommandError, match=f"a script for {shell}"):
        Template([shell, "-c", "echo {}"])
    Template([shell, "-c", "echo $argv", "{}"])


@pytest.mark.parametrize(
    "script",
    [
        "echo $[{}+1]",
        "echo ${x:{}}",
        "echo ${x:{}:1}",
        "echo ${a[{}]}",
        'echo "${a[@]:{}:1}"',
        "echo ${a[1]:{}}",
        "echo ${x:${y}:{}}",
        "echo ${a[b[0]+{}]}",
        "echo $[a[0]+{}]",
        "a[b[0]+{}]=1",
        "a[{}]=1",
        "a=([{}]=1)",
        "a+=( x\n['{}']=1)",
        "echo $(( $(echo {}) ))",
        "let {}",
        'let "x = {}"',
        'let "x = 1 & {}"',
        "let 'x = {}'",
        "[[ {} -eq 1 ]]",
        "[[ a = b || 3 -lt '{}' && c ]]",
        '[[ -n a &&\n "1{}" -ge 1 ]] && x',
        "[[ -v {} ]]",
    ],
)
def test_no_kind_of_arithmetic_gets_a_value(script: str) -> None:
    """Some shells run a command in the index of an array there."""
    with pytest.raises(CommandError, match="arithmetic"):
        Template(["bash", "-c", script])


@pytest.mark.parametrize(
    "script",
    [
        "echo ${x:-{}}",
        "echo ${a[0]:-{}} ${a[0]}{}",
        "ls {}[0-9]",
        "complet {}",
        "echo x[ {}",
        "a=(x[0] {}); b=( [1]={} )",
        "[ {} -eq 1 ]",
        "[[ {} == a && $# -eq 1 ]]",
        "[[ $# -eq 1 ]] && test {} -eq '{}'",
    ],
)
def test_what_only_looks_like_arithmetic_gets_its_value(script: str) -> None:
    """A default, a pattern, and another command."""
    Template(["bash", "-c", script])


@pytest.mark.parametrize(
    "script",
    [
        'echo "$(echo "{}")"',
        'echo "$(case x in x) echo "{}";; esac)"',
        "echo `true` {}",
        "cat << {}",
        "echo $'x' {}",
        "case {} in x) echo;; esac",
    ],
)
def test_line_has_no_value_where_quotes_are_hard_to_tell(script: str) -> None:
    """The line of a job log is run again, so it must not depend on a guess."""
    line = Template(script, shell=True).line(Row(("$(touch pwned)",)), 1, 1)
    assert line.endswith(" sh '$(touch pwned)'")
