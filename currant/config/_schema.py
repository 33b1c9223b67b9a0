"""The JSON Schema of a configuration, for editors: how it is made, and how it is read."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

__all__ = ["make_schema", "read_schema"]

ID = "https://json.schemastore.org/currant.json"

DRAFT = "http://json-schema.org/draft-07/schema#"
"""The newest draft that all editors know."""


def read_schema() -> str:
    """Return the JSON Schema of a configuration, as a text.

    It is for ``currant.toml``, and for the table ``tool.currant`` of a ``pyproject.toml``.
    """
    return files("currant.config").joinpath("schema.json").read_text("utf-8")


def make_schema() -> dict[str, Any]:
    """Return the schema of the classes in `_model`, for the file that `read_schema` reads.

    Raises:
        ModuleNotFoundError: pydantic is not installed.
    """
    from currant.config._model import TopTable  # noqa: PLC0415 - slow, and only for this

    schema = TopTable.model_json_schema(ref_template="#/definitions/{model}")
    definitions = schema.pop("$defs")
    head = {"$schema": DRAFT, "$id": ID, "title": "currant"}
    made = _plain({**schema, "definitions": definitions})
    return {**head, **made}


def _plain(value: Any) -> Any:  # noqa: ANN401 - what JSON has
    """Return a schema without titles and null defaults, and as draft 7 needs it."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if not isinstance(value, dict):
        return value
    kept = {
        key: _plain(each)
        for key, each in value.items()
        if not (key == "title" and isinstance(each, str))
        if not (key == "default" and each is None)
    }
    if "patternProperties" in kept:  # Other keys would be allowed.
        ((pattern, values),) = kept.pop("patternProperties").items()
        kept |= {"propertyNames": {"pattern": pattern}, "additionalProperties": values}
    if "$ref" in kept and len(kept) > 1:  # Draft 7 ignores what is beside a reference.
        kept["allOf"] = [{"$ref": kept.pop("$ref")}]
    return kept
