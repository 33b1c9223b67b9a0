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
"""

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
