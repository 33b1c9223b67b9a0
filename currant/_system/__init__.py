"""The kernel, through the standard library alone: process groups, ``/proc``, terminals, files.

This package is the only home of `os.killpg`, ``/proc``, pidfds and `sys.platform`.  Each module can
be read alone.  Read `groups` first, which decides when a process group is empty.  `proc` reads the
state of processes from ``/proc``, `listeners` finds the process that owns a TCP port, and `marks`
is the environment variable that every process carries.  `cgroup` is the control groups of Linux.
`session_usage` adds up what the processes of a session use, and `peers` knows the user behind a
socket.  `dispositions` is the signal mask and the
ignored signals of a new process, and `forks` keeps our descriptors out of forks of this program.
`foreground` says which process group has the terminal of this program.  `terminal` and `files` wrap
a few system calls.
"""
