"""From an item to its command: by a template, or by a function of the caller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import isasyncgenfunction, iscoroutinefunction
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, cast

from currant._batch.rows import row_of
from currant._batch.template import Template
from currant._values.command import Command, DefaultName, single_command, with_name
from currant._values.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable

    from currant._batch.items import Items
    from currant._values.command import CommandLike, CommandOptions

__all__ = ["FromFunction", "FromTemplate", "Maker", "maker_of"]

T_contra = TypeVar("T_contra", contravariant=True)
T = TypeVar("T")


class Maker(Protocol[T_contra]):
    """Builds the command of an item.

    Attributes:
        has_program: whether all commands run the same program, which can be looked up first.
    """

    has_program: bool

    def __call__(self, item: T_contra, number: int, slot: int) -> Command:
        """Return the command of an item, by its number and its slot, both from 1.

        Raises:
            CommandError: no command can be built for the item.
        """
        ...


def maker_of(
    template: CommandLike | Callable[[T], CommandLike], items: Items[T], options: CommandOptions
) -> Maker[T]:
    """Return what builds the commands of `items`.

    Raises:
        CommandError: the template or an option is wrong.
    """
    if callable(template) and not isinstance(template, Command):
        if iscoroutinefunction(template) or isasyncgenfunction(template):
            raise CommandError(
                f"the function that returns a command must not be async: {template!r}"
            )
        return FromFunction(template, options)
    first = items[0] if isinstance(items, Sequence) and items else None
    return FromTemplate(template, options, first)


class FromFunction(Generic[T]):
    """Calls a function of the caller.

    A command that was given no name is named by its program and the number of its item, such as
    ``gzip#3``.
    """

    has_program = False

    def __init__(self, function: Callable[[T], CommandLike], options: CommandOptions) -> None:
        single_command("map", ["true"], options)  # A wrong option is an error of the call.
        self._function, self._options = function, options

    def __call__(self, item: T, number: int, slot: int) -> Command:
        """Return the command that the function returns, with the options."""
        del slot
        command = single_command("map", self._function(item), self._options)
        if isinstance(command.name, DefaultName):
            command = with_name(command, f"{command.name}#{number}")
        return command


class FromTemplate:
    """Fills a template with the values of an item.

    The columns have the names that the first item has.  The first item of a lazy iterable is not
    known before its turn comes, so an error of the template may only be found then.

    Args:
        template: the template.
        options: options of all commands.
        first: the first item; None if it is not known yet.

    Raises:
        CommandError: the template is wrong, and the first item is known.
    """

    def __init__(self, template: CommandLike, options: CommandOptions, first: object) -> None:
        self._source, self._options = template, options
        self._template: Template | None = None
        self._names: tuple[str, ...] = ()
        try:
            self._use(tuple(cast("Mapping[str, object]", first)) if _has_names(first) else ())
        except CommandError:
            if first is not None:
                raise
            # `__call__` tries again, with the names of the first item.
        self.has_program = True if self._template is None else self._template.has_program

    def __call__(self, item: object, number: int, slot: int) -> Command:
        """Return the command of an item."""
        row = row_of(item)
        if self._template is None or row.names != self._names:
            self._use(row.names)
        assert self._template is not None
        return self._template.command(row, number, slot, f"{self._template.base.name}#{number}")

    def _use(self, names: tuple[str, ...]) -> None:
        template = Template(self._source, names=names or None, options=self._options)
        single_command("map", template.base, {})
        self._template, self._names = template, names


def _has_names(item: object) -> bool:
    return isinstance(item, Mapping) or bool(getattr(item, "names", ()))
