"""Tests of host lists: texts, files, and the variables of Slurm."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from currant import CommandError
from currant._values.errors import HostListError
from currant.hosts import LOCAL, Host
from currant.hosts._host import expand_host
from currant.hosts._lists import parse_hosts, read_hosts, slurm_hosts

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("", []),
        ("a", [Host("a")]),
        ("a,b c\n d ,, e", [Host(name) for name in "abcde"]),
        ("n[1-2],m", [Host("n1"), Host("n2"), Host("m")]),
        ("8/a", [Host("a", slots=8)]),
        ("2/n[1-2]", [Host("n1", slots=2), Host("n2", slots=2)]),
        ("n[1-2] slots=4", [Host("n1", slots=4), Host("n2", slots=4)]),
        ("n slots=4 cpus=8 gpus=2", [Host("n", slots=4, cpus=8, gpus=2)]),
        ("me@a", [Host("a", address="me@a")]),
        ("4/me@n[1-2]", [Host(f"n{i}", address=f"me@n{i}", slots=4) for i in (1, 2)]),
        ("ssh://me@a:22", [Host("a", address="ssh://me@a:22")]),
        ("2/ssh://a", [Host("a", address="ssh://a", slots=2)]),
        ("ssh://n[1-2]:22", [Host(f"n{i}", address=f"ssh://n{i}:22") for i in (1, 2)]),
        ("ssh://[fe80::1]:22", [Host("fe80::1", address="ssh://[fe80::1]:22")]),
        ("fe80::1", [Host("fe80::1")]),
        ("me@fe80::1", [Host("fe80::1", address="me@fe80::1")]),
        (":", [LOCAL]),
        ("LOCAL", [LOCAL]),
        ("2/LOCAL,me@LOCAL", [replace(LOCAL, slots=2), Host("LOCAL", address="me@LOCAL")]),
        ("4/:,a", [replace(LOCAL, slots=4), Host("a")]),
        ("# all\na # one\n#b\n\n", [Host("a")]),
        ("a\r\nb", [Host("a"), Host("b")]),
    ],
)
def test_list_names_hosts(text: str, hosts: list[Host]) -> None:
    """Commas, spaces and line ends separate items, with slots as in GNU parallel and mpirun."""
    assert list(parse_hosts(text)) == hosts


@pytest.mark.parametrize(
    "host", [Host("a"), Host("a", slots=2), Host("a", address="me@a", slots=3), LOCAL], ids=str
)
def test_text_of_a_host_is_read_as_that_host(host: Host) -> None:
    """A list reads the `str` of a host as the same host."""
    assert parse_hosts(str(host)) == (host,)


@pytest.mark.parametrize(
    ("text", "shown", "reason"),
    [
        ("a,gpu[1-4", "gpu[1-4", "a bracket is not closed"),
        ("0/a", "0/a", "host 'a': slots must be an integer >= 1, not 0"),
        ("a slots=x", "a slots=x", "'slots=x' is no option; there are slots=N"),
        ("a max_slots=3", "a max_slots=3", "'max_slots=3' is no option"),
        ("a slots=1 slots=2", "a slots=1 slots=2", "slots is given twice"),
        ("2/a slots=2", "2/a", "its slots are given twice"),
        ("a b slots=2", "a b slots=2", "needs a line with one name"),
        ("slots=2", "slots=2", "needs a line with one name"),
        ("a:8", "a:8", "it is open what ':8' means; write ssh://a:8 for a port, and 8/a for slots"),
        ("me@", "me@", "there is no name in it"),
        ("ssh://", "ssh://", "there is no name in it"),
        ("-oProxyCommand=x", "-oProxyCommand=x", "is no option"),
        ("-v", "-v", "does not begin with '-'"),
        ("x/a", "x/a", "must not contain '/'"),
    ],
)
def test_wrong_list_is_refused(text: str, shown: str, reason: str) -> None:
    """The error shows the item or the line, and says what is wrong with it."""
    with pytest.raises(HostListError, match=re.escape(reason)) as caught:
        parse_hosts(text)
    assert caught.value.text == shown


def test_list_is_a_text() -> None:
    """Bytes are refused, because their encoding is unknown."""
    with pytest.raises(CommandError, match="a host list must be a str"):
        parse_hosts(b"a")  # type: ignore[arg-type]


def test_host_with_brackets_stands_for_several() -> None:
    """All hosts of a bracket have the other fields in common."""
    several = Host("gpu[1-2]", address="me@10.0.0.[11-12]", gpus=8)
    assert expand_host(several) == (
        Host("gpu1", address="me@10.0.0.11", gpus=8),
        Host("gpu2", address="me@10.0.0.12", gpus=8),
    )
    for name, address in (("gpu[1-2]", "x"), ("x", "gpu[1-2]"), ("gpu[1-2]", "x[1-3]")):
        with pytest.raises(HostListError, match="names for"):
            Host(name, address=address)
    with pytest.raises(HostListError, match="not closed"):
        Host("gpu[1-2")


# ---- files ----


def test_file_is_read_line_by_line(tmp_path: Path) -> None:
    """The reader accepts the files of mpirun and GNU parallel."""
    path = tmp_path / "hosts"
    path.write_text("# ours\na slots=8\n8/b\n\nc  # the slow one\n")
    assert read_hosts(path) == (Host("a", slots=8), Host("b", slots=8), Host("c"))


def test_error_in_a_file_names_its_line(tmp_path: Path) -> None:
    """A user finds the wrong line in a list of a thousand hosts."""
    path = tmp_path / "hosts"
    path.write_text("a\nb slots=many\n")
    with pytest.raises(HostListError, match=rf"'slots=many' .*\(line 2 of {path}\)"):
        read_hosts(path)
    path.write_text("# nothing\n")
    with pytest.raises(HostListError, match="the file names no host"):
        read_hosts(path)
    with pytest.raises(FileNotFoundError):
        read_hosts(tmp_path / "missing")


# ---- Slurm ----

JOB = {
    "SLURM_JOB_NODELIST": "n[01-02],m",
    "SLURM_TASKS_PER_NODE": "4(x2),1",
    "SLURM_JOB_CPUS_PER_NODE": "16(x2),8",
    "SLURM_CPUS_ON_NODE": "16",
    "SLURM_GPUS_ON_NODE": "2",
}


def test_slurm_job_has_hosts_with_slots_and_processors() -> None:
    """Each task of the job is a slot."""
    assert slurm_hosts(JOB) == (
        Host("n01", slots=4, cpus=16, gpus=2),
        Host("n02", slots=4, cpus=16, gpus=2),
        Host("m", slots=1, cpus=8, gpus=2),
    )


def test_slurm_job_may_say_less() -> None:
    """An amount without a variable of Slurm stays None."""
    few = {"SLURM_JOB_NODELIST": "n[1-2]", "SLURM_CPUS_ON_NODE": "16"}
    assert slurm_hosts(few) == (Host("n1", cpus=16), Host("n2", cpus=16))


@pytest.mark.parametrize(
    ("visible", "gpus"),
    [("2,3", ("2", "3")), ("GPU-a,GPU-b", ("GPU-a", "GPU-b"))]
    + [(each, ("0", "1")) for each in ("", "2", "2,3,4", "2,2")],
)
def test_gpus_on_the_node_of_the_program_are_its_visible_ones(
    visible: str, gpus: tuple[str, ...]
) -> None:
    """What the variable says of this node holds for no other node."""
    there, here, _ = slurm_hosts(JOB | {"SLURMD_NODENAME": "n02", "CUDA_VISIBLE_DEVICES": visible})
    assert (there.gpus, here.gpus) == (("0", "1"), gpus)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"SLURM_JOB_NODELIST": ""}, "does not run in a Slurm job"),
        ({"SLURM_JOB_NODELIST": "n[1-"}, "cannot read the host list 'n[1-'"),
        ({"SLURM_TASKS_PER_NODE": "4(x2)"}, "SLURM_TASKS_PER_NODE has 2 amounts for 3 hosts"),
        ({"SLURM_TASKS_PER_NODE": "many"}, "SLURM_TASKS_PER_NODE should be like 2(x3),1"),
    ],
)
def test_wrong_variables_of_slurm_are_refused(changes: dict[str, str], reason: str) -> None:
    """The error names the variable."""
    with pytest.raises(CommandError, match=re.escape(reason)):
        slurm_hosts(JOB | changes)
