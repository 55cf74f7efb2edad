"""What a shell completes: keys, the names of criteria, and values that objects have."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from simarchive.cli import opening
from simarchive.cli.arguments import FILE_VARIABLE
from simarchive.ground.vocabulary.criteria import ALIASES, ANY_CLASS, CLASS_ALIASES

if TYPE_CHECKING:
    from simarchive.queries import BaseDataQuery
    from simarchive.storage.hdf5.storage import HDF5Storage

_MOST = 200


def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return what an incomplete word of WHAT may become; nothing if FILE cannot be read."""
    try:
        path = _file_of(context)
        if path is None:
            return []
        with opening.for_reading(path) as backend:
            words = [word for word in context.params.get("what") or () if isinstance(word, str)]
            return [CompletionItem(text) for text in _completions(backend, words, incomplete)[:_MOST]]
    except Exception:
        # A message would stand in the midst of the line that is being typed.
        return []


def _file_of(context: click.Context) -> Path | None:
    for name in ("container", "first"):
        value = context.params.get(name)
        if value is not None:
            return Path(value)
    return Path(os.environ[FILE_VARIABLE]) if FILE_VARIABLE in os.environ else None


def _completions(backend: HDF5Storage, words: list[str], incomplete: str) -> list[str]:
    name, equals, begun = incomplete.partition("=")
    query = _query_of(backend, [*words, incomplete] if name == "class" else words)
    if equals:
        return [f"{name}={value}" for value in _values(backend, query, name) if value.startswith(begun)]
    names = query.criterion_names()
    short = [alias for alias, long in ALIASES.items() if long in names]
    criteria = [f"{text}=" for text in ("class", *short, *names)]
    keys = [key for key in backend.keys() if key.startswith(incomplete)] if incomplete else []  # noqa: SIM118
    return [*keys, *(text for text in dict.fromkeys(criteria) if text.startswith(incomplete))]


def _query_of(backend: HDF5Storage, words: list[str]) -> BaseDataQuery:
    from simarchive.errors import QuerySyntaxError

    for word in words:
        if word.startswith("class="):
            try:
                return backend.asked(word)
            except QuerySyntaxError:
                break
    return backend.asked("")


def _values(backend: HDF5Storage, query: BaseDataQuery, name: str) -> list[str]:
    """Return the values that objects have for a criterion, as the index knows them."""
    from simarchive.storage.display import wording

    if name == "class":
        return [ANY_CLASS, *CLASS_ALIASES]
    column = ALIASES.get(name, name)
    found = dict.fromkeys(backend.columns(query, (column,))[column])
    return sorted(_word(wording.index_value_text(column, value)) for value in found if value is not None)


def _word(text: Any) -> str:
    """Return a value as an expression has it: 298.15 K is one word there."""
    return str(text).replace(" ", "")
