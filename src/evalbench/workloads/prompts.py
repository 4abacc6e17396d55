"""Prompts: a text for each row, made of its cells by a Jinja template: `Question: {{ question }}`.

A name in a template is that of a column, with `_` for each character that a name cannot have. A cell is text, also a
number or a date, a list is a list, and a missing cell is the empty text. Cells are values: nothing in them runs as a
template.
"""

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from evalbench.config.pretrained import check_installed
from evalbench.errors import ConfigError
from evalbench.workloads.inputs import plain_number
from evalbench.workloads.table import RawTable, TableColumn, listed

PROMPT = "(prompt)"
"""The name of the column that has the prompts."""


@dataclass(frozen=True)
class Prompt:
    """A template, and the columns that it uses."""

    template: str
    columns: tuple[str, ...]

    @classmethod
    def of(cls, template: str, columns: Sequence[str]) -> "Prompt":
        """Return the prompt of a template that may use some columns; raise `ConfigError` if it uses another name."""
        used = names_of(template)
        names = {column: _name(column) for column in columns}
        known = listed(map(repr, names.values()), 20)
        for name in sorted(used):
            meant = [column for column in columns if names[column] == name]
            if len(meant) != 1:
                rule = f"must use columns that may be inputs, which {name!r} is not"
                if meant:
                    rule = f"must not use {name!r}, which stands for {listed(map(repr, meant))}"
                raise ConfigError("dataset.prompt", rule, _short(template), f"the names are {known}")
        if not used:
            remedy = (
                f"for example {{{{ {_name(columns[0])} }}}}"
                if columns
                else "give the table other columns than the target"
            )
            raise ConfigError("dataset.prompt", "must use a column", _short(template), remedy)
        return cls(template, tuple(column for column in columns if names[column] in used))

    @cached_property
    def _compiled(self) -> Any:
        return _environment().from_string(self.template)

    def added(self, table: RawTable) -> RawTable:
        """Return a table with the prompts as another column; raise `ConfigError` for cells that it cannot use."""
        from jinja2 import TemplateError

        cells = [texts_of(table.columns[name]) for name in self.columns]
        names, prompts = [_name(name) for name in self.columns], np.empty(len(table.numbers), dtype=object)
        for row, values in enumerate(zip(*cells, strict=True)):
            try:
                prompts[row] = self._compiled.render(dict(zip(names, values, strict=True)))
            except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
                rule = f"must fit {table.unit} {table.numbers[row]} of {table.source}"
                raise ConfigError("dataset.prompt", rule, _short(self.template), f"correct it: {error}") from error
        known = np.ones(len(prompts), dtype=bool)
        return replace(table, columns={**table.columns, PROMPT: TableColumn("text", prompts, known)})


def read_template(prompt: str | None, prompt_file: str | None) -> str | None:
    """Return the template that the settings give, None if they give none; raise `ConfigError`.

    `\\n` in a prompt, as a command line has it, is the end of a line.
    """
    if prompt is not None and prompt_file is not None:
        rule = "must be left out if dataset.prompt is given"
        raise ConfigError("dataset.prompt_file", rule, prompt_file, "leave one of them out")
    for key, given in (("prompt", prompt), ("prompt_file", prompt_file)):
        if given is not None and (not isinstance(given, str) or not given.strip()):
            raise ConfigError(f"dataset.{key}", "must be text", given, "quote it: 'dataset.prompt=\"{{ question }}\"'")
    if prompt is None and prompt_file is None:
        return None
    check_installed("dataset.prompt", "jinja2")
    if prompt is not None:
        return prompt.replace("\\n", "\n")
    try:
        return Path(str(prompt_file)).read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            "dataset.prompt_file", "must be a file of text in UTF-8", prompt_file, "correct it"
        ) from error


def names_of(template: str) -> set[str]:
    """Return the names that a template uses; raise `ConfigError` if it is none."""
    from jinja2 import TemplateSyntaxError, meta

    try:
        return meta.find_undeclared_variables(_environment().parse(template))
    except TemplateSyntaxError as error:
        remedy = f"correct it: {error.message}"
        raise ConfigError("dataset.prompt", "must be a Jinja template", _short(template), remedy) from error


def _environment() -> Any:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
    environment.globals.clear()
    return environment


def _name(column: str) -> str:
    """Return the name of a column in a template."""
    name = re.sub(r"\W", "_", column)
    return f"_{name}" if name[:1].isdecimal() else name


def _short(template: str) -> str:
    return textwrap.shorten(template, 80, placeholder="…")


def texts_of(column: TableColumn) -> list[Any]:
    """Return the cells of a column as texts, lists as they are; a missing one is the empty text."""
    values: Any = column.values if column.texts is None else column.texts
    if column.form == "list":
        return list(values)
    as_text = plain_number if column.form == "number" and column.texts is None else str
    return [as_text(value) if known else "" for value, known in zip(values, column.known, strict=True)]
