"""Look up what a command needs without running anything, and explain why a start failed.

An error of the system may name a file and mean another: the working directory, or the interpreter
of a script.  The messages here say which file it is.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from currant._process.handover import handover_of
from currant._process.prefix import prefix_of
from currant._system.accounts import Credentials, credentials_of
from currant._system.files import check_access, is_named_pipe
from currant._system.marks import VARIABLE
from currant._system.terminal import PTMX
from currant._values.errors import SetupError
from currant._values.launch_spec import Silent, wrapped_argv
from currant._values.standard_files import HasFileno

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeAlias

    from currant._process.containment import Admission
    from currant._values.launch_spec import LaunchSpec

__all__ = [
    "build_environment",
    "explain",
    "find_credentials",
    "find_prefix",
    "find_problem",
    "find_setup_problem",
    "standard_file",
]

_Field: TypeAlias = Literal["stdin", "stdout", "stderr"]

_FIELDS: tuple[_Field, ...] = ("stdin", "stdout", "stderr")
"""The standard files, each at the place of its descriptor."""


def build_environment(command: LaunchSpec, mark: str) -> dict[bytes, bytes]:
    """Return the environment of the command's process.

    Args:
        command: the command.
        mark: the value of currant's own variable.
    """
    variables = dict(_own_variables()) if command.inherit_env else {}
    if command.pty:
        variables.setdefault(b"TERM", b"xterm-256color")
    if command.listen:  # The names of this program's own sockets are not those of the command's.
        variables.pop(b"LISTEN_FDNAMES", None)
    for name, value in command.env.items():
        variables[os.fsencode(name)] = os.fsencode(value)
    variables[VARIABLE.encode()] = os.fsencode(mark)
    return variables


def _own_variables() -> Mapping[bytes, bytes]:
    """Return the variables of this program in bytes, as the system takes them.

    The mapping behind `os.environb` has them so.  `os.environb` itself converts each variable
    again, which would add a twentieth to the time of a start.
    """
    return getattr(os.environb, "_data", os.environb)


def standard_file(command: LaunchSpec, field: _Field) -> str | int | None:
    """Return the path or the descriptor of a standard file; None if currant has the other end.

    Raises:
        ValueError: the caller has closed the file; of some files, another exception.
    """
    given = getattr(command, field)
    if given is None:
        return os.devnull if field == "stdin" else None
    if given == "inherit":
        return _FIELDS.index(field)
    if isinstance(given, (str, bytes, Silent)):
        return None
    if isinstance(given, int):
        return given if given >= 0 else None  # not for `PIPE`
    if isinstance(given, Path):
        return os.path.join(command.cwd or os.curdir, given)
    return cast("HasFileno", given).fileno()  # To ask for the protocol takes microseconds.


def find_problem(command: LaunchSpec) -> str | None:
    """Return the problem with the command's working directory, program or files, if any."""
    return _cwd_problem(command) or _program_problem(command) or _files_problem(command)


def _files_problem(command: LaunchSpec) -> str | None:
    fields: list[_Field] = [field for field in _FIELDS if isinstance(getattr(command, field), Path)]
    problems = (_path_problem(field, cast("str", _path_of(command, field))) for field in fields)
    return next(filter(None, problems), None)


def _path_of(command: LaunchSpec, field: _Field) -> str | None:
    """Return the path that a start opens as a standard file; None if it opens none."""
    given = getattr(command, field)
    is_path = isinstance(given, Path) or (field == "stdin" and given is None)
    return cast("str", standard_file(command, field)) if is_path else None


def find_credentials(command: LaunchSpec) -> Credentials | None:
    """Return whom the command runs as; None: as this program does.

    Raises:
        SetupError: the system has no such user or group.
    """
    given = (command.user, command.group, command.extra_groups)
    if given == (None, None, None):
        return None
    credentials = credentials_of(*given)
    return None if credentials == Credentials() else credentials


