"""Run the commands of one Runner on many hosts: choose a host for each, and survive lost hosts.

Begin with the values: `_host` describes one host, `_lists` reads lists of hosts, `_settings` holds
the options of all hosts, and `_transports` and `_dask` are the ways to hosts.

`_hosts` is the launcher.  While it is entered, it has a `_pool` with one `_member` for each host.
The members take `_turns` to connect; in a worker of Dask, `_dask_actor` runs the agent.
`_placement` decides which command runs on which host, and is pure; `_places` lets tasks wait for
its decisions.  `_avoided` and `_unswept` remember on which hosts a command must not run again, and
on which it may have left escapees.

The rest are single steps: `_check` looks up programs before anything starts, `_spec` adds variables
and the working directory of a host to a command, `_process` gives a place back at the end of a
process, `_fence` keeps a lost command from running twice, and `_each` copies a command to all
hosts.
"""

from currant._remote.transport import Transport
from currant.hosts._dask import DaskConnect, dask
from currant.hosts._each import on_each
from currant.hosts._host import LOCAL, Host, HostInfo
from currant.hosts._hosts import Hosts
from currant.hosts._transports import ArgvConnect, Connect, argv, docker, kubectl, srun, ssh

__all__ = [
    "LOCAL",
    "ArgvConnect",
    "Connect",
    "DaskConnect",
    "Host",
    "HostInfo",
    "Hosts",
    "Transport",
    "argv",
    "dask",
    "docker",
    "kubectl",
    "on_each",
    "srun",
    "ssh",
]
