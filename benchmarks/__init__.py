"""Benchmarks: each file asks one question, and answers it beside a peer as a ratio.

``python -m benchmarks [--backend NAME ...] [--quick] [--json FILE] [NAME ...]`` runs them and
prints one Markdown table.  A figure in seconds says as much about the machine as about currant; a
ratio to what one would write by hand, measured in turn with it, carries over to other machines.

A question (`by_line`, `by_batch`, `idle`, `stop`) is a `Question` of one or more sides.  Each run
of a side has a process of its own (`_worker`), so that neither the memory nor the warm caches of
one are found by the next.  What is shared is in `_measure`; `__main__` runs and prints; `_guard`
sees to it that no process is left behind, whatever happens.  Needs Linux: two files read ``/proc``.
"""
