"""Values: what to run, what happened, and the decisions that depend on nothing else.

Nothing here imports anyio, reads a clock or looks at the system.  Read `command` and `messages`
first; `lines` cuts bytes into lines, `restart` decides what follows an exit, and `names`,
`policies` and `dependencies` are what a Runner is planned from.  `errors` and `checks` are below
all of them.
"""
