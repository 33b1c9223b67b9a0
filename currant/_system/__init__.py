"""The kernel, with the standard library alone: process groups, ``/proc``, terminals, files.

The only home of `os.killpg`, ``/proc``, pidfds and `sys.platform`.  Read `groups` first: it says
when a process group is empty.  `proc` reads what it needs for that, `listeners` finds the process
that has a port, `marks` is the variable that each process carries, and `terminal` and `files` wrap
a few system calls.
"""
