"""The rows of `currant map`: from arguments, files and stdin, in all formats."""

from __future__ import annotations

import os
import re
from math import ceil
from typing import TYPE_CHECKING

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from currant import CommandError
from currant._batch.rows import Row
from currant.cli._map.arguments import Group, split_arguments
from currant.cli._map.inputs import Inputs, open_inputs
from currant.cli._map.parsing import Form, Format, parser_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

pytestmark = pytest.mark.anyio

LINES = Form()
HEADER = Form(header=True)


async def rows_of(
    words: str | Sequence[str], form: Form = LINES, stdin: int = 0
) -> list[tuple[str, ...]]:
    """Return the values of all rows of a command line."""
    groups = split_arguments(words.split() if isinstance(words, str) else words)[1]
    async with open_inputs(groups, form, stdin=stdin) as inputs:
        return [row.values async for row in inputs]


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """The descriptors of a pipe, which a test may close itself."""
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            assert end == ends[1]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two files of values, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "numbers").write_bytes(b"1\n2\n")
    (tmp_path / "letters").write_bytes(b"a\nb")
    return tmp_path


# ---- arguments ----


@pytest.mark.parametrize(
    ("words", "template", "groups"),
    [
        ("echo {}", ("echo", "{}"), ()),
        ("", (), ()),
        ("a ::: 1 2", ("a",), (Group(("1", "2")),)),
        ("a :::", ("a",), (Group(()),)),
        ("a ::: 1 :::+ 2", ("a",), (Group(("1",)), Group(("2",), is_linked=True))),
        (
            ":::: f - ::::+ g",
            (),
            (Group(("f", "-"), are_files=True), Group(("g",), are_files=True, is_linked=True)),
        ),
        ("a :: ::::: {:::}", ("a", "::", ":::::", "{:::}"), ()),
    ],
)
def test_words_are_split_at_separators(
    words: str, template: tuple[str, ...], groups: tuple[Group, ...]
) -> None:
    """The template ends at the first separator, and a group at the next one."""
    assert split_arguments(words.split()) == (template, groups)


@pytest.mark.parametrize("words", ["a ::::", "a ::: 1 ::::+", "a :::: ::: 1"])
def test_file_separator_without_a_file_is_an_error(words: str) -> None:
    """A separator for files needs at least one file."""
    with pytest.raises(CommandError, match="needs a file with values"):
        split_arguments(words.split())


# ---- products and links ----


@pytest.mark.parametrize(
    ("words", "rows"),
    [
        ("::: a b", "a b"),
        ("::: a b ::: 1 2", "a1 a2 b1 b2"),
        ("::: a b :::+ 1 2", "a1 b2"),
        ("::: a b c :::+ 1 2 ::: X Y :::+ 7 8 9", "a1X7 a1Y8 b2X7 b2Y8"),
        (":::+ a b ::: 1 2", "a1 a2 b1 b2"),
        (":::: numbers letters", "1a 1b 2a 2b"),
        (":::: numbers ::::+ letters", "1a 2b"),
        ("::: x y ::::+ numbers letters", "x1a y2b"),
        ("::: x :::: letters", "xa xb"),
        (":::", ""),
        ("::: a b :::", ""),
        ("::: ::: a b", ""),
        ("::: a b :::+", ""),
    ],
)
async def test_groups_are_a_product_or_are_linked(words: str, rows: str, files: Path) -> None:
    """The last group changes fastest; linked groups are as long as the shortest."""
    assert await rows_of(words) == [tuple(row) for row in rows.split()]


async def test_large_product_is_made_bit_by_bit() -> None:
    """A product of very many rows has its first ones at once."""
    many = tuple(map(str, range(50_000)))
    async with open_inputs([Group(many), Group(many)], LINES) as inputs:
        assert inputs.total == 2_500_000_000
        first = [await anext(inputs) for _ in range(2001)]
    assert first[2000].values == ("0", "2000")


@pytest.mark.parametrize("size", [999, 1000, 1001, 2500])
async def test_long_arguments_are_complete(size: int) -> None:
    """The rows of many arguments are all of them, once, in order."""
    words = tuple(map(str, range(size)))
    async with open_inputs([Group(words), Group(("x",))], LINES) as inputs:
        assert [row.values async for row in inputs] == [(word, "x") for word in words]
    async with open_inputs([Group(words), Group(words, is_linked=True)], LINES) as inputs:
        assert [row.values async for row in inputs] == [(word, word) for word in words]


