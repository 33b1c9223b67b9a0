"""Many commands: the public `Runner` and `Job`, and what runs below them.

Read `runner` first, then `job` and `attempt`; `health` asks the probes, and `conditions` waits for
other commands.
"""
