"""Benchmarks: each file asks one question, and answers it as a ratio to a peer.

Usage: ``python -m benchmarks [--backend NAME ...] [--quick] [--json FILE] [--plot FILE] [--table
FILE] [NAME ...]``.  The program runs the questions and prints one Markdown table.  A figure in
seconds describes the machine as much as currant.  A ratio to a tool that a user might choose
instead, measured in turn with that tool, holds on other machines too.

A `Question` consists of trials.  A trial has sides, which run in turn, and rows, which say what to
report.  A side that needs an event loop runs on each loop, any other side once per turn.  Each run
of a side is a separate process (`_worker`), so no run finds the memory or the warm caches of
another.  `_measure` holds the shared types; `__main__` runs and reports, with `_table`, `_plot` and
`_machine`; `_guard` makes sure that no process is left behind, however the benchmarks end.  Linux
only: several files read ``/proc``.
"""
