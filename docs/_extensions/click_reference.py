"""The directive `click`: a section for each subcommand of a group of click."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from itertools import chain
from typing import TYPE_CHECKING

import click
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sphinx.application import Sphinx

    from currant.cli._lazy import LazyGroup

EXAMPLE = re.compile(r"Examples?: ")
CODE = re.compile(r"(`[^`]+`|(?<!\S)--[a-z][a-z-]*)")
"""What is code in a help text: an option, or what is in backquotes."""


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directive; Sphinx calls this."""
    app.add_directive("click", ClickDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


class ClickDirective(SphinxDirective):
    """Describe each subcommand of the `LazyGroup` that the argument names: ``MODULE:ATTRIBUTE``."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return a section for each section of the group's help."""
        module, _, attribute = self.arguments[0].partition(":")
        group: LazyGroup = getattr(import_module(module), attribute)
        context = click.Context(group, info_name=group.name)
        placed = set(chain.from_iterable(group.sections.values()))
        others = [name for name in group.list_commands(context) if name not in placed]
        parts = {**group.sections, "Other commands": others}
        return [self.section(title, self.commands(group, context, parts[title])) for title in parts]

    def commands(
        self, group: click.Group, context: click.Context, names: Iterable[str]
    ) -> Iterator[nodes.section]:
        """Yield a section for each of these subcommands, and in it one for each of its own."""
        for name in names:
            command = group.get_command(context, name)
            if command is None or command.hidden:
                continue
            inner = click.Context(command, info_name=name, parent=context)
            section = self.section(inner.command_path, described(command, inner))
            section += options(command, inner)
            if isinstance(command, click.Group):
                section += list(self.commands(command, inner, command.list_commands(inner)))
            yield section

    def section(self, title: str, content: Iterable[nodes.Node]) -> nodes.section:
        """Return a section with an anchor."""
        section = nodes.section("", nodes.title(title, title), *content)
        section["ids"], section["names"] = [nodes.make_id(title)], [title]
        self.state.document.note_explicit_target(section)
        return section


def described(command: click.Command, context: click.Context) -> Iterator[nodes.Element]:
    """Yield the usage and the paragraphs of the help text."""
    words = " ".join(command.collect_usage_pieces(context))
    usage = f"{context.command_path} {words}"
    yield nodes.literal_block(usage, usage, language="console", classes=["usage"])
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(command.help or "")):
        text = " ".join(paragraph.split())
        label = EXAMPLE.match(text)
        if label is None:
            yield nodes.paragraph("", "", *inline(text))
        else:
            example = text[label.end() :]
            yield nodes.paragraph("", label[0].strip())
            yield nodes.literal_block(example, example, language="sh")


def options(command: click.Command, context: click.Context) -> Iterator[nodes.Element]:
    """Yield the list of the options, each with an anchor such as ``currant-run-names``."""
    records = [
        (option, option.get_help_record(context))
        for option in command.get_params(context)
        if isinstance(option, click.Option) and "--help" not in option.opts
    ]
    shown = [(option, *record) for option, record in records if record is not None]
    if not shown:
        return
    items = nodes.definition_list(classes=["options"])
    for option, names, text in shown:
        anchor = nodes.make_id(f"{context.command_path} {max(option.opts, key=len)}")
        term = nodes.term("", "", nodes.literal(names, names), ids=[anchor])
        items += nodes.definition_list_item(
            "", term, nodes.definition("", nodes.paragraph("", "", *inline(text)))
        )
    yield items


def inline(text: str) -> Iterator[nodes.Node]:
    """Yield the parts of a help text, with options as code."""
    for number, part in enumerate(CODE.split(text)):
        if number % 2:
            code = part.strip("`")
            yield nodes.literal(code, code)
        else:
            yield nodes.Text(part)
