"""The work of one command: count random points in a circle.  python3 pi.py SEED POINTS."""

import os
import random
import sys

if os.environ["CURRANT_HOST"] == os.environ.get("BAD_HOST"):
    sys.exit("this host is broken")
seed, points = map(int, sys.argv[1:])
generator = random.Random(seed)
print(sum(generator.random() ** 2 + generator.random() ** 2 < 1 for _ in range(points)))
