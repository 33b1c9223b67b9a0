"""Turn the value of an option in TOML into the value that the library takes."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from currant._values.capture import Capture
from currant._values.command import PIPE, Command
from currant._values.launch_spec import SILENT, Pty
from currant._values.limits import Limits
from currant._values.restart import RestartPolicy
from currant._values.watch import Watch
from currant.sinks import check_style
from currant.sinks._templates import NO_TEXTS, Templates

if TYPE_CHECKING:
    from collections.abc import Callable

    from currant._values.probe import Probe

__all__ = ["converted"]

UNITS = {"k": 2**10, "m": 2**20, "g": 2**30}


def converted(option: str, value: Any, folder: str) -> Any:  # noqa: ANN401 - each has its type
    """Return the value of an option as `Command` and `Runner` take it.

    Args:
        option: the name of the option.
        value: its value, of the right type.
        folder: the folder at which relative paths begin.

    Raises:
        ValueError: the library refuses the value.
    """
    convert = _CONVERTERS.get(option)
    return value if convert is None else convert(value, folder)


def _path(path: str, folder: str) -> str:
    return os.path.join(folder, path)


def _probe(value: str | Mapping[str, Any], _: str) -> Probe:
    # Most commands have no probe, and making the classes of probes takes 5 ms.
    from currant.config._probes import probe_from_table, probe_from_text  # noqa: PLC0415

    return probe_from_text(value) if isinstance(value, str) else probe_from_table(value)


def _output(value: str | Mapping[str, str], _: str) -> str | Path:
    return value if isinstance(value, str) else Path(value["file"])


def _input(value: str | Mapping[str, str], _: str) -> object:
    if isinstance(value, str):
        return {"open": SILENT, "null": None, "pipe": PIPE}[value]
    return Path(value["file"]) if "file" in value else value["text"].encode()


def _command(value: str | list[str], _: str) -> Command:
    return Command.shell(value) if isinstance(value, str) else Command(value)


def _restart(value: str | Mapping[str, Any], _: str) -> str | RestartPolicy:
    return value if isinstance(value, str) else RestartPolicy(**value)


def _pty(value: bool | Mapping[str, int], _: str) -> bool | Pty:
    return value if isinstance(value, bool) else Pty(**value)


def _watch(value: str | list[str] | Mapping[str, Any], _: str) -> Watch:
    return Watch(**value) if isinstance(value, Mapping) else Watch(value)


def _limits(value: Mapping[str, int | str], _: str) -> Limits:
    return Limits(**{name: _size(each) for name, each in value.items()})


def _capture(value: int | Mapping[str, Any], folder: str) -> int | Capture:
    if isinstance(value, int):
        return value
    options = dict(value)
    if "spill" in options:
        options["spill"] = os.path.join(folder, options["spill"])
    return Capture(**options)


def _size(value: int | str, _: str = "") -> int:
    """Return a number of bytes that may have a unit."""
    if isinstance(value, int):
        return value
    unit = value[-1].lower()
    return int(value[:-1]) * UNITS[unit] if unit in UNITS else int(value)


def _wrap(value: str | list[str], _: str) -> tuple[str, ...]:
    return tuple(shlex.split(value) if isinstance(value, str) else value)


def _prefix(template: str, _: str) -> str:
    """Check the fields of a prefix."""
    Templates(template, None, NO_TEXTS, in_color=False)
    return template


def _flush_after(value: float | str, _: str) -> float | str | None:
    return None if value == "never" else value


def _color(style: str, _: str) -> str:
    """Check a style.  Without rich, which knows styles, there are no colours and no check."""
    with suppress(ModuleNotFoundError):
        check_style(style, "")
    return style


_CONVERTERS: Mapping[str, Callable[[Any, str], Any]] = {
    "alive": _probe,
    "capture": _capture,
    "color": _color,
    "cwd": _path,
    "flush_after": _flush_after,
    "limits": _limits,
    "log_dir": _path,
    "log_size": _size,
    "max_output": _size,
    "prefix": _prefix,
    "pty": _pty,
    "ready": _probe,
    "restart": _restart,
    "stderr": _output,
    "stdin": _input,
    "stdout": _output,
    "stop_command": _command,
    "watch": _watch,
    "wrap": _wrap,
}
