"""A program that runs a Slurm cluster of two nodes on this machine, until SIGTERM.

Usage: ``python slurm_cluster.py FOLDER PORT``: an empty folder, and the first of three free ports.
The nodes are called s1 and s2.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthInfo=socket={folder}/munge.sock
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/controller.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldPort={port}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SchedulerType=sched/builtin
MpiDefault=none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
NodeName=s1 NodeHostname={host} NodeAddr=127.0.0.1 Port={first} CPUs=1
NodeName=s2 NodeHostname={host} NodeAddr=127.0.0.1 Port={second} CPUs=1
PartitionName=p Nodes=s1,s2 Default=YES MaxTime=INFINITE State=UP
"""

LIMIT = 60
"""Seconds until the nodes must have run something."""


def main() -> None:
    """Run the cluster, and say so as a server of ssh does."""
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    host = socket.gethostname().partition(".")[0]
    config = CONFIG.format(folder=folder, host=host, port=port, first=port + 1, second=port + 2)
    (folder / "slurm.conf").write_text(config)
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o600)
    munge = {"key-file": "munge.key", "socket": "munge.sock", "pid-file": "munge.pid"}
    munge |= {"log-file": "munge.log", "seed-file": "munge.seed"}
    options = [f"--{name}={folder}/{file}" for name, file in munge.items()]
    servers = [start("munged", "--foreground", "--force", *options)]
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    servers += [start("slurmctld", "-D"), start("slurmd", "-D", "-N", "s1")]
    servers += [start("slurmd", "-D", "-N", "s2")]
    try:
        with suppress(subprocess.TimeoutExpired):
            subprocess.run(["srun", "-Q", "-N2", "true"], check=True, timeout=LIMIT)
            print("Server listening", file=sys.stderr, flush=True)  # noqa: T201 - to the keeper
            signal.pause()
    finally:
        for server in reversed(servers):
            server.terminate()
            server.wait()


def start(*argv: str) -> subprocess.Popen[bytes]:
    """Start a server, which says nothing."""
    null = subprocess.DEVNULL
    return subprocess.Popen(argv, stdin=null, stdout=null, stderr=null)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    main()
