"""The agent: currant's own launcher on another host, behind frames.

A driver (`currant._remote`) sends this package, `currant._process` and what both import to a Python
on the host, where nothing is installed or written.  Read `frames` first, the format on the wire,
then `server`, which answers the driver, and `hosted`, one process there.  `link` carries the frames
at both ends, and `spec` writes commands and exits as JSON.  `loop` is what takes the place of anyio
on the host, `bootstrap` and `importer` are what runs there first, and `main` runs the server.

Everything that runs on the host works on Python 3.9.
"""