@pytest.mark.parametrize(
    ("words", "form", "total", "columns"),
    [
        ("::: a b c", LINES, 3, 1),
        ("::: a b c ::: 1 2", LINES, 6, 2),
        ("::: a b c :::+ 1 2 ::: 1 2 3 4", LINES, 8, 3),
        ("::: a b c", Form(per_job=2), 2, 2),
        ("::: x a b c", HEADER, 3, 1),
        ("::: a,b", Form(colsep=re.compile(",")), 1, None),
        ("::: a,b", Form("csv"), None, None),
        ("::: a,b 1,2", Form("csv", header=True), None, 2),
        ('::: {"a":1}', Form("jsonl"), None, None),
        (":::: numbers", LINES, None, 1),
        ("::: a b :::: numbers", LINES, None, 2),
        ("::: a b :::", LINES, 0, 2),
    ],
)
async def test_total_and_columns_are_known_if_they_can_be(
    words: str, form: Form, total: int | None, columns: int | None, files: Path
) -> None:
    """The number of jobs and of values is known without reading a file, or it is None."""
    async with open_inputs(split_arguments(words.split())[1], form) as inputs:
        assert (inputs.total, inputs.columns) == (total, columns)
        assert inputs.is_empty == (total == 0)


@given(st.lists(st.lists(st.sampled_from("ab"), max_size=3), max_size=3), st.integers(1, 4))
def test_total_is_the_number_of_rows(groups: list[list[str]], per_job: int) -> None:
    """The total that is told agrees with the rows that come."""

    async def main() -> tuple[int | None, list[Row]]:
        made = [Group(tuple(words)) for words in groups] or [Group(("a",))]
        async with open_inputs(made, Form(per_job=per_job)) as inputs:
            return inputs.total, [row async for row in inputs]

    total, rows = anyio.run(main)
    assert total == len(rows)


# ---- several values for each job ----


@pytest.mark.parametrize(("size", "per_job"), [(0, 2), (1, 2), (4, 2), (5, 2), (5, 9), (3000, 7)])
async def test_several_rows_make_one(size: int, per_job: int) -> None:
    """The values of several rows are those of one job; the last job may have fewer."""
    words = tuple(map(str, range(size)))
    async with open_inputs([Group(words)], Form(per_job=per_job)) as inputs:
        rows = [row.values async for row in inputs]
    assert len(rows) == ceil(size / per_job)
    assert [value for row in rows for value in row] == list(words)
    assert {len(row) for row in rows[:-1]} <= {per_job}


async def test_rows_of_a_product_make_one_too() -> None:
    """As in GNU parallel, the values of a job are those of the rows of a product."""
    assert await rows_of("::: a b c ::: 1 2", Form(per_job=4)) == [tuple("a1a2b1b2"), tuple("c1c2")]


# ---- files and pipes ----


@pytest.mark.parametrize(
    ("data", "values"),
    [
        (b"", []),
        (b"\n", [""]),
        (b"a", ["a"]),
        (b"a\n", ["a"]),
        (b"a\n\nb", ["a", "", "b"]),
        (b"a\r\n b \n", ["a\r", " b "]),
        (b"\xff\xc3\xa4\n", ["\udcffä"]),
        (b"a\x0bb\x1cc\x85\n", ["a\x0bb\x1cc\udc85"]),
        ("\u2028\n".encode(), ["\u2028"]),
        (b"x" * 200_000 + b"\ny", ["x" * 200_000, "y"]),
    ],
)
async def test_lines_of_a_file_are_values(data: bytes, values: list[str], tmp_path: Path) -> None:
    """A newline ends a line, and nothing else does; the last line may lack it."""
    (tmp_path / "f").write_bytes(data)
    assert await rows_of(["::::", str(tmp_path / "f")]) == [(value,) for value in values]


async def test_null_ends_values_with_newlines(tmp_path: Path) -> None:
    """With `null`, a value may have newlines."""
    (tmp_path / "f").write_bytes(b"a\nb\0\0$(x)\n")
    rows = await rows_of(["::::", str(tmp_path / "f")], Form(null=True))
    assert rows == [("a\nb",), ("",), ("$(x)\n",)]


