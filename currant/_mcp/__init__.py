"""``currant mcp``: a running stack as tools for an agent, over MCP.

To read the package: `_tools` is what the tools do, on top of `currant.stack.StackClient`.
`_answers` is the text and the values of an answer, and `_excerpt` limits output to what a model can
read.  `_server` declares the tools for the package mcp, of which both major versions work.

The packages mcp and pydantic come with the extra ``mcp``.
"""
