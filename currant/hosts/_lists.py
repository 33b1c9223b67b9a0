"""Read lists of hosts that people and schedulers write: texts, files, and the variables of Slurm.

An item of a list is a name or an address, alone or with a number of slots::

    a, b, gpu[1-4]          # names, and brackets: see `host_names`
    8/me@c                  # a user, and slots as GNU parallel writes them
    n[01-16] slots=8        # slots as mpirun writes them; cpus= and gpus= as well
    ssh://me@d:2222         # a URL
    LOCAL, :                # this machine
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from currant._values.checks import check_str
from currant._values.errors import CommandError, HostListError
from currant._values.host_names import split_items
from currant.hosts._host import HERE, LOCAL, Host, expand_host

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike

__all__ = ["parse_hosts", "read_hosts", "slurm_hosts"]


_SLOTS = re.compile(r"([0-9]+)/(.+)")

_ADDRESS = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+]*://)?(?:[^@/]+@)?(?P<name>\[[^]]*:[^]]*\]|[^/]*?)"
    r"(?P<port>:[0-9]+)?(?P<path>/.*)?"
)
"""A name, with a user or not, or a URL; the name in a URL may be an IPv6 address in brackets."""

_OPTIONS = ("slots", "cpus", "gpus")

_TIMES = re.compile(r"([0-9]+)(?:\(x([0-9]+)\))?")


def parse_hosts(text: str) -> tuple[Host, ...]:
    """Return the hosts of a list; an item with brackets becomes several hosts.

    Args:
        text: items with commas, spaces or line ends between them; ``#`` begins a comment.

    Raises:
        HostListError: an item does not describe a host.
    """
    check_str("a host list", text)
    return tuple(host for line in text.splitlines() for host in _parse_line(line))


def read_hosts(path: str | PathLike[str]) -> tuple[Host, ...]:
    """Return the hosts of the list in a file.

    Raises:
        HostListError: an item does not describe a host, or the file has no item.
        OSError: the file cannot be read.
    """
    found: list[Host] = []
    with open(path, encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            try:
                found += _parse_line(line)
            except HostListError as error:
                reason = f"{error.reason} (line {number} of {os.fspath(path)})"
                raise HostListError(error.text, reason) from None
    if not found:
        raise HostListError(os.fspath(path), "the file names no host")
    return tuple(found)


def slurm_hosts(environ: Mapping[str, str]) -> tuple[Host, ...]:
    """Return the hosts of a Slurm job: its tasks on a host are the slots of the host.

    Args:
        environ: the variables of a process of the job.

    Raises:
        CommandError: the variables belong to no job.
        HostListError: a variable does not have the form that Slurm writes.
    """
    if not (names := environ.get("SLURM_JOB_NODELIST")):
        raise CommandError(
            "this program does not run in a Slurm job: SLURM_JOB_NODELIST is not set; start it "
            "with sbatch or salloc"
        )
    hosts = parse_hosts(names)
    slots = _amounts(environ, "SLURM_TASKS_PER_NODE", len(hosts))
    processors = "SLURM_JOB_CPUS_PER_NODE"
    if processors not in environ:
        processors = "SLURM_CPUS_ON_NODE"  # Of this node; the nodes of a job are mostly alike.
    cpus = _amounts(environ, processors, len(hosts))
    gpus = environ.get("SLURM_GPUS_ON_NODE", "")
    count = int(gpus) if gpus.isdecimal() else 0
    return tuple(
        Host(host.name, slots=slots[i], cpus=cpus[i], gpus=_gpus_on(host.name, count, environ))
        for i, host in enumerate(hosts)
    )


def _gpus_on(name: str, count: int, environ: Mapping[str, str]) -> int | list[str]:
    """Return the ids of the GPUs on a node if they are known: on the node of this program.

    Where Slurm does not hide the GPUs of other jobs, only this variable tells them apart.
    """
    ids = [each for each in environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if each]
    is_here = name == environ.get("SLURMD_NODENAME")
    return ids if is_here and len({*ids}) == len(ids) == count else count


def _parse_line(line: str) -> list[Host]:
    text = line.partition("#")[0].strip()
    words = [word for part in split_items(text) for word in part.split()]
    names = [word for word in words if "=" not in word]
    options = _parse_options(text, [word for word in words if "=" in word])
    if options and len(names) != 1:
        raise HostListError(text, "an option such as slots=8 needs a line with one name")
    return [host for name in names for host in _parse_item(name, options)]


def _parse_options(text: str, words: list[str]) -> dict[str, int]:
    options: dict[str, int] = {}
    for word in words:
        name, _, value = word.partition("=")
        if name not in _OPTIONS or not (value.isdecimal() and value.isascii()):
            raise HostListError(
                text, f"{word!r} is no option; there are slots=N, cpus=N and gpus=N"
            )
        if name in options:
            raise HostListError(text, f"{name} is given twice")
        options[name] = int(value)
    return options


def _parse_item(item: str, options: Mapping[str, int]) -> tuple[Host, ...]:
    given: dict[str, Any] = {**options}
    address = item
    if match := _SLOTS.fullmatch(item):
        if "slots" in options:
            raise HostListError(item, "its slots are given twice")
        given["slots"], address = int(match[1]), match[2]
    if address == "LOCAL":
        address = HERE
    name = _name_in(address)
    if address != name:
        given["address"] = address
    try:
        return expand_host(Host(name, **given))
    except HostListError:
        raise
    except CommandError as error:
        raise HostListError(item, str(error)) from error


def _name_in(address: str) -> str:
    """Return the name of the host in an address, without user, port and path."""
    if address == HERE:
        return LOCAL.name
    match = _ADDRESS.fullmatch(address)
    if match is None or not match["name"]:
        raise HostListError(address, "there is no name in it")
    if match["scheme"] is None and match["port"] and match["name"].count(":") == 0:
        raise HostListError(
            address,
            f"it is open what {match['port']!r} means; write ssh://{address} for a port, and "
            f"{match['port'][1:]}/{match['name']} for slots",
        )
    if match["scheme"] is None:
        return address.rpartition("@")[2]
    name = match["name"]
    return name[1:-1] if name.startswith("[") and ":" in name else name


def _amounts(environ: Mapping[str, str], variable: str, count: int) -> list[int | None]:
    """Return the amounts in a variable such as ``2(x3),1``: one for each host, None if not set."""
    if not (text := environ.get(variable)):
        return [None] * count
    amounts: list[int | None] = []
    for part in text.split(","):
        if (match := _TIMES.fullmatch(part)) is None:
            raise HostListError(text, f"{variable} should be like 2(x3),1")
        amounts += [int(match[1])] * int(match[2] or 1)
    if len(amounts) == 1:
        amounts *= count
    if len(amounts) != count:
        raise HostListError(text, f"{variable} has {len(amounts)} amounts for {count} hosts")
    return amounts
