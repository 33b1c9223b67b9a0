"""`Host`: the description of a machine that can run commands, checked when it is built.

Pure: building a `Host` connects to nothing, and looks nothing up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from inspect import Parameter, signature
from typing import NamedTuple, cast

from currant._values.checks import (
    StrOrPath,
    check_count,
    check_encodable,
    checked_path,
    naming,
)
from currant._values.errors import CommandError, HostListError
from currant._values.host_names import expand, split_items
from currant._values.resources import NO_RESOURCES, checked_resources
from currant._values.variables import NO_VARIABLES, checked_env

__all__ = ["HERE", "LOCAL", "Host", "HostInfo", "expand_host"]


HERE = ":"
"""The address of this machine, which needs no connection; GNU parallel uses the same sign."""

OWN_FIELDS = ("slots", "cpus", "gpus")
"""The resources of a host that have a field of their own."""


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Host:
    """A machine that can run commands, and how many slots, processors, GPUs and so on it has.

    A host is frozen, compares by its fields and can be pickled.  currant counts these amounts, so
    that a host gets no more commands than fit.  It does not keep a command from using more.

    Attributes:
        name: the name of the host in messages, results and `Command.host`.  A name with brackets,
            such as ``gpu[1-4]``, stands for several hosts that are all alike.
        address: the address to connect to; None: the name.  For ssh: a name, ``user@name`` or a URL
            such as ``ssh://user@name:2222``; the other ways have addresses of their own.  ``":"``
            is this machine, without a connection.  If the name has brackets, the address must have
            brackets for the same number of hosts.
        python: the Python that runs currant's agent on the host, 3.9 or newer: a name or a path;
            None: currant looks for one.
        slots: how many commands may run on the host at a time; None: as `Hosts` says.
        cpus: how many processors the commands may ask for; None: as many as the host has.
        gpus: the GPUs that the commands may ask for: a number, or a sequence of ids.  The field is
            a tuple of ids: ``("0", "1")`` for 2.  A command gets the ids of its own GPUs in
            CUDA_VISIBLE_DEVICES.
        resources: amounts of anything else that commands may ask for, by name, such as
            ``{"licenses": 2}``.
        env: variables of all commands on the host; variables of a command come first.
        cwd: the working directory of commands that have none; a relative `Command.cwd` starts in
            this directory.  None: the directory in which the agent starts, such as the home
            directory.

    Raises:
        CommandError: an argument is invalid.
        HostListError: a `CommandError`: the brackets of the name or the address are invalid.
    """

    name: str
    address: str | None
    python: str | None
    slots: int | None
    cpus: int | None
    gpus: tuple[str, ...]
    resources: Mapping[str, int]
    env: Mapping[str, str]
    cwd: str | None

    # Written by hand, because the parameters accept wider types than the fields have.
    def __init__(
        self,
        name: str,
        *,
        address: str | None = None,
        python: StrOrPath | None = None,
        slots: int | None = None,
        cpus: int | None = None,
        gpus: int | Sequence[str] = 0,
        resources: Mapping[str, int] = NO_RESOURCES,
        env: Mapping[str, str] = NO_VARIABLES,
        cwd: StrOrPath | None = None,
    ) -> None:
        _check_name(name)
        with naming(name, "host"):
            if address is not None:
                _check_word("address", address)
            for what, amount in (("slots", slots), ("cpus", cpus)):
                if amount is not None:
                    check_count(what, amount)
            values = {
                "name": name,
                "address": address,
                "python": None if python is None else _checked_program(python),
                "slots": slots,
                "cpus": cpus,
                "gpus": _checked_gpus(gpus),
                "resources": _checked_others(resources),
                "env": checked_env(env),
                "cwd": None if cwd is None else checked_path("cwd", cwd),
            }
        for field, value in values.items():
            object.__setattr__(self, field, value)
        expand_host(self)

    @property
    def is_local(self) -> bool:
        """Whether the host is this machine, which needs no connection."""
        return self.address == HERE

    def __str__(self) -> str:
        """Return the host in the form of host lists, such as ``8/user@name``."""
        address = self.address or self.name
        return address if self.slots is None else f"{self.slots}/{address}"

    def __repr__(self) -> str:
        shown = [repr(self.name)]
        for name, default in _DEFAULTS.items():
            value = getattr(self, name)
            # Variables may be secrets, and a repr ends up in logs.
            if name == "env":
                shown += [f"env={sorted(value)}"] if value else []
            elif name == "gpus":
                shown += [f"gpus={_shown_gpus(value)!r}"] if value else []
            elif value != default:
                shown.append(f"{name}={dict(value) if name == 'resources' else value!r}")
        return f"Host({', '.join(shown)})"

    def __hash__(self) -> int:
        return hash((self.name, self.address))

    def __reduce__(self) -> tuple[partial[Host], tuple[()]]:
        values = {spec.name: getattr(self, spec.name) for spec in fields(self)}
        plain = {name: dict(values[name]) for name in ("resources", "env")}
        return partial(type(self), **values | plain), ()


_DEFAULTS: Mapping[str, object] = {
    parameter.name: parameter.default
    for parameter in signature(Host).parameters.values()
    if parameter.default is not Parameter.empty
}
"""The default of each parameter of `Host`, by name."""


class HostInfo(NamedTuple):
    """What is known about a host that is up.

    Attributes:
        name: the name of the host.
        pid: the pid of the agent there, or of this program if the host is this machine.
        python: the version of the Python of that process, such as ``"3.11.2"``.
        cpus: how many processors the host has.
        running: how many commands have a place on the host.
    """

    name: str
    pid: int
    python: str
    cpus: int
    running: int


def expand_host(host: Host) -> tuple[Host, ...]:
    """Return the hosts for which a host with brackets stands; a host without brackets alone.

    Raises:
        HostListError: the brackets of the name or the address are invalid, or stand for different
            numbers of hosts.
    """
    if not _BRACKETS.intersection(host.name + (host.address or "")):
        return (host,)
    names = expand(host.name)
    addresses = [None] * len(names) if host.address is None else expand(host.address)
    if len(names) != len(addresses):
        raise HostListError(
            str(host.address),
            f"{host.name!r} has {len(names)} names for {len(addresses)} addresses",
        )
    if names == [host.name] and addresses == [host.address]:
        return (host,)
    return tuple(
        replace(host, name=name, address=address)
        for name, address in zip(names, addresses, strict=True)
    )


_BRACKETS = frozenset("[]")


def _check_name(name: object) -> None:
    _check_word("the name of a host", name)
    text = cast("str", name)
    if wrong := next((sign for sign in "@/=" if sign in text), None):
        hint = "; the user belongs into the address" if wrong == "@" else ""
        raise CommandError(f"the name of a host must not contain {wrong!r}: {text!r}{hint}")
    if len(split_items(text)) != 1:
        raise CommandError(
            f"the name of a host must not contain ',': {text!r}; build a Host for each name"
        )


def _check_word(what: str, word: object) -> None:
    """Check that `word` can be an argument of ssh, and that ssh cannot read it as an option."""
    if not isinstance(word, str) or not word:
        raise CommandError(f"{what} must be a non-empty str, not {word!r}")
    check_encodable(what, word)
    if word.startswith("-") or not word.isprintable() or " " in word:
        raise CommandError(
            f"{what} must be one word of printable characters that does not begin with '-', "
            f"not {word!r}"
        )


def _checked_program(python: object) -> str:
    if not (program := checked_path("python", python)):
        raise CommandError("python must be the name or the path of a program, not ''")
    return program


def _checked_gpus(gpus: object) -> tuple[str, ...]:
    if isinstance(gpus, int) and not isinstance(gpus, bool) and gpus >= 0:
        return tuple(map(str, range(gpus)))
    if isinstance(gpus, (str, bytes)) or not isinstance(gpus, Iterable):
        raise CommandError(f"gpus must be an integer >= 0 or a sequence of ids, not {gpus!r}")
    ids = tuple(cast("Iterable[object]", gpus))
    words = [each for each in ids if isinstance(each, str) and each and "," not in each]
    if len(words) < len(ids) or len({*words}) < len(ids):
        raise CommandError(f"gpus must be different, non-empty ids without commas, not {gpus!r}")
    return tuple(words)


def _shown_gpus(ids: tuple[str, ...]) -> int | tuple[str, ...]:
    return len(ids) if ids == tuple(map(str, range(len(ids)))) else ids


def _checked_others(resources: object) -> Mapping[str, int]:
    given = checked_resources(resources)
    if own := next((name for name in OWN_FIELDS if name in given), None):
        raise CommandError(f"resources must not contain {own!r}: Host({own}=...) says that")
    return given


LOCAL = Host("local", address=HERE)
"""This machine, as a host among others: ``Hosts([LOCAL, "a", "b"])``."""
