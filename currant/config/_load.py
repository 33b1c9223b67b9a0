"""`load`: from the files of a configuration to a `Config`, or to all problems with the files."""

from __future__ import annotations

import os
from functools import reduce
from typing import TYPE_CHECKING, Any

from currant._values.dependencies import in_order, loops_in
from currant._values.errors import MissingExtraError
from currant.config._documents import Document, merged, read_document
from currant.config._env_files import read_default_env_file, read_env_files
from currant.config._find import find_config, local_config
from currant.config._problems import ConfigError, Place, Problem
from currant.config._toml import is_array, is_table
from currant.config._variables import expand, names_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from currant._values.checks import StrOrPath
    from currant.config._config import Config
    from currant.config._problems import Key

__all__ = ["load"]


def load(
    files: Sequence[StrOrPath] = (),
    folder: StrOrPath = "",
    *,
    env_files: Sequence[StrOrPath] | None = None,
    variables: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Config:
    r"""Read the configuration of a project.

    Start what ``currant start`` would start::

        from pathlib import Path

        from currant import Runner
        from currant.config import load

        Path("currant.toml").write_text('[commands]\nhello = "echo hello"')
        config = load()
        async with Runner(config.select(), **config.runner) as runner:
            await runner.join()

    Args:
        files: files in TOML, and Procfiles; later files replace values of earlier files.  Empty:
            the ``currant.toml``, or the ``pyproject.toml`` with a table ``tool.currant``, in
            `folder` or in the nearest parent that has one.  In any case ``currant.local.toml`` in
            the folder of the first file is read last, if it exists.
        folder: the folder in which the search begins; empty: the current folder.
        env_files: files of variables, for all commands and for ``${NAME}`` in the configuration;
            None: the files that ``env_file`` names, or ``.env`` in the folder of the first file.
        variables: variables for all commands and for ``${NAME}``, which replace those of the files
            and of ``env`` at the top level.
        settings: values for the top level, which replace the values of the files.

    Returns:
        The commands and options.  Relative paths begin at the folder of their file.

    Raises:
        ConfigError: there is no configuration, or it has mistakes; the error lists all of them,
            with their files and lines.
        CommandError: a Procfile or a file of variables cannot be read, or the current folder was
            deleted.
        MissingExtraError: pydantic is not installed.
    """
    paths = [os.fspath(path) for path in files]
    if not paths:
        found = find_config(os.fspath(folder))
        if found is None:
            where = os.path.abspath(folder)
            text = "has no currant.toml, and neither has a folder above; 'currant init' writes one"
            raise ConfigError([Problem(where, None, "", text)])
        paths = [found]
    if local := local_config(paths[0]):
        paths.append(local)
    document = _read_all(paths)
    problems: list[Problem] = []
    known = {**_variables(document, env_files, problems), **(variables or {})}
    document = _with_values(document, known, variables or {}, problems)
    if settings:
        document = merged(document, _command_line(settings))
    values = _validated(document, problems)
    if values is not None:
        from currant.config._build import build_config  # noqa: PLC0415 - only for a configuration

        config = build_config(values, document, known, paths, problems)
        if not problems:
            return config
    unique = dict.fromkeys(problems)
    raise ConfigError(sorted(unique, key=lambda each: _place_in(paths, each)))


def _place_in(paths: Sequence[str], problem: Problem) -> tuple[int, int]:
    """Return the number of a problem's file and the line, by which all problems are sorted."""
    file = paths.index(problem.file) if problem.file in paths else len(paths)
    return file, problem.line or 0


def _read_all(paths: Sequence[str]) -> Document:
    """Return the documents of all files, merged."""
    documents: list[Document] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            documents.append(read_document(path))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return reduce(merged, documents)


def _command_line(settings: Mapping[str, Any]) -> Document:
    """Return the settings of the command line as the last file."""
    place = Place("the command line")
    return Document(settings, {(): place, **{(name,): place for name in settings}})


def _variables(
    document: Document, env_files: Sequence[StrOrPath] | None, problems: list[Problem]
) -> dict[str, str]:
    """Return the variables from files, for all commands."""
    if env_files is not None:
        return read_env_files(os.fspath(path) for path in env_files)
    key: Key = ("env_file",)
    given = _expanded(key, document.data.get("env_file", []), os.environ, document, problems)
    names: object = [given] if isinstance(given, str) else given
    if key not in document.places:
        return read_default_env_file(document.place_of(()).folder)
    if not is_array(names) or not all(isinstance(name, str) for name in names):
        return {}  # `_validated` reports the mistake.
    try:
        return read_env_files(os.path.join(document.place_of(key).folder, name) for name in names)
    except ValueError as error:  # also for a NUL byte in a path
        problems.append(document.problem(key, str(error)))
        return {}


def _with_values(
    document: Document,
    known: Mapping[str, str],
    fixed: Mapping[str, str],
    problems: list[Problem],
) -> Document:
    """Return a document with all variables expanded, so that each has the value for all commands.

    A variable of ``env`` at the top level may have others of ``env`` in its value.

    Args:
        document: the document.
        known: the variables from files, and those of `fixed`.
        fixed: the variables that replace those of ``env``.
        problems: gets the mistakes.
    """
    variables = {**os.environ, **known}
    data = dict(document.data)
    if is_table(env := data.get("env")):
        data["env"] = expanded = {**env, **{name: fixed[name] for name in fixed if name in env}}
        needs = {
            name: () if name in fixed else sorted(names_in(str(value)) - {name})
            for name, value in expanded.items()
        }
        for loop in loops_in(needs):
            text = f"variables refer to one another: {' to '.join(map(repr, loop))}"
            problems.append(document.problem(("env", loop[0]), f"{text}; give one of them a value"))
            variables |= dict.fromkeys(loop, "")  # Otherwise they would be reported as not set.
        for name in in_order(needs):
            if name not in fixed:
                key = ("env", name)
                expanded[name] = _expanded(key, env[name], variables, document, problems)
            variables[name] = str(expanded[name])
    for name, value in document.data.items():
        if name != "env":
            data[name] = _expanded((name,), value, variables, document, problems)
    return Document(data, document.places)


def _expanded(
    key: Key,
    value: Any,  # noqa: ANN401 - what a file has
    variables: Mapping[str, str],
    document: Document,
    problems: list[Problem],
) -> Any:  # noqa: ANN401
    """Return a value, with all variables in its texts expanded."""
    if isinstance(value, str):
        faults: list[str] = []
        text = expand(value, variables, faults)
        problems += [document.problem(key, fault) for fault in faults]
        return text
    if is_table(value):
        return {
            name: _expanded((*key, name), each, variables, document, problems)
            for name, each in value.items()
        }
    if is_array(value):
        return [
            _expanded((*key, index), each, variables, document, problems)
            for index, each in enumerate(value)
        ]
    return value


def _validated(document: Document, problems: list[Problem]) -> dict[str, Any] | None:
    """Return the values of a document that have the right types; None if that leaves no table.

    Wrong values are left out, so that later checks can look at the others.
    """
    try:
        from pydantic_core import ValidationError  # noqa: PLC0415

        from currant.config._model import VALIDATOR  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise MissingExtraError("files in TOML", error.name or "pydantic", "config") from error

    try:
        values: dict[str, Any] = VALIDATOR.validate_python(document.data)
    except ValidationError as error:
        from currant.config._explain import problems_in  # noqa: PLC0415 - only for mistakes

        known = {(problem.file, problem.line, problem.key) for problem in problems}
        found = list(problems_in(error, document))
        problems += [problem for _, problem in found if problem[:3] not in known]
        try:
            values = VALIDATOR.validate_python(_without(document.data, [key for key, _ in found]))
        except ValidationError:
            return None
    return values


def _without(data: Mapping[str, Any], keys: Iterable[Key]) -> Mapping[str, Any]:
    """Return values without the settings, or the commands, that some keys are in."""
    kept = dict(data)
    commands = kept.get("commands")
    tables: dict[str, Any] = {}
    if is_table(commands):
        tables = kept["commands"] = {
            name: dict(table) if is_table(table) else table for name, table in commands.items()
        }
    for key in keys:
        match key:
            case "commands", name, option, *_:
                tables.get(str(name), {}).pop(option, None)
            case "commands", name:
                tables.pop(str(name), None)
            case option, *_:
                kept.pop(str(option), None)
            case _:
                pass
    return kept
