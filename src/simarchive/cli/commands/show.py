"""`simarchive show`: show one object, its document and its files."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from simarchive.cli import object_keys, opening
from simarchive.cli.arguments import container_argument, json_option, key_argument
from simarchive.cli.isolation import isolated_option
from simarchive.cli.output import date_text, print_facts, print_json, print_line, print_table, size_text
from simarchive.ground.arrays import is_array
from simarchive.storage.display import documents


@click.command("show", short_help="Show one object: its document and its files.")
@container_argument
@key_argument
@click.option("--arrays", is_flag=True, help="With --json, give the values of arrays, not only their shapes.")
@json_option
@isolated_option("container")
def command(container: Path, key: str, arrays: bool, as_json: bool) -> None:
    """Show one object of FILE: its document, and its files with sizes and digests.

    Digests are BLAKE3, as printed by the program b3sum.

    \b
    Example:
      simarchive show water.h5 8d13dbc1
    """
    with opening.for_reading(container) as backend:
        key = object_keys.resolve(backend, key)
        header = backend.header(key)
        _, _, tree = backend.retrieve_document(key)
        members = backend.list_members(key)
        facts = {
            "key": key,
            "data_class": header.data_class,
            "data_class_version": header.data_class_version,
            "stored_at": header.stored_at,
        }
        if as_json:
            document = _described(tree, arrays=arrays)
            files = [asdict(member) for member in members]
            print_json({**facts, "document": document, "files": files})
            return
        print_line(key, style="bold")
        class_text = f"{header.data_class}, version {header.data_class_version}"
        print_facts([("class", class_text), ("stored", date_text(header.stored_at))])
        print_line()
        for line in documents.lines_of(tree):
            print_line(line)
    if members:
        print_line()
        rows = ((info.name, size_text(info.size), info.codec, info.digest[:16]) for info in members)
        print_table(("FILE", "SIZE", "CODEC", "BLAKE3"), rows, right=("SIZE",))


def _described(tree: Any, *, arrays: bool) -> Any:
    """Return a document with each array as its values, or as its shape and type."""
    if is_array(tree):
        if arrays:
            return tree.__array__()
        return {"shape": list(tree.shape), "dtype": str(tree.dtype)}
    if isinstance(tree, dict):
        return {name: _described(value, arrays=arrays) for name, value in tree.items()}
    if isinstance(tree, list):
        return [_described(value, arrays=arrays) for value in tree]
    return tree
