"""What a command would run, looked up without running anything; and why a start has failed.

The system names a file where it means the working directory, or an interpreter; the words here tell
them apart.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

from currant._system.files import is_named_pipe
from currant._system.terminal import TERMINALS

if TYPE_CHECKING:
    from currant._values.launch_spec import LaunchSpec

__all__ = ["environment", "explain", "problem_with", "stdin_of"]


def environment(command: LaunchSpec) -> dict[str, str]:
    """Return the variables that the command's process has, but for those of currant's own."""
    terminal = {"TERM": "xterm-256color"} if command.pty else {}
    inherited = dict(os.environ) if command.inherit_env else {}
    return terminal | inherited | dict(command.env)


def stdin_of(command: LaunchSpec) -> str:
    """Return the path of the file that the command reads; ``/dev/null`` where it names none."""
    where = command.cwd or os.curdir
    return os.path.join(where, command.stdin) if isinstance(command.stdin, Path) else os.devnull


def problem_with(command: LaunchSpec) -> str | None:
    """Return what is wrong with the command's folder, program or input file; None: nothing."""
    return (
        _problem_with_cwd(command) or _problem_with_program(command) or _problem_with_stdin(command)
    )


def _problem_with_cwd(command: LaunchSpec) -> str | None:
    if command.cwd is None or os.path.isdir(command.cwd):
        return None
    what = "is not a directory" if os.path.exists(command.cwd) else "does not exist"
    return f"its working directory {command.cwd!r} {what}"


def _problem_with_program(command: LaunchSpec) -> str | None:
    program = command.argv[0]
    where = command.cwd or os.curdir
    if os.sep in program:
        return _problem_with_file(os.path.join(where, program))
    variables = os.environ if command.inherit_env and "PATH" not in command.env else command.env
    folders = os.get_exec_path(variables)
    found = [os.path.join(where, folder, program) for folder in folders]
    problems = [_problem_with_file(path) for path in found if os.path.exists(path)]
    if None in problems:
        return None
    if problems:
        return problems[0]
    return f"there is no program {program!r} in its PATH ({os.pathsep.join(folders)})"


def _problem_with_file(path: str) -> str | None:
    if not os.path.exists(path):
        return f"the program {path!r} does not exist"
    if not os.path.isfile(path):
        return f"{path!r} is not a program but a directory or a device"
    if not os.access(path, os.X_OK):
        return f"{path!r} is not executable; 'chmod +x' makes it so"
    return None


def _problem_with_stdin(command: LaunchSpec) -> str | None:
    if not isinstance(command.stdin, Path):
        return None
    path = stdin_of(command)
    if not os.path.exists(path):
        return f"the file {path!r}, which is to be its stdin, does not exist"
    if os.path.isdir(path):
        return f"{path!r}, which is to be its stdin, is a directory"
    if is_named_pipe(path):
        return (
            f"{path!r}, which is to be its stdin, is a named pipe, and opening one waits for "
            "somebody to write; have the command open it, through Command.shell"
        )
    if not os.access(path, os.R_OK):
        return f"the file {path!r}, which is to be its stdin, may not be read"
    return None


_EXPLAINED = {
    errno.ENOEXEC: "the program has no '#!' line, so the system does not know how to run it; "
    "add one, or run it through Command.shell",
    errno.E2BIG: "its arguments and variables are longer than the system takes",
    errno.EMFILE: "this process has no file descriptors left; 'ulimit -n' raises the limit",
    errno.ENFILE: "the system has no file descriptors left",
    errno.EAGAIN: "the system allows no more processes ('ulimit -u')",
    errno.ENOMEM: "the system has no memory for another process",
    errno.ETXTBSY: "its program's file is open for writing; close it, or move a new file there",
}


def explain(command: LaunchSpec, error: Exception) -> str:
    """Say why a start failed, in words that tell its file, its folder and the system apart."""
    number = error.errno if isinstance(error, OSError) else None
    named = error.filename if isinstance(error, OSError) else None
    system = f"{type(error).__name__}: {error}"
    if named == TERMINALS:
        return f"the system has no terminal left for it ({system})"
    if named == stdin_of(command) and number not in _EXPLAINED:
        return _problem_with_stdin(command) or f"its stdin cannot be opened ({system})"
    if number in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
        problem = problem_with(command)
        if problem is not None:
            return problem
        if number == errno.ENOENT:
            return "the interpreter that its '#!' line names does not exist"
    explained = _EXPLAINED.get(number) if number is not None else None
    return system if explained is None else f"{explained} ({system})"
