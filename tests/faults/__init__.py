"""The fault matrix: does a process tree survive, for each kind of tree and each event?

``python -m tests.faults`` runs one cell for each combination of a kind of command (`kinds`), an
event (`cell`) and a tool that runs commands (`tools`).  A cell starts the tool with that command
and a second one, waits until both are up, causes the event, and then searches for leftover
processes (`marked`).  The matrix does not use currant itself: currant is only one of the tools.
"""
