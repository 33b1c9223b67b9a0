"""The kernel, through the standard library: process groups, ``/proc``, terminals, files.

This package is the only home of `os.killpg`, ``/proc``, pidfds and `sys.platform`.  Each module can
be read alone.  Read `groups` first, which decides when a process group is empty.  `proc` reads the
state of processes from ``/proc``, `listeners` finds the process that owns a TCP port, and `marks`
is the environment variable that every process carries.  `cgroup` is the control groups of Linux.

What a new process inherits or is given: `dispositions` is the signal mask and the ignored signals,
`rlimits` the limits and the niceness, and `accounts` the user and the groups.  `forks` keeps our
descriptors out of forks of this program.

What a process has used: `usage` is what a reaped process reports, and `session_usage` adds up the
processes of a session.  `identity` tells a process apart from all others, `peers` knows the user
behind a socket, and `foreground` says which process group has the terminal of this program.
`terminal`, `files`, `file_states`, `free_port` and `processors` wrap a few system calls.
"""
