"""`simarchive subset`: copy some objects of a container into a new one."""

from __future__ import annotations

from pathlib import Path

import click

from simarchive.cli import opening
from simarchive.cli.arguments import PATH, codec_option, container_argument, json_option
from simarchive.cli.isolation import isolated_option, of_others
from simarchive.cli.merge_report import report_merge, with_problems
from simarchive.cli.progress_bars import objects_bar
from simarchive.errors import InvalidDataError


@click.command("subset", short_help="Copy the objects that pass filters into a new container.")
@container_argument
@click.argument("target", metavar="OUT", type=PATH)
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
@codec_option
@json_option
@isolated_option("container", rule=of_others, made="target")
def command(
    container: Path,
    target: Path,
    include_component: tuple[str, ...],
    exclude_component: tuple[str, ...],
    include_substance: tuple[str, ...],
    exclude_substance: tuple[str, ...],
    codec: str,
    as_json: bool,
) -> None:
    """Copy the objects of FILE that pass all filters into a new container OUT.

    SMILES is a component in any role, or in a given one: "C{sol}". SUBSTANCE is written as in queries: "O",
    "O|CO". Whatever a passing object refers to, such as its force field, is copied too. Objects without a
    substance pass unless something has to be included.

    \b
    Example:
      simarchive subset all.h5 dry.h5 --exclude-component O
    """
    from simarchive.queries.literals import read_substance
    from simarchive.storage.merging import SubstanceFilter, merge

    filters = SubstanceFilter.of(
        map(read_substance, include_substance),
        include_component,
        map(read_substance, exclude_substance),
        exclude_component,
    )
    if filters.lets_all_pass:
        raise InvalidDataError(
            "no filter is given: name a component or substance, as in --exclude-component O"
        )
    with (
        opening.for_reading(container) as source,
        opening.new_container(target, codec=codec) as chosen,
        objects_bar("copying", None, chosen) as progress,
    ):
        report = with_problems(merge(chosen, source, keep=filters.passes, progress=progress), source)
    report_merge({str(container): report}, target, as_json=as_json)
