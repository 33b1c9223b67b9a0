"""Many hosts behind one Runner: which there are, what runs where, and what if one is lost.

To read the package: `_host` describes one host, and `_transports` has the ways to hosts.
"""

from currant._remote.transport import Transport
from currant.hosts._host import LOCAL, Host
from currant.hosts._transports import ArgvConnect, Connect, argv, docker, kubectl, srun, ssh

__all__ = [
    "LOCAL",
    "ArgvConnect",
    "Connect",
    "Host",
    "Transport",
    "argv",
    "docker",
    "kubectl",
    "srun",
    "ssh",
]
