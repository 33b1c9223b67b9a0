"""A program that runs a cluster of Dask on this machine, until SIGTERM.

Usage: ``python dask_cluster.py PORT WORKERS``: the port of the scheduler, and the count of workers,
each a process of its own.
"""

from __future__ import annotations

import signal
import sys

from distributed import LocalCluster


def main() -> None:
    """Run the cluster, and say so as a server of ssh does."""
    port, workers = map(int, sys.argv[1:])
    with LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        scheduler_port=port,
        dashboard_address=None,
        silence_logs=50,
    ):
        print("Server listening", file=sys.stderr, flush=True)  # noqa: T201 - the keeper waits for it
        signal.pause()


if __name__ == "__main__":  # Each worker imports this file again.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    main()