async def test_stdin_is_read_as_lines_come(pipe: tuple[int, int]) -> None:
    """Each line of a pipe is a row as soon as it has come, and other tasks run meanwhile."""
    read, write = pipe
    rows: list[str] = []

    async def collect(inputs: Inputs) -> None:
        async for row in inputs:
            rows.append(row.text)
            got.set()

    with anyio.fail_after(30):
        async with open_inputs((), LINES, stdin=read) as inputs, anyio.create_task_group() as tasks:
            got = anyio.Event()
            tasks.start_soon(collect, inputs)
            for line, complete in ((b"a\nb", "a"), (b"c\n", "bc")):
                os.write(write, line)
                await got.wait()
                assert rows[-1] == complete
                got = anyio.Event()
            os.write(write, b"d")
            os.close(write)
    assert rows == ["a", "bc", "d"]


async def test_wait_for_stdin_can_be_cancelled(pipe: tuple[int, int]) -> None:
    """A silent pipe holds up nothing, and no line is lost to a wait that was cancelled."""
    read, write = pipe
    os.write(write, b"a\nb")
    with anyio.fail_after(30):
        async with open_inputs((), LINES, stdin=read) as inputs:
            assert (await anext(inputs)).text == "a"
            with anyio.move_on_after(0):
                await anext(inputs)
            os.write(write, b"c\n")
            assert (await anext(inputs)).text == "bc"


@pytest.mark.parametrize(
    ("typed", "values"), [(b"a b\n\x04", ["a b"]), (b"a\nb\x04\x04", ["a", "b"])]
)
async def test_terminal_is_read_without_blocking(typed: bytes, values: list[str]) -> None:
    """A person may take any time for a line, and ends the input with Ctrl-D, and a line, too."""
    master, terminal = os.openpty()
    rows: list[tuple[str, ...]] = []

    async def collect() -> None:
        rows.extend(await rows_of("", stdin=terminal))

    try:
        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(collect)
                await anyio.wait_all_tasks_blocked()
                os.write(master, typed)
        assert rows == [(value,) for value in values]
    finally:
        os.close(master)
        os.close(terminal)


async def test_empty_group_ends_the_rows_at_once(pipe: tuple[int, int]) -> None:
    """A product with an empty group is empty, whatever stdin would bring."""
    with anyio.fail_after(30):
        assert await rows_of(":::: - :::", stdin=pipe[0]) == []


@pytest.mark.parametrize("words", ["::: 1 2 ::::+ -", ":::: - :::+ 1 2"])
async def test_links_end_with_the_arguments(words: str, pipe: tuple[int, int]) -> None:
    """Nobody waits for what more stdin would bring."""
    os.write(pipe[1], b"a\nb\n")
    with anyio.fail_after(30):
        assert len(await rows_of(words, stdin=pipe[0])) == 2


async def test_named_pipe_is_read_once_it_has_a_writer(tmp_path: Path) -> None:
    """Opening a named pipe waits for no writer, and its end is the end of the rows."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    rows: list[tuple[str, ...]] = []

    async def collect() -> None:
        rows.extend(await rows_of(["::::", str(path)]))

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(collect)
            await anyio.wait_all_tasks_blocked()
            writer = os.open(path, os.O_WRONLY)
            os.write(writer, b"a\nb\n")
            os.close(writer)
    assert rows == [("a",), ("b",)]


async def test_pipe_that_has_ended_before_is_read(pipe: tuple[int, int]) -> None:
    """The file of a shell's ``<(command)`` may have lost its writer before it is opened."""
    read, write = pipe
    os.write(write, b"a\n")
    os.close(write)
    with anyio.fail_after(30):
        assert await rows_of(["::::", f"/dev/fd/{read}"]) == [("a",)]


@pytest.mark.parametrize("path", ["/dev/null", "-"])
async def test_null_device_has_no_rows(path: str) -> None:
    """A file that no event loop can wait for is read all the same."""
    null = os.open("/dev/null", os.O_RDONLY)
    try:
        assert await rows_of(["::::", path], stdin=null) == []
    finally:
        os.close(null)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (":::: missing", "cannot read missing: No such file or directory"),
        (":::: numbers .", "cannot read .: it is a directory"),
        (":::: - ::::+ -", "stdin can be read only once"),
    ],
)
async def test_unreadable_file_is_an_error_at_once(words: str, reason: str, files: Path) -> None:
    """A file that cannot be read is an error before any row, and no other file stays open."""
    with pytest.raises(CommandError, match=re.escape(reason)):
        async with open_inputs(split_arguments(words.split())[1], LINES, stdin=0):
            pytest.fail("must not begin")


async def test_stdin_that_is_closed_is_an_error() -> None:
    """A closed descriptor is an error with a reason, before any row."""
    with pytest.raises(CommandError, match="cannot read stdin: Bad file descriptor"):
        await rows_of("", stdin=987_654)


