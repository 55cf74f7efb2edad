"""Stored force fields."""

from __future__ import annotations

from simarchive.chemistry.force_fields import ForceFieldSource
from simarchive.data.base import UNSET, HashableStoredData
from simarchive.data.registry import register_data_class


@register_data_class("ForceFieldData", version=1)
class ForceFieldData(HashableStoredData):
    """A force field; equal if the canonical JSON of the source is."""

    force_field_source: ForceFieldSource = UNSET
    """Where the force field comes from."""

    @classmethod
    def has_ancillary_data(cls) -> bool:
        """Return False: all there is stands in the document."""
        return False

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(self.force_field_source)
