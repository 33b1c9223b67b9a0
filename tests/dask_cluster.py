"""A program that runs a cluster of Dask on this machine, until SIGTERM.

Usage: ``python dask_cluster.py PORT WORKERS [PEM]``: the port of the scheduler, and the count of
workers, each a process of its own.  PEM makes it a cluster with TLS: a file with a key and its
certificates, which is beside ``ca.pem``.
"""

from __future__ import annotations

import os
import signal
import sys

from distributed import LocalCluster, Security

PARTS = ("scheduler", "worker", "client")


def main() -> None:
    """Run the cluster, and say so as a server of ssh does."""
    port, workers = map(int, sys.argv[1:3])
    with LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        scheduler_port=port,
        dashboard_address=None,  # pyright: ignore[reportArgumentType] - it means that there is none
        silence_logs=50,
        security=secured_by(*sys.argv[3:]),
    ):
        print("Server listening", file=sys.stderr, flush=True)  # noqa: T201 - the keeper waits for it
        signal.pause()


def secured_by(pem: str = "") -> Security | None:
    """Return the certificates of all parts of the cluster; None if it has no TLS."""
    if not pem:
        return None
    authority = os.path.join(os.path.dirname(pem), "ca.pem")
    files = {f"tls_{part}_{kind}": pem for part in PARTS for kind in ("cert", "key")}
    return Security(require_encryption=True, tls_ca_file=authority, **files)


if __name__ == "__main__":  # Each worker imports this file again.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    main()
