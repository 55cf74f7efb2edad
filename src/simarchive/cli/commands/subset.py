"""`simarchive subset`: copy some objects of a container into a new one."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from simarchive.cli import opening
from simarchive.cli.arguments import PATH, codec_option, container_argument, dry_run_option, json_option
from simarchive.cli.isolation import isolated_option, of_others
from simarchive.cli.merge_report import report_merge, with_problems
from simarchive.cli.progress_bars import objects_bar
from simarchive.cli.selection import choose, what_argument
from simarchive.errors import InvalidDataError

if TYPE_CHECKING:
    from simarchive.storage.hdf5.storage import HDF5Storage


@click.command("subset", short_help="Copy selected objects into a new container.")
@container_argument
@click.argument("target", metavar="OUT", type=PATH)
@what_argument
@click.option(
    "--include-component",
    metavar="SMILES",
    multiple=True,
    help="Only objects with this component; if repeated, with all of them.",
)
@click.option(
    "--exclude-component",
    metavar="SMILES",
    multiple=True,
    help="No objects with this component; if repeated, with any of them.",
)
@click.option(
    "--include-substance",
    metavar="SUBSTANCE",
    multiple=True,
    help="Only objects of this substance; if repeated, of any of them.",
)
@click.option(
    "--exclude-substance",
    metavar="SUBSTANCE",
    multiple=True,
    help="No objects of this substance; if repeated, of any of them.",
)
@dry_run_option
@codec_option
@json_option
@isolated_option("container", rule=of_others, made="target")
def command(
    container: Path,
    target: Path,
    what: tuple[str, ...],
    include_component: tuple[str, ...],
    exclude_component: tuple[str, ...],
    include_substance: tuple[str, ...],
    exclude_substance: tuple[str, ...],
    dry_run: bool,
    codec: str,
    as_json: bool,
) -> None:
    """Copy the objects of FILE that WHAT selects, and that pass all filters, into a new container OUT.

    SMILES is a component in any role, or in a given one: "C{sol}". SUBSTANCE is written as in queries: "O",
    "O|CO". Whatever a passing object refers to, such as its force field, is copied too. Objects without a
    substance pass unless something has to be included.

    \b
    Examples:
      simarchive subset all.h5 liquid.h5 phase=liquid T=290..310K
      simarchive subset all.h5 two.h5 8d13dbc1 0a701d4c
      simarchive subset all.h5 dry.h5 --exclude-component O
    """
    from simarchive.queries.literals import read_substance
    from simarchive.storage.display.rows import substances_of
    from simarchive.storage.merging import SubstanceFilter, merge, plan

    filters = SubstanceFilter.of(
        map(read_substance, include_substance),
        include_component,
        map(read_substance, exclude_substance),
        exclude_component,
    )
    if filters.lets_all_pass and not what:
        raise InvalidDataError(
            "nothing is selected, and no filter is given: name keys, or criteria such as phase=liquid, or a"
            " component, as in --exclude-component O"
        )

    def selected(source: HDF5Storage) -> list[str] | None:
        keys = choose(source, what)
        if filters.lets_all_pass:
            return keys
        return filters.may_pass(source.keys() if keys is None else keys, substances_of(source))

    keep = None if filters.lets_all_pass else filters.passes
    if dry_run:
        with opening.for_reading(container) as source:
            report = plan(None, [source], keep=keep, keys=[selected(source)])[0]
        report_merge({str(container): report}, target, as_json=as_json, dry_run=True)
        return
    with (
        opening.for_reading(container) as source,
        contextlib.nullcontext(selected(source)) as keys,
        opening.new_container(target, codec=codec) as chosen,
        objects_bar("copying", None if keys is None else len(keys), chosen) as progress,
    ):
        report = merge(chosen, source, keep=keep, keys=keys, progress=progress)
        if not what:
            with_problems(report, source)
    report_merge({str(container): report}, target, as_json=as_json)
