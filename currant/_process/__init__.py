"""One process on this machine, and the seam behind which processes may live elsewhere.

Read `launcher`, the seam, first.  Then `stop`, the kill path on one page, and `local`, which starts
processes: each is a `local_process` above the seam, and a `child_group` for the kill path.  `spawn`
starts a process, as a `child` or by way of the event loop; `stdio` is its standard files, `pipes`
are our ends of them, and `watch` waits for the exit and the first output at once.  `prefix` and
`handover` are what a process runs before its program, to set limits, to take sockets over and to
join a control group.  `containment` is the groups of a run.  `lookup` explains why a start fails,
`escapees` finds descendants that left their process group, and `guard` ends all commands if this
program dies; calls of `run_process` have a `shared_guard`.  `exchange` asks a server something for
a probe, with `tls` if need be.

An agent (`currant._agent`) runs these modules on other hosts, on Python 3.9 and a small stand-in
for anyio.  So they use nothing that is younger than Python 3.9, and of anyio few of its names:
`BrokenResourceError`, `CancelScope`, `ClosedResourceError`, `EndOfStream`, `Event`, `Lock`,
`create_task_group`, `current_time`, `move_on_after`, `notify_closing`, `open_process`, `sleep`,
`wait_readable`, `wait_writable`, `abc.ByteReceiveStream`, `abc.ByteSendStream`, `abc.Process`,
`lowlevel.RunVar` and `lowlevel.checkpoint`.
"""
