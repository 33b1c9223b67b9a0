"""The driver's side of the link to an agent: processes on another host, behind the same seam.

Read `launcher` first: `RemoteLauncher` fulfils the contract of `currant._process.launcher` through
a `connection`.  `process` stands for one process over there.  `credit` decides how much output may
be under way.  `transport` is what carries the bytes, and `shipment` what is sent to the host first.
"""
