"""`RemoteWatch`: one wait for the exit of a process on another host, and for its first output.

It stands for the same as `currant._process.watch.Watch`, and spares a task for each stream.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from currant._process.launcher import Activity

if TYPE_CHECKING:
    from collections.abc import Mapping

    import anyio

    from currant._remote.streams import RemoteOutput
    from currant._synchronization import Notifier
    from currant._values.lines import StreamName

__all__ = ["RemoteWatch"]


class RemoteWatch:
    """Watches a process until its exit, and each of its streams until the first output.

    Args:
        exited: is set at the exit of the process, or when its host is lost.
        streams: the streams, by name.
        change: is notified when one of them has output, or has ended, and at the exit.
    """

    def __init__(
        self, exited: anyio.Event, streams: Mapping[StreamName, RemoteOutput], change: Notifier
    ) -> None:
        self._exited = exited
        self._streams: dict[StreamName, RemoteOutput] = dict(streams)
        self._change = change

    async def next(self) -> Activity:
        """Return what has happened; see `ProcessWatch.next`.

        Not a checkpoint if something has happened already.
        """
        while True:
            begun: list[StreamName] = []
            ended: list[StreamName] = []
            for name, stream in list(self._streams.items()):
                if stream.has_begun or stream.is_over:
                    (begun if stream.has_begun else ended).append(name)
                    del self._streams[name]
            if begun or ended or self._exited.is_set():
                return Activity(self._exited.is_set(), tuple(begun), tuple(ended))
            await self._change.wait()
