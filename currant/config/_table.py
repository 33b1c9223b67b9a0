"""What a table of a configuration is: its keys, their types, and which keys go together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import (
    CoreConfig,
    definition_reference_schema,
    no_info_after_validator_function,
    typed_dict_field,
    typed_dict_schema,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic_core import CoreSchema
    from pydantic_core.core_schema import TypedDictField

__all__ = ["Table", "option", "required"]


def option(type_: CoreSchema, description: str, *examples: object) -> TypedDictField:
    """Return a key that a table may have.

    Args:
        type_: the type of the value.
        description: what the key is for, as editors show it.
        examples: values for the key, as editors offer them.
    """
    return typed_dict_field(type_, required=False, metadata=_texts(description, examples))


def required(type_: CoreSchema, description: str, *examples: object) -> TypedDictField:
    """Return a key that a table must have; the arguments are those of `option`."""
    return typed_dict_field(type_, required=True, metadata=_texts(description, examples))


def _texts(description: str, examples: Sequence[object]) -> dict[str, Any]:
    """Return what the JSON Schema says about a key."""
    texts: dict[str, Any] = {"description": description}
    if examples:
        texts["examples"] = list(examples)
    return texts


@dataclass(frozen=True, slots=True)
class Table:
    """A table: no unknown keys, and no values of another type.

    Attributes:
        name: the name of the table in the JSON Schema.
        description: what the table is, as editors show it.
        keys: the keys that the table may have, by name.
        one_of: the table must have exactly one of these keys; empty: there is no such rule.
        only_with: keys that need another key: the name of each -> the keys of which the table must
            then have at least one.
    """

    name: str
    description: str
    keys: Mapping[str, TypedDictField]
    one_of: Sequence[str] = ()
    only_with: Mapping[str, Sequence[str]] = field(default_factory=dict[str, "Sequence[str]"])

    @property
    def type(self) -> CoreSchema:
        """The type of a value that is this table."""
        return definition_reference_schema(self.name)

    @property
    def definition(self) -> CoreSchema:
        """The schema to which each `type` refers."""
        keys = typed_dict_schema(
            dict(self.keys),
            extra_behavior="forbid",
            config=CoreConfig(strict=True),
            metadata={"table": self},
        )
        return no_info_after_validator_function(self._checked, keys, ref=self.name)

    def _checked(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return the values, whose types have been checked, if their keys go together.

        Raises:
            PydanticCustomError: the keys do not go together.
        """
        given = [key for key in self.one_of if key in values]
        if self.one_of and len(given) != 1:
            found = f"got {' and '.join(given)}" if given else "got none of them"
            text = "{found}, expected exactly one of the keys {known}"
            context = {"found": found, "known": ", ".join(self.one_of)}
            raise PydanticCustomError("one_of", text, context)
        for key, others in self.only_with.items():
            if key in values and not any(other in values for other in others):
                text = "the key {option} is only for {kinds}"
                context = {"option": key, "kinds": " and ".join(others)}
                raise PydanticCustomError("option", text, context)
        return values
