"""Benchmarks: each file asks one question, and answers it beside a peer as a ratio.

``python -m benchmarks [--backend NAME ...] [--quick] [--json FILE] [--plot FILE] [--table FILE]
[NAME ...]`` runs them and prints one Markdown table.  A figure in seconds says as much about the
machine as about currant; a ratio to what one would pick instead, measured in turn with it, carries
over to other machines.

A question is a `Question` of trials; a trial has sides, which are run in turn, and rows, which say
what is told of them.  A side that needs an event loop is run on each, one that does not only once a
turn.  Each run of a side has a process of its own (`_worker`), so that neither the memory nor the
warm caches of one are found by the next.  What is shared is in `_measure`; `__main__` runs and
reports, with `_table`, `_plot` and `_machine`; `_guard` sees to it that no process is left behind,
whatever happens.  Needs Linux: several files read ``/proc``.
"""
