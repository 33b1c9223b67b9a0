"""The fault matrix: what is left of a tree of processes, whatever the tree and whatever happens.

``python -m tests.faults`` runs one cell for each kind of command (`kinds`), event (`cell`) and
tool that runs commands (`tools`).  A cell starts the tool with that command and one more, waits
until all of it is up, causes the event, and looks for processes that are left (`marked`).  It
relies on nothing of currant's: currant is only one of the programs that it starts.
"""
