"""Queries for force fields."""

from __future__ import annotations

from simarchive.chemistry.force_fields import ForceFieldSource
from simarchive.data.force_field import ForceFieldData
from simarchive.queries.base import BaseDataQuery
from simarchive.queries.criteria import Criterion
from simarchive.queries.registry import register_query_class


@register_query_class
class ForceFieldQuery(BaseDataQuery):
    """A query for stored force fields; a source matches by its canonical JSON."""

    force_field_source: Criterion[ForceFieldSource]

    @classmethod
    def data_class(cls) -> type[ForceFieldData]:
        """Return `ForceFieldData`."""
        return ForceFieldData
