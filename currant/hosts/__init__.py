"""Many hosts behind one Runner: which there are, what runs where, and what if one is lost.

To read the package: `_host` describes one host.
"""

from currant.hosts._host import LOCAL, Host

__all__ = ["LOCAL", "Host"]