def find_prefix(
    command: LaunchSpec, credentials: Credentials | None, admission: Admission | None = None
) -> tuple[str, ...]:
    """Return the words that set up the command's process before its program.

    Args:
        command: the command.
        credentials: whom it runs as.
        admission: what makes the process a member of its control group, if it has one.

    Raises:
        SetupError: a socket is closed, or a limit cannot be set.
    """
    if not (command.listen or command.nice or command.limits or admission):
        return ()
    is_other_user = credentials is not None and credentials.user not in (None, 0)
    has_locale = "LC_CTYPE" in command.env or (command.inherit_env and "LC_CTYPE" in os.environ)
    members, limits = (None, command.limits) if admission is None else admission[1:]
    handover = handover_of(
        command.listen, has_locale=has_locale, members=members, credentials=credentials
    )
    # The limits come second, because Python might not start within them.
    return (*handover, *prefix_of(command.nice, limits, is_other_user=is_other_user))


def find_setup_problem(command: LaunchSpec) -> str | None:
    """Return the problem with the command's user, groups, limits or sockets, if any."""
    try:
        find_prefix(command, find_credentials(command))
    except SetupError as error:
        return str(error)
    return None


def _cwd_problem(command: LaunchSpec) -> str | None:
    if command.cwd is None or os.path.isdir(command.cwd):
        return None
    problem = "is not a directory" if os.path.exists(command.cwd) else "does not exist"
    return f"its working directory {command.cwd!r} {problem}"


def _program_problem(command: LaunchSpec) -> str | None:
    problem = _lookup_problem(command, wrapped_argv(command)[0])
    return problem and _in_wrap(command, problem)


def _in_wrap(command: LaunchSpec, problem: str) -> str:
    """Return the problem of a program, with the option that the program comes from."""
    return f"the first word of its wrap: {problem}" if command.wrap else problem


def _lookup_problem(command: LaunchSpec, program: str) -> str | None:
    if program in (os.curdir, os.pardir):
        return f"{program!r} is not a program but a directory"
    paths = _candidates(command, program)
    problems = [_file_problem(path) for path in paths if os.sep in program or os.path.exists(path)]
    if None in problems:
        return None
    if problems:
        return problems[0]
    folders = os.pathsep.join(_search_path(command))
    return f"there is no program {program!r} in its PATH ({folders or 'which is empty'})"


def _candidates(command: LaunchSpec, program: str) -> list[str]:
    """Return the files that a start would try, in this order."""
    if os.sep in program:
        # Without "./", the path in a message is shorter than "folder/./program".
        inside = program.removeprefix("./") if command.cwd else program
        return [os.path.join(command.cwd or "", inside)]
    cwd = command.cwd or os.curdir
    return [os.path.join(cwd, folder, program) for folder in _search_path(command)]


def _search_path(command: LaunchSpec) -> list[str]:
    variables = os.environ if command.inherit_env and "PATH" not in command.env else command.env
    return os.get_exec_path(variables)


def _file_problem(path: str) -> str | None:
    if not os.path.exists(path):
        return f"the program {path!r} does not exist"
    if not os.path.isfile(path):
        return f"{path!r} is not a program but a directory or a device"
    if not os.access(path, os.X_OK):
        return f"the program {path!r} is not executable; run 'chmod +x' on it"
    return None


def _path_problem(field: _Field, path: str) -> str | None:
    file = f"its {field} file {path!r}"
    if not os.path.exists(path):
        return f"{file} does not exist" if field == "stdin" else _creation_problem(file, path)
    if os.path.isdir(path):
        return f"{file} is a directory"
    if is_named_pipe(path):
        other = "writer" if field == "stdin" else "reader"
        return (
            f"{file} is a named pipe, and opening it waits for a {other}; "
            "let the command open it, with Command.shell, or pass it as an open file"
        )
    if not os.access(path, os.R_OK if field == "stdin" else os.W_OK):
        return f"{file} is not {'readable' if field == 'stdin' else 'writable'}"
    return None


