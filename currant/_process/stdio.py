"""The standard files of a child: pipes, files, or one terminal for all three."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from currant._process.pipes import InputPipe, OutputPipe, TerminalInput, TerminalOutput
from currant._system.files import check_access, open_for_reading, open_for_writing
from currant._system.forks import close_in_forks, no_fork
from currant._system.terminal import open_terminal

if TYPE_CHECKING:
    from currant._process.pipes import Pipe
    from currant._values.lines import StreamName

__all__ = ["PipeStdio", "PtyStdio", "Stdio"]


class Stdio:
    """The stdin, stdout and stderr of a child, and our ends of them.

    A child is started in a ``with`` block.  Keep the object for as long as our ends are open: it
    closes them in forks.

    Attributes:
        stdin: our end of the child's stdin; None if we do not write to it.
        stdout: our end of the child's stdout; None if that is a file.
        stderr: our end of the child's stderr; None if that is a file, or goes to stdout.
        silent: our end of a stdin that nothing is written to, open until the process is closed.
    """

    silent: InputPipe | None = None
    stdin: InputPipe | None = None
    stdout: OutputPipe | None = None
    stderr: OutputPipe | None = None

    def __init__(self) -> None:
        self._our_ends: list[Pipe] = []
        self._child_ends: list[int] = []
        self._created: list[int] = []  # of the child's ends, those that are not a file
        close_in_forks(self)

    def __enter__(self) -> tuple[int, int, int]:
        """Give the child's stdin, stdout and stderr to a start."""
        return self._child_ends[0], self._child_ends[1], self._child_ends[-1]

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        """Close the child's ends; if the start has failed, ours as well.

        The child has copies by then, and the output could not end while we hold the original.
        """
        if error is None:
            self._close_child_ends()
        else:
            self.close()

    def give_to(self, user: int) -> None:
        """Make a user the owner of the pipes or the terminal, if called before the start.

        Otherwise the child may use its standard files, but not open ``/dev/stderr`` or its
        terminal again.

        Raises:
            PermissionError: this program may not do that.
        """
        for fd in self._created:
            os.fchown(fd, user, -1)

    def close_in_fork(self) -> None:
        """Close all ends in a fork."""
        self._close_child_ends()
        for pipe in self._our_ends:
            pipe.close_in_fork()

    def _close_child_ends(self) -> None:
        with no_fork:
            for fd in set(self._child_ends):
                os.close(fd)
            self._child_ends.clear()

    def close(self) -> None:
        """Close all ends."""
        self._close_child_ends()
        for pipe in self._our_ends:
            pipe.close()


class PipeStdio(Stdio):
    """Pipes, and files in the place of some of them.

    A file is a path to open, or an open descriptor: the child gets a copy of the descriptor, and
    the original stays as it is.

    Args:
        stdin: the file to be the child's stdin; None: a pipe.
        stdout: the file to be the child's stdout; None: a pipe.
        stderr: the file to be the child's stderr; None: a pipe.
        silent: whether the pipe of stdin stays silent, so that we do not write to it.
        separate: whether stderr has a pipe or a file of its own or goes to stdout.
        umask: the permissions that a new file does not get.

    Raises:
        OSError: no descriptor is left, or a file cannot be used; nothing is left open.
    """

    def __init__(
        self,
        *,
        stdin: str | int | None,
        stdout: str | int | None = None,
        stderr: str | int | None = None,
        silent: bool = False,
        separate: bool = True,
        umask: int = 0,
    ) -> None:
        super().__init__()
        self._umask = umask
        try:
            with no_fork:
                if silent:
                    self.silent = self._open_input()
                elif stdin is None:
                    self.stdin = self._open_input()
                elif stdin == os.devnull:
                    self._child_ends.append(os.open(os.devnull, os.O_RDONLY))
                else:
                    self._child_ends.append(_open_input_file(stdin))
                self.stdout = self._open_output(stdout)
                if separate:
                    self.stderr = self._open_output(stderr)
        except OSError:
            self.close()
            raise

    def outputs(self) -> dict[StreamName, OutputPipe]:
        """Return our ends of the outputs that are pipes, by the names of the streams."""
        pipes: dict[StreamName, OutputPipe | None] = {"stdout": self.stdout, "stderr": self.stderr}
        return {name: pipe for name, pipe in pipes.items() if pipe is not None}

    def _open_input(self) -> InputPipe:
        read_end, write_end = os.pipe()
        self._child_ends.append(read_end)
        self._created.append(read_end)
        pipe = InputPipe(write_end)
        self._our_ends.append(pipe)
        return pipe

    def _open_output(self, file: str | int | None) -> OutputPipe | None:
        if file is not None:
            self._child_ends.append(_open_output_file(file, self._umask))
            return None
        read_end, write_end = os.pipe()
        self._child_ends.append(write_end)
        self._created.append(write_end)
        pipe = OutputPipe(read_end)
        self._our_ends.append(pipe)
        return pipe


def _open_input_file(file: str | int) -> int:
    return _copied(file, for_writing=False) if isinstance(file, int) else open_for_reading(file)


def _open_output_file(file: str | int, umask: int) -> int:
    if isinstance(file, int):
        return _copied(file, for_writing=True)
    return open_for_writing(file, umask)


def _copied(fd: int, *, for_writing: bool) -> int:
    check_access(fd, for_writing=for_writing)
    return os.dup(fd)


class PtyStdio(Stdio):
    """One terminal as all three standard files.

    Args:
        rows: the number of lines of the terminal.
        columns: the number of characters in a line.

    Raises:
        OSError: no terminal or no descriptor is left; nothing is left open.
    """

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        try:
            with no_fork:
                our_end, child_end = open_terminal(rows, columns)
                self._child_ends = [child_end] * 3
                self._created.append(child_end)
                self.stdout = output = TerminalOutput(our_end)
                self._our_ends.append(output)
                output.hold(child_end)
                self.stdin = TerminalInput(os.dup(our_end))
                self._our_ends.append(self.stdin)
        except OSError:
            self.close()
            raise
