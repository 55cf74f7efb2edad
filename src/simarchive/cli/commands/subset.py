"""`simarchive subset`: copy some objects of a container into a new one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from simarchive.cli import opening
from simarchive.cli.arguments import PATH, codec_option, container_argument, json_option
from simarchive.cli.merge_report import report_merge
from simarchive.cli.progress_bars import objects_bar
from simarchive.errors import InvalidDataError

if TYPE_CHECKING:
    from simarchive.data import BaseStoredData
    from simarchive.queries.substance import ComponentPattern


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
    from simarchive.storage.merging import merge

    filters = SubsetFilter.of(include_component, exclude_component, include_substance, exclude_substance)
    with (
        opening.for_reading(container) as source,
        opening.new_container(target, codec=codec) as chosen,
        objects_bar("copying", None, chosen) as progress,
    ):
        report = merge(chosen, source, keep=filters.passes, progress=progress)
    report_merge({str(container): report}, target, as_json=as_json)


@dataclass(frozen=True, slots=True)
class SubsetFilter:
    """Which objects a subset has; an empty part lets all pass."""

    include_components: tuple[ComponentPattern, ...]
    exclude_components: tuple[ComponentPattern, ...]
    include_substances: frozenset[str]
    exclude_substances: frozenset[str]

    @classmethod
    def of(
        cls,
        include_components: tuple[str, ...],
        exclude_components: tuple[str, ...],
        include_substances: tuple[str, ...],
        exclude_substances: tuple[str, ...],
    ) -> SubsetFilter:
        """Return the filter of what a person wrote.

        Raises
        ------
        InvalidDataError
            If a SMILES or substance cannot be read, there is no filter, or two contradict each other.
        """
        from simarchive.queries.literals import read_substance
        from simarchive.queries.substance import ComponentPattern

        components = [
            tuple(ComponentPattern.of(text) for text in texts)
            for texts in (include_components, exclude_components)
        ]
        substances = [
            frozenset(read_substance(text).identifier for text in texts)
            for texts in (include_substances, exclude_substances)
        ]
        both = [*{*components[0]} & {*components[1]}, *substances[0] & substances[1]]
        if both:
            raise InvalidDataError(f"{', '.join(map(str, both))} cannot be both included and excluded")
        if not any((*components, *substances)):
            raise InvalidDataError(
                "no filter is given: name a component or substance, as in --exclude-component O"
            )
        return cls(components[0], components[1], substances[0], substances[1])

    def passes(self, stored: BaseStoredData) -> bool:
        """Return whether an object passes."""
        substance = getattr(stored, "substance", None)
        if substance is None:
            return not (self.include_components or self.include_substances)
        return (
            all(pattern.is_in(substance) for pattern in self.include_components)
            and not any(pattern.is_in(substance) for pattern in self.exclude_components)
            and (not self.include_substances or substance.identifier in self.include_substances)
            and substance.identifier not in self.exclude_substances
        )