def _creation_problem(file: str, path: str) -> str | None:
    try:
        folder = os.path.dirname(os.path.realpath(path))  # A link may lead to a missing file.
    except FileNotFoundError:  # of a relative path
        return f"{file} cannot be created: the working directory of this program does not exist"
    if not os.path.isdir(folder):
        problem = "is not a directory" if os.path.exists(folder) else "does not exist"
        return f"{file} cannot be created: the folder {folder!r} {problem}"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"{file} cannot be created: the folder {folder!r} is not writable"
    return None


def _standard_file_problem(command: LaunchSpec, error: Exception) -> str | None:
    """Return the problem with a standard file, if that is what a failed start is about."""
    named = error.filename if isinstance(error, OSError) else None
    if named is None:
        return _descriptor_problem(command)
    for field in _FIELDS:
        if named == _path_of(command, field):
            original = f"{type(error).__name__}: {error}"
            return _path_problem(field, named) or f"its {field} cannot be opened ({original})"
    return None


def _descriptor_problem(command: LaunchSpec) -> str | None:
    for field in _FIELDS:
        given = getattr(command, field)
        try:
            file = standard_file(command, field)
            if isinstance(file, int):
                check_access(file, for_writing=field != "stdin")
        except Exception:  # `fileno` is a method of the caller's file.
            is_file = isinstance(given, HasFileno)
            shown = repr(given) if is_file else f"descriptor {standard_file(command, field)}"
            purpose = "reading" if field == "stdin" else "writing"
            return f"its {field}, {shown}, is not open for {purpose}"
    return None


_EXPLAINED = {
    errno.ENOEXEC: "the program has no '#!' line, so the system does not know how to run it; "
    "add one, or run the program with Command.shell",
    errno.E2BIG: "its arguments and environment are longer than the system allows",
    errno.EMFILE: "this process has no file descriptors left; 'ulimit -n' raises the limit",
    errno.ENFILE: "the system has no file descriptors left",
    errno.EAGAIN: "the system allows no more processes ('ulimit -u')",
    errno.ENOMEM: "the system has no memory for another process",
    errno.ETXTBSY: "its program file is open for writing; close it, or replace it by a new file",
}


def explain(command: LaunchSpec, error: Exception) -> str:
    """Explain why a start failed: because of a file, of the directory, or of the system."""
    number = error.errno if isinstance(error, OSError) else None
    named = error.filename if isinstance(error, OSError) else None
    original = str(error) if isinstance(error, SetupError) else f"{type(error).__name__}: {error}"
    if named == PTMX:
        return f"the system has no terminal left for it ({original})"
    if number not in _EXPLAINED and (problem := _standard_file_problem(command, error)):
        return problem
    if number in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
        problem = find_problem(command) or _hidden_problem(command, number, named)
        if problem is not None:
            return problem
    explanation = _EXPLAINED.get(number) if number is not None else None
    if number == errno.EPERM and find_credentials(command) is not None:
        explanation = (
            "this program may not give it another user or group; that takes root, or the "
            "capabilities CAP_SETUID and CAP_SETGID"
        )
    return original if explanation is None else f"{explanation} ({original})"


def _hidden_problem(command: LaunchSpec, number: int, program: object) -> str | None:
    """Return the problem with a file that `find_problem` has found in order."""
    if number == errno.ENOENT:
        words = _candidates(command, wrapped_argv(command)[0])
        found = next((path for path in words if _file_problem(path) is None), None)
        return found and _in_wrap(command, _interpreter_problem(found))
    if number == errno.EACCES and command.user is not None:
        return f"user {command.user!r} may not run {program!r}, or not enter a folder on its path"
    return None


def _interpreter_problem(path: str) -> str:
    """Return the problem with a program that exists and still is not found: what it names."""
    with suppress(OSError), open(path, "rb") as file:
        mark, first_line = file.read(2), file.readline(256)
        if mark == b"#!" and first_line.strip():
            named = os.fsdecode(first_line.strip(b" \t\n").split(b" ")[0])
            problem = f"the interpreter {named!r} that its '#!' line names does not exist"
            has_return = named.endswith("\r")
            return f"{problem}; save the file without '\\r' at line ends" if has_return else problem
    return "the loader that its file names does not exist; it may be built for another system"
