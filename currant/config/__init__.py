"""A configuration of commands: ``currant.toml``, or ``[tool.currant]`` in ``pyproject.toml``.

`load` reads the files and returns a `Config`, whose commands and options a program passes to a
`Runner`.  To read the package: `_load` takes the steps one after the other.  `_find` finds the
files, `_documents` reads and merges them, and `_lines` knows the line of each key.  `_variables`
expands ``${NAME}``.  `_model` has the tables and keys, for pydantic and for `schema.json`, and
`_explain` says what pydantic found wrong.  `_build` turns the rest into commands (`_probes`) and a
`Config`.  All mistakes come together, as `_problems`.

`_procfile` and `_env_files` read the files of other programs.
"""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from currant.config._config import Config
from currant.config._problems import ConfigError, Problem
from currant.config._schema import read_schema

if _TYPE_CHECKING:
    from currant.config._load import load

__all__ = ["Config", "ConfigError", "Problem", "load", "read_schema"]


def __getattr__(name: str) -> object:
    """Import `load` when it is first used: ``currant run`` needs only files of variables."""
    if name != "load":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from currant.config._load import load  # noqa: PLC0415

    return load
