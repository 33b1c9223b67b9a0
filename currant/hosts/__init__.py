"""Many hosts behind one Runner: which there are, what runs where, and what if one is lost.

To read the package: `_host` describes one host, `_lists` how people write many, and `_transports`
and `_dask` the ways to them.  `_hosts` is the launcher.  It has a `_pool` with a `_member` for each
host, which takes `_turns` to connect, and asks `_placement`, which is pure, who runs where;
`_places` waits for the answer.  `_fence` keeps a lost command from running twice, `_spec` says what
a host is told to start, `_process` gives places back, and `_check` looks up programs.
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
