"""The agent: a program on another host that runs currant's own launcher for a driver.

A driver (`currant._remote`) sends this package, `currant._process` and the modules that both import
to a Python on the host.  Nothing is installed or written there.

Read `frames` first, the format on the wire, then `server`, which starts processes for the driver,
`hosted`, which serves one process, and `questions`, which answers what the driver asks about one.
`link` carries the frames at both ends, and `spec` encodes commands and exits as JSON.  On the host,
`bootstrap` runs first, `importer` imports the other modules from memory, `loop` takes the place of
anyio, and `main` runs the server.

All modules that run on the host work on Python 3.9.
"""
