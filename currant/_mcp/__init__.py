"""``currant mcp``: a running stack as tools for an agent, over MCP.

Read in this order:

1. `_tools` has the tools, on top of `currant.stack.StackClient`.
2. `_answers` makes the text and the values of an answer, and `_excerpt` limits output to the size
   that a model can read.  `_line_search` decides which lines of the history count.
3. `_server` declares the tools for the package mcp, of which both major versions work.

The packages mcp and pydantic come with the extra ``mcp``.
"""
