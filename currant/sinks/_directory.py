"""`DirectorySink`: the output of each command, in a file of its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args
from unicodedata import normalize

from currant._values.checks import check_choice, check_count, checked_path
from currant._values.file_name import as_file_name, as_folder_name
from currant._values.host_names import without_host
from currant._values.lines import Batch
from currant._values.messages import Exited, Started
from currant.sinks._control import SequenceFilter
from currant.sinks._log_file import LogFile, OnError
from currant.sinks._threaded import ThreadedSink

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from currant._values.command import Command
    from currant._values.lines import StreamName
    from currant._values.messages import BatchMessage

__all__ = ["DirectorySink"]

MAX_STEM = 230
"""Bytes of a name before the suffix: a file name has at most 255, and rotation adds a number."""


MAX_FORGOTTEN = 1000
"""How many logs of commands that a Runner has forgotten are remembered here."""


class DirectorySink(ThreadedSink):
    """Appends the output of each command, byte for byte, to ``NAME.log`` in a directory.

    Keep at most 40 MB of logs for each command::

        import currant
        from currant.sinks import DirectorySink

        sink = DirectorySink("logs", max_bytes=10_000_000, backups=3)
        currant.run({"web": "echo hello"}, sinks=[sink])  # in logs/web.log

    A file exists from the start of the command on.  The sink opens the file for each write, so a
    silent command costs no descriptor, and other programs may move the file away.  In the name of a
    file, ``/``, ``%`` and NUL are escaped as in a URL.  A name that is too long is shortened,
    and a hash of the whole name is appended.

    With ``on_error="warn"``, commands go on if a file cannot be written: the disk is full, or the
    directory is gone.  A `SinkWarning` names the file.  The sink tries again with the next output.
    At the end, another warning says how many bytes the file lacks.  A file that cannot be rotated
    grows beyond `max_bytes`.

    Args:
        path: the directory, which is created if necessary.
        max_bytes: the size at which a file is rotated: renamed to ``NAME.log.1``, and older files
            to ``.2`` and so on.  Lines are not cut, so a long line may exceed the size.  None: no
            limit.
        backups: how many rotated files are kept for each command; the oldest file is deleted.
        stderr: ``"stdout"``: in the same file, in the order in which the output was read;
            ``"separate"``: in ``NAME.err.log``.
        on_error: ``"raise"``: an error stops all commands and leaves the block; ``"warn"``: see
            above.
        plain: whether escape sequences, such as colours, are left out of the files.
        by_host: whether a command that runs on another machine has its file in a folder named after
            that: ``HOST/NAME.log``.  The ``@HOST`` that `currant.hosts.on_each` adds to a name is
            left out then.  A command that starts again elsewhere gets another file.

    Raises:
        ValueError: when built: an option is invalid.
        OSError: with ``on_error="raise"``: the directory or a file cannot be created or written
            to; the error names the file.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        max_bytes: int | None = None,
        backups: int = 0,
        *,
        stderr: Literal["stdout", "separate"] = "stdout",
        on_error: OnError = "raise",
        plain: bool = False,
        by_host: bool = False,
    ) -> None:
        super().__init__()
        folder = checked_path("path", path)
        if max_bytes is not None:
            check_count("max_bytes", max_bytes)
        if backups != 0:
            check_count("backups", backups)
        check_choice("stderr", stderr, ("stdout", "separate"))
        check_choice("on_error", on_error, get_args(OnError))
        self._folder = Path(folder)
        self._max_bytes = max_bytes
        self._backups = backups
        self._separate = stderr == "separate"
        self._on_error: OnError = on_error
        self._by_host = by_host
        self._hosts: dict[str, str] = {}  # of the commands that run elsewhere
        self._logs: dict[tuple[str, str, str], LogFile] = {}  # by command, host and kind of file
        self._most = MAX_FORGOTTEN  # logs, before some are forgotten
        # The command and the path of the first file of each name, in lower case.
        self._names: dict[str, tuple[str, Path]] = {}
        self._filters: dict[tuple[str, StreamName], SequenceFilter] | None = {} if plain else None

    def _handle(
        self,
        backlog: Sequence[BatchMessage],
        commands: Mapping[str, Command],
    ) -> None:
        if not backlog:
            self._create_folder()
        parts: dict[LogFile, list[bytes]] = {}
        for message in backlog:
            match message:
                case Started():
                    self._note_host(message)
                    for stream in ("stdout", "stderr"):
                        parts.setdefault(self._log(message.command, stream), [])
                case Batch():
                    log = self._log(message.command, message.stream)
                    parts.setdefault(log, []).append(self._shown(message))
                case Exited():  # A sequence ends with its attempt, and the next names its host.
                    self._hosts.pop(message.command, None)
                    if self._filters is not None:
                        self._filters.pop((message.command, "stdout"), None)
                        self._filters.pop((message.command, "stderr"), None)
                case _:
                    pass
        for log, data in parts.items():
            log.add(b"".join(data))
        if len(self._logs) > self._most:  # A Runner may forget commands, and so does a map.
            self._forget_others(commands)
            self._most = 2 * len(self._logs) + MAX_FORGOTTEN

    def _forget_others(self, commands: Mapping[str, Command]) -> None:
        """Forget all but `commands`; the file of a command that starts again is opened again."""
        for key in [key for key in self._logs if key[0] not in commands]:
            self._logs.pop(key).warn_of_loss()
        self._names = {key: each for key, each in self._names.items() if each[0] in commands}

    def _finish(self) -> None:
        logs = list(self._logs.values())
        self._logs.clear()
        self._names.clear()
        self._hosts.clear()
        for log in logs:
            log.warn_of_loss()

    def _create_folder(self) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            if self._on_error == "raise":
                raise
            # Each file warns of its own loss.

    def _shown(self, batch: Batch) -> bytes:
        if self._filters is None:
            return batch.data
        key = (batch.command, batch.stream)
        if key not in self._filters:
            self._filters[key] = SequenceFilter()
        return self._filters[key].feed(batch.data)

    def _note_host(self, message: Started) -> None:
        if self._by_host and message.host is not None:
            self._hosts[message.command] = message.host
        else:
            self._hosts.pop(message.command, None)

    def _log(self, command: str, stream: StreamName) -> LogFile:
        kind = "err.log" if stream == "stderr" and self._separate else "log"
        host = self._hosts.get(command, "")
        log = self._logs.get((command, host, kind))
        if log is None:
            path = self._path(command, host, kind)
            log = LogFile(path, self._max_bytes, self._backups, self._on_error)
            self._logs[command, host, kind] = log
            log.add(b"")  # `_path` has to find the file.
        return log

    def _path(self, command: str, host: str, kind: str) -> Path:
        """Return the path of a file that no other command has."""
        folder = self._folder / as_folder_name(host) if host else self._folder
        stem = as_file_name(without_host(command, host) if host else command)
        if self._separate and stem.endswith(".err"):  # "a.err" is not the stderr of "a".
            stem = stem.removesuffix(".err") + "%2Eerr"
        if len(os.fsencode(stem)) > MAX_STEM:
            stem = _shortened(stem)
        path = folder / f"{stem}.{kind}"
        # Two names may differ in upper and lower case only, or in the way that accents are
        # encoded.  The file system decides whether these names are two files.
        folded = normalize("NFD", str(path.relative_to(self._folder))).casefold()
        owner, first = self._names.setdefault(folded, (command, path))
        if owner != command and _is_same_file(first, path):
            return folder / f"{_shortened(as_file_name(command))}.{kind}"
        return path


def _shortened(stem: str) -> str:
    """Return a name of at most `MAX_STEM` bytes that differs from those of all other commands."""
    from hashlib import sha256  # noqa: PLC0415 - it loads OpenSSL, for few names

    digest = sha256(os.fsencode(stem)).hexdigest()[:16]
    begin = os.fsencode(stem)[: MAX_STEM - len(digest) - 2].decode(errors="ignore")
    return f"{begin}%-{digest}"


def _is_same_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
