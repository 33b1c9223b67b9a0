"""Make the JSON Schema of a configuration out of the classes in `_model`.

After a change of `_model`, ``python -m currant.config._make_schema`` writes `schema.json` anew.
"""

from __future__ import annotations

import json
from typing import Any

from currant.config._model import TopTable
from currant.config._schema import FILE
from currant.config._toml import is_array, is_table

__all__ = ["make_schema"]

ID = "https://json.schemastore.org/currant.json"

DRAFT = "http://json-schema.org/draft-07/schema#"
"""The newest draft that all editors know."""


def make_schema() -> dict[str, Any]:
    """Return the schema, for the file that `read_schema` reads."""
    schema = TopTable.model_json_schema(ref_template="#/definitions/{model}")
    definitions = schema.pop("$defs")
    head = {"$schema": DRAFT, "$id": ID, "title": "currant"}
    made = _plain({**schema, "definitions": definitions})
    return {**head, **made}


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
