"""Many commands: the public `Runner` and `Job`, and what runs below them.

Read `runner` and `supervisor` first: what a block holds, and in which order it ends.  Then follow
one command: `dispatcher` (with `scheduler` and `conditions`) lets it begin, `lifecycle` is its life
and `job` its public handle, `attempt` is one run of its process.  `health` runs the probes,
`verdict` says how an attempt ended, `readiness` what may still be waited for.  `sweep`,
`sink_tasks` and `failure` are what the supervisor ends with; `context` is what is handed down.
"""
