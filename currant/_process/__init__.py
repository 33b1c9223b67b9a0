"""One process on this machine, and the seam behind which processes may live elsewhere.

Read `launcher` first: it is the seam.  Then `stop`, the kill path on one page, and `local`, which
starts processes with `child` and `pipes`.  `lookup` explains why a start fails, `escapees` finds
descendants that left their process group, and `guard` ends all if this program dies.
"""