@pytest.mark.parametrize("lines", [1, 100_000])
async def test_nul_in_a_line_is_an_error(lines: int, tmp_path: Path) -> None:
    """No argument can have a NUL byte, and the error names the line and the option."""
    (tmp_path / "f").write_bytes(b"a\n" * lines + b"b\0c\n")
    with pytest.raises(CommandError, match=rf"f, line {lines + 1}: .*with -0"):
        await rows_of(["::::", str(tmp_path / "f")])


# ---- columns ----


def parsed(form: Form, text: str, cuts: Sequence[int] = ()) -> list[Row]:
    """Return the rows of a text whose lines come in parts, cut at these lines."""
    parser = parser_for("f", form)
    lines = text.split("\n")[: -1 if text.endswith("\n") or not text else None]
    rows: list[Row] = []
    begin = 0
    for end in (*sorted(cuts), len(lines)):
        rows += parser.feed(lines[begin:end])
        begin = max(begin, end)
    return rows + parser.end()


SPACES = Form(colsep=re.compile(" +"))


@pytest.mark.parametrize(
    ("form", "text", "rows"),
    [
        (SPACES, "a b  c\nd\n\n", [("a", "b", "c"), ("d",), ("",)]),
        (Form("tsv"), 'a\t"b\t\r\n\nc\n', [("a", '"b', ""), ("c",)]),
        (Form("csv"), 'a,"b,""c"\r\n\n1, 2\n', [("a", 'b,"c'), ("1", " 2")]),
        (Form("csv"), '"a\nb",c\nd,"\n\n"\n', [("a\nb", "c"), ("d", "\n\n")]),
        (Form("csv"), '\ufeff"a",b', [("a", "b")]),
        (Form("csv"), '5" disk,x\n', [('5" disk', "x")]),
        (Form("tsv"), "\ufeffa\tb", [("a", "b")]),
        (Form("jsonl"), '\ufeff["a", 1]\n\n "x" \n2.50\n', [("a", "1"), ("x",), ("2.50",)]),
        (
            Form("jsonl"),
            "[true, null, -0, 1e5, 9007199254740993]",
            [("true", "", "-0", "1e5", "9007199254740993")],
        ),
        (Form("jsonl"), '[{"a": [1, "ä"]}, []]\n[]', [('{"a":[1,"ä"]}', "[]"), ()]),
    ],
)
def test_line_is_split_into_columns(form: Form, text: str, rows: list[tuple[str, ...]]) -> None:
    """Each format gives the values of a row."""
    assert parsed(form, text) == [Row(values) for values in rows]


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (HEADER, "x\n1\n2\n"),
        (Form("csv", header=True), "x\n1\n2\n"),
        (Form("tsv", header=True), "x\r\n1\r\n\n2"),
        (Form(header=True, colsep=re.compile(",")), "x\n1\n2\n"),
        (Form("jsonl"), '{"x": 1}\n{"x": "2"}\n'),
    ],
)
@pytest.mark.parametrize("cuts", [(), (0, 1), (1, 2), (2,)])
def test_columns_have_names(form: Form, text: str, cuts: tuple[int, ...]) -> None:
    """The first line names the columns, and so do the keys of an object."""
    assert parsed(form, text, cuts) == [Row(("1",), ("x",)), Row(("2",), ("x",))]


def test_objects_may_have_other_columns() -> None:
    """Each object of JSON lines has the columns of its own keys."""
    rows = parsed(Form("jsonl"), '{"a": 1, "b": {"c": 1.0}}\n{"b": 2}\n[3]')
    assert rows == [Row(("1", '{"c":1.0}'), ("a", "b")), Row(("2",), ("b",)), Row(("3",))]


@given(
    st.lists(st.lists(st.text('ab",\n é', max_size=5), min_size=1, max_size=3), max_size=6),
    st.lists(st.integers(0, 20), max_size=4),
)
def test_csv_is_the_same_in_any_parts(table: list[list[str]], cuts: list[int]) -> None:
    """A row of CSV may come in any number of parts."""
    text = "".join(
        ",".join('"' + value.replace('"', '""') + '"' for value in row) + "\n" for row in table
    )
    rows = parsed(Form("csv"), text, cuts)
    assert [row.values for row in rows] == [tuple(row) for row in table]


