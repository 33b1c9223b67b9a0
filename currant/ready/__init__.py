"""Probes: checks of whether a command is ready, and whether it is still alive.

Pass a probe as `Command.ready`, or as `Command.alive`::

    from currant import Command, ready

    db = Command(["postgres", "-D", "data"], ready=ready.tcp("127.0.0.1", 5432))
    health = ready.http("http://127.0.0.1:8000/health")
    web = Command(["serve"], ready=health, alive=health, after="db")

`line` and `delay` happen once, so they cannot be `Command.alive`.  Paths and addresses are those of
the host where the command runs, and relative paths begin at its working directory.

`interval` and `timeout` are in seconds.  By default, `Command.ready` is checked every 0.1 s for at
most 60 s, of which a single check may take 5 s.  Once the command is ready, `Command.alive` is
checked every 5 s, and a single check may take 1 s: in `Command.alive`, `timeout` limits a single
check.

To read the package: each kind of probe has a module, and `_waiting` has what they share.  Probes of
servers also share `_arguments` and `_server`, and `_http_check` is the check of `http`.  The
modules are imported when their names are first used: most programs need one kind of probe.
"""

import typing as _typing

from currant._first_use import imported as _imported

if _typing.TYPE_CHECKING:
    from currant._values.probe import Probe
    from currant.ready._command import command
    from currant.ready._delay import delay
    from currant.ready._file import file
    from currant.ready._http import http, https
    from currant.ready._line import line
    from currant.ready._several import all_of, any_of
    from currant.ready._tcp import tcp, unix
    from currant.ready._when import when

__all__ = [
    "Probe",
    "all_of",
    "any_of",
    "command",
    "delay",
    "file",
    "http",
    "https",
    "line",
    "tcp",
    "unix",
    "when",
]

_HOMES = {
    "Probe": "currant._values.probe",
    "all_of": "currant.ready._several",
    "any_of": "currant.ready._several",
    "command": "currant.ready._command",
    "delay": "currant.ready._delay",
    "file": "currant.ready._file",
    "http": "currant.ready._http",
    "https": "currant.ready._http",
    "line": "currant.ready._line",
    "tcp": "currant.ready._tcp",
    "unix": "currant.ready._tcp",
    "when": "currant.ready._when",
}
"""The module of each name; the imports above are for type checkers alone."""


def __getattr__(name: str) -> object:
    """Import a name when it is first used."""
    return _imported(globals(), _HOMES, name)


def __dir__() -> list[str]:
    """Return the names, used or not."""
    return sorted({*globals(), *__all__})
