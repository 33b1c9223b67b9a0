"""`explains_options`: a constructor that says what to write in place of an unknown argument.

People who know `subprocess` try its options.  Python's own error names the option, and no more.
"""

from __future__ import annotations

from functools import wraps
from inspect import Parameter, signature
from typing import TYPE_CHECKING, TypeVar

from currant._values.errors import UnknownOptionError, suggestion

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["COMMAND_HINTS", "RUNNER_HINTS", "explains_options"]

T = TypeVar("T", bound="Callable[..., None]")

_IN_COMMAND = "this is an option of each Command"
_IN_RUNNER = "this is an option of the Runner"
_OUTPUT = (
    "iterate over the Runner, use capture=True and Result.stdout, or pass a sink of currant.sinks"
)
_BYTES = "output is bytes; Line.text is the decoded text"

_SUBPROCESS_HINTS = {
    "shell": "Command.shell('...') runs a line with a shell",
    "capture_output": _OUTPUT,
    "check": "Results.check() raises an error if a command has failed",
    "text": _BYTES,
    "encoding": _BYTES,
    "errors": _BYTES,
    "universal_newlines": _BYTES,
    "input": "stdin=b'...' is the input of a Command",
    "args": "the words are the first argument",
    "start_new_session": "each command has a session of its own, unless new_session=False",
    "process_group": "each command has a process group of its own",
    "pass_fds": "listen=[socket] hands sockets over",
    "preexec_fn": "see the options wrap, user, group, extra_groups, umask, limits and nice",
    **dict.fromkeys(
        ["head", "tail", "spill"], "use capture=Capture(head=..., tail=..., spill=...)"
    ),
}

_RUNNER_OPTIONS = (
    "max_processes, buffer_size, sinks, launcher, orphan_guard, cgroup, keep_open, iterable, "
    "on_exit, unread, keep_results"
)

COMMAND_HINTS = _SUBPROCESS_HINTS | dict.fromkeys(_RUNNER_OPTIONS.split(", "), _IN_RUNNER)
"""Hints for arguments that `Command` does not have."""

_COMMAND_OPTIONS = (
    "name, cwd, env, inherit_env, stdin, pty, new_session, umask, user, group, extra_groups, "
    "limits, nice, listen, success_codes, stop_command, stop_signal, ready, alive, "
    "failure_threshold, after, watch, restart_with, replicas, color, line_limit, flush_after, "
    "idle_timeout, max_output, host, resources"
)

_REDIRECTION = f"{_IN_COMMAND}, for a file; to read the output, {_OUTPUT}"

RUNNER_HINTS = (
    _SUBPROCESS_HINTS
    | dict.fromkeys(_COMMAND_OPTIONS.split(", "), _IN_COMMAND)
    | dict.fromkeys(["stdout", "stderr"], _REDIRECTION)
)
"""Hints for arguments that `Runner` does not have."""


def explains_options(name: str, hints: Mapping[str, str], only: str) -> Callable[[T], T]:
    """Return a decorator for ``__init__`` that raises `UnknownOptionError` for other arguments.

    Args:
        name: the name of the class.
        hints: a hint for each option that people try.
        only: the only positional argument, for the message about a second one.
    """

    def decorate(init: T) -> T:
        known = [
            parameter.name
            for parameter in signature(init).parameters.values()
            if parameter.kind is Parameter.KEYWORD_ONLY
        ]
        accepted = {*known, *list(signature(init).parameters)[:2]}

        @wraps(init)
        def checked(*args: object, **options: object) -> None:
            if not accepted.issuperset(options):
                option = next(each for each in options if each not in accepted)
                hint = f": {hints[option]}" if option in hints else suggestion(option, known)
                raise UnknownOptionError(f"{name} has no option {option!r}{hint}")
            if len(args) > 2:
                raise UnknownOptionError(
                    f"{name} takes {only} as its only positional argument, not {args[1:]!r}"
                )
            init(*args, **options)

        return checked  # type: ignore[return-value]

    return decorate
