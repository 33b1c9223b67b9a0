"""`currant.map`: one command for each of many items.

Read the modules in this order: `map` is the public door.  `rows` are the values of an item, and
`template` turns them into a command: `placeholders` and `words` for arguments, `quoting` and
`script` for a shell; `makers` choose among these and a function of the caller.  `items` takes the
items from the caller, `work` runs the commands, and `outbox` holds the results until the caller
takes them.  `tee` passes messages on twice, `halt` decides when failures end the work, and
`background` starts a task that belongs to no block of the caller.
"""
