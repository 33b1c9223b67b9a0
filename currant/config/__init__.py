"""A configuration of commands: ``currant.toml``, or ``[tool.currant]`` in ``pyproject.toml``.

`load` reads the files and returns a `Config`, with commands and options for a `Runner`.  Read the
modules in the order of its steps; `_load` calls one after the other:

1. `_find` finds the files, `_documents` reads and merges them, and `_lines` knows the line of each
   key.  `_procfile` and `_env_files` read the files of other programs.
2. `_variables` expands ``${NAME}``.
3. `_model` has all keys, with the tables in their values (`_tables`) and their types (`_types`),
   for pydantic's core and for `schema.json` (`_make_schema`, `_schema`).  `_table` says what a
   table is, and `_explain` turns the errors of pydantic's core into plain words.
4. `_build` turns the values into commands and a `Config` (`_config`), by `_options` and `_probes`.

No step stops at the first mistake: all of them come together, as `_problems`.  `_toml` tells
tables from arrays, and writes a value in one line.
"""

import typing as _typing

from currant._first_use import imported as _imported

if _typing.TYPE_CHECKING:
    from currant.config._config import Config
    from currant.config._load import load
    from currant.config._problems import ConfigError, Problem
    from currant.config._schema import read_schema

__all__ = ["Config", "ConfigError", "Problem", "load", "read_schema"]

_HOMES = {
    "Config": "currant.config._config",
    "ConfigError": "currant.config._problems",
    "Problem": "currant.config._problems",
    "load": "currant.config._load",
    "read_schema": "currant.config._schema",
}
"""The module of each name; the imports above are for type checkers alone."""


def __getattr__(name: str) -> object:
    """Import a name when it is first used: ``currant run`` needs files of variables alone."""
    return _imported(globals(), _HOMES, name)


def __dir__() -> list[str]:
    """Return the names, used or not."""
    return sorted({*globals(), *__all__})
