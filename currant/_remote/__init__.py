"""The driver: starts processes on another host, through a link to an agent there.

Read `launcher` first: `RemoteLauncher` keeps the contract of `currant._process.launcher`, through a
`connection`.  `process` represents one process on the host, with its `streams` and a `watch`, and
`peer` the agent, which accepts any silence during a `hold`.  `credit` limits how much output is
under way.  `transport` carries the bytes; `command_line` and `shipment` build the command line and
the files that start an agent.  `words` makes texts of a host safe to show.
"""
