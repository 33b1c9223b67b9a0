"""A Runner for synchronous code, and for code that cannot enter and leave a block in one task.

Each `Runner` here drives a `currant.Runner` in an event loop in a thread of its own::

    from currant import blocking

    with blocking.Runner({"count": ["seq", "3"]}) as runner:
        result = runner["count"].wait()
    print(result.exit)  # exit code 0

To read the package: `_caller` makes the calls of one thread in the event loop, `_callers` those of
all threads, and a thread waits by `_waiting`; `_background` starts the event loop; `_runner` has
the block, `_commands` prepares the commands, and `_job` is one of them.
"""

from currant.blocking._job import Job
from currant.blocking._runner import Runner

__all__ = ["Job", "Runner"]
