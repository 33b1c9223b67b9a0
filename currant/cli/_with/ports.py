"""Free ports for servers, as variables: ``--port web`` is ``$WEB_PORT``."""

from __future__ import annotations

import re
from contextlib import ExitStack
from typing import TYPE_CHECKING

from currant._system.free_port import hold_free_port
from currant._values.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["HeldPorts", "fill_in"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*", re.ASCII)

_REFERENCE = re.compile(r"\$(?:(\w+)|\{(\w+)\})", re.ASCII)


class HeldPorts:
    """Free ports, held until `close`.

    Args:
        names: the names of the ports, such as ``web``.

    Attributes:
        variables: the number of each port, by the name of its variable, such as ``WEB_PORT``.

    Raises:
        CommandError: a name cannot begin the name of a variable, two names have the same variable,
            or the system has no free port.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.variables: dict[str, str] = {}
        with ExitStack() as held:
            for name in names:
                variable = _variable_of(name)
                if variable in self.variables:
                    raise CommandError(f"--port {name}: {variable} is set already")
                try:
                    number, holder = hold_free_port()
                except OSError as error:
                    raise CommandError(f"--port {name}: {error.strerror}") from error
                self.variables[variable] = str(number)
                if holder is not None:
                    held.enter_context(holder)
            self._held = held.pop_all()

    def close(self) -> None:
        """Let other programs have the ports."""
        self._held.close()


def fill_in(text: str, variables: Mapping[str, str]) -> str:
    """Return `text` with the values of ``$WEB_PORT`` and the like; other dollar signs stay."""
    return _REFERENCE.sub(lambda found: variables.get(found[1] or found[2], found[0]), text)


def _variable_of(name: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise CommandError(
            f"--port {name}: the name must consist of letters, digits, - and _, and begin with a "
            "letter; --port web sets WEB_PORT"
        )
    return f"{name.upper().replace('-', '_')}_PORT"
