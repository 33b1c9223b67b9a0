"""Make the JSON Schema of a configuration out of the tables in `_model`.

pydantic makes the JSON Schema of each type; the texts and the rules of tables come from `_table`.
After a change of `_model`, ``python -m currant.config._make_schema`` writes `schema.json` again.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pydantic.json_schema import GenerateJsonSchema

from currant.config._model import SCHEMA
from currant.config._schema import FILE
from currant.config._toml import is_array, is_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import core_schema

    from currant.config._table import Table

__all__ = ["make_schema"]

ID = "https://json.schemastore.org/currant.json"

DRAFT = "http://json-schema.org/draft-07/schema#"
"""The newest draft that all editors know."""


def make_schema() -> dict[str, Any]:
    """Return the schema, for the file that `read_schema` reads."""
    schema = _Generator(ref_template="#/definitions/{model}").generate(SCHEMA)
    definitions = schema.pop("$defs")
    head = {"$schema": DRAFT, "$id": ID, "title": "currant"}
    made = _plain({**schema, "definitions": definitions})
    return {**head, **made}


class _Generator(GenerateJsonSchema):
    """Adds the texts and rules, which pydantic's core does not know, to what pydantic makes."""

    def typed_dict_schema(self, schema: core_schema.TypedDictSchema) -> JsonSchemaValue:
        table: Table = schema.get("metadata", {})["table"]
        made = super().typed_dict_schema(schema)
        return {**made, "description": table.description, **_rules(table)}

    def typed_dict_field_schema(self, schema: core_schema.TypedDictField) -> JsonSchemaValue:
        return {**super().typed_dict_field_schema(schema), **schema.get("metadata", {})}

    def str_schema(self, schema: core_schema.StringSchema) -> JsonSchemaValue:
        return {**super().str_schema(schema), **schema.get("metadata", {})}


def _rules(table: Table) -> dict[str, Any]:
    """Return the rules about which keys of a table go together."""
    rules: dict[str, Any] = {}
    if table.one_of:
        rules["oneOf"] = _require_each(table.one_of)
    if table.only_with:
        rules["dependencies"] = {
            key: list(others) if len(others) == 1 else {"anyOf": _require_each(others)}
            for key, others in table.only_with.items()
        }
    return rules


def _require_each(keys: Sequence[str]) -> list[dict[str, Any]]:
    """Return, for each key, the rule that the key is there."""
    return [{"required": [key]} for key in keys]


def _plain(value: Any) -> Any:  # noqa: ANN401 - any value of JSON
    """Return a schema in the form of draft 7, without titles and null defaults."""
    if is_array(value):
        return [_plain(each) for each in value]
    if not is_table(value):
        return value
    kept: dict[str, Any] = {
        key: _plain(each)
        for key, each in value.items()
        if not (key == "title" and isinstance(each, str))
        if not (key == "default" and each is None)
    }
    if "patternProperties" in kept:  # Other keys would be allowed.
        ((pattern, values),) = kept.pop("patternProperties").items()
        kept |= {"propertyNames": {"pattern": pattern}, "additionalProperties": values}
    if "$ref" in kept and len(kept) > 1:  # Draft 7 ignores all keys beside a reference.
        kept["allOf"] = [{"$ref": kept.pop("$ref")}]
    return kept


if __name__ == "__main__":
    FILE.write_text(json.dumps(make_schema(), indent=2, ensure_ascii=False) + "\n", "utf-8")