@pytest.mark.parametrize(
    ("form", "text", "reason"),
    [
        (Form("csv", header=True), "a,b\n1,2\n3\n", "f, line 3: 1 value, but there are 2 columns"),
        (Form("csv", header=True), 'a,b\n"1\n",2\n3,4,5\n', "f, line 4: 3 values, but there are 2"),
        (Form("tsv", header=True), "a\tb\n\n1\n", "f, line 3: 1 value"),
        (Form(header=True, colsep=re.compile(",")), "a,b\n1\n", "f, line 2: 1 value"),
        (Form("csv"), 'a\n"b\n', "f, line 2: not CSV: unexpected end of data"),
        (Form("csv"), 'a\n"b"c\nd\n', "f, line 2: not CSV: ',' expected"),
        (Form("csv"), "a\nb\rc\nd\n", "f, line 2: not CSV: new-line character"),
        (Form("jsonl"), '{"a":1}\n{"a":}\n', "f, line 2: not JSON: Expecting value"),
        (Form("jsonl"), '\n"a\\u0000"', "f, line 2: a value contains a NUL byte"),
        (Form("jsonl"), '["\\ud800"]', "f, line 1: a value contains a lone surrogate"),
        (Form("jsonl"), '{"\\ud800":1}', "f, line 1: the name of a column contains a lone"),
        (Form("jsonl"), "[" * 100_000, "f, line 1: not JSON"),
        (HEADER, "", "f is empty, and its first line must name the columns"),
        (Form("csv", header=True), "\n\n", "f is empty"),
        (Form("csv", header=True), "a,b,a\n", "f: two columns have the name 'a'"),
        (Form(colsep=re.compile("(,)")), "a", "separator '(,)' must not have groups"),
    ],
)
@pytest.mark.parametrize("cuts", [(), (1,), (1, 2)])
def test_bad_line_is_an_error_with_its_place(
    form: Form, text: str, reason: str, cuts: tuple[int, ...]
) -> None:
    """The error about a line names the file and the line, in whatever parts the lines come."""
    with pytest.raises(CommandError, match=re.escape(reason)):
        parsed(form, text, cuts)


def test_bad_csv_is_an_error_before_the_end() -> None:
    """Only a row that may go on waits for more lines."""
    parser = parser_for("f", Form("csv"))
    with pytest.raises(CommandError, match="f, line 2: not CSV"):
        parser.feed(["a", '"b"c', "d"])


@pytest.mark.parametrize("form", [Form("csv"), Form("tsv"), Form("jsonl")])
def test_byte_order_mark_counts_at_the_begin_only(form: Form) -> None:
    """Any later mark is text."""
    text = '"1"\n"\ufeff"\n' if form.format != "tsv" else "1\n\ufeff\n"
    assert parsed(form, "\ufeff" + text, (1,)) == [Row(("1",)), Row(("\ufeff",))]


# ---- names of several sources ----


@pytest.mark.parametrize(
    ("words", "form", "names", "first"),
    [
        ("::: x 1 2 ::: y a", HEADER, ("x", "y"), Row(("1", "a"), ("x", "y"))),
        (":::: numbers", HEADER, ("1",), Row(("2",), ("1",))),
        ("::: a,b 1,2", Form("csv", header=True), ("a", "b"), Row(("1", "2"), ("a", "b"))),
        ("::: x 1 2", Form(header=True, per_job=2), ("x",), Row(("1", "2"), ("x", "x"))),
        ('::: {"a":1} ::: [2]', Form("jsonl"), ("a",), Row(("1", "2"), ("a", ""))),
        ("::: 1 2", LINES, None, Row(("1",))),
    ],
)
async def test_names_are_known_before_the_rows(
    words: str, form: Form, names: tuple[str, ...] | None, first: Row, files: Path
) -> None:
    """The names of all columns are known at once, and the rows have them."""
    async with open_inputs(split_arguments(words.split())[1], form) as inputs:
        assert inputs.names == names
        assert await anext(inputs) == first


async def test_same_name_in_two_sources_is_an_error() -> None:
    """A name belongs to one column."""
    with pytest.raises(CommandError, match="two columns have the name 'x'"):
        await rows_of("::: x 1 ::: x 2", HEADER)


@pytest.mark.parametrize(("format_", "is_empty"), [("jsonl", True), ("lines", False)])
async def test_empty_input_without_names_is_told(
    format_: Format, is_empty: bool, tmp_path: Path
) -> None:
    """Without any row, the names of JSON lines are unknown, and that is no mistake."""
    (tmp_path / "f").write_bytes(b"")
    groups = [Group((str(tmp_path / "f"),), are_files=True)]
    async with open_inputs(groups, Form(format_)) as inputs:
        assert (inputs.names, inputs.is_empty) == (None, is_empty)
        assert [row async for row in inputs] == []
