"""The subcommands that talk to a running stack, as its clients.

`ask` finds the stack, and asks it; all others need that.  `ps`, `logs`, `attach` (with
`terminal_modes`), `reload` and `mcp` are each a subcommand.  `one_request` has the others,
``stop``, ``up``, ``down`` and so on.

`currant.cli._stack_group` lists them all.  None imports what runs commands, so that `currant ps`
starts at once; a test checks that.
"""
