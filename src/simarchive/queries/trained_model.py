"""Queries for stored models."""

from __future__ import annotations

from simarchive.chemistry.substances import Substance
from simarchive.data.trained_model import TrainedModelData
from simarchive.queries.base import BaseDataQuery
from simarchive.queries.criteria import Criterion
from simarchive.queries.registry import register_query_class


@register_query_class
class TrainedModelQuery(BaseDataQuery):
    """A query for trained models; `contains_components` asks what a model was trained for."""

    name: Criterion[str]
    framework: Criterion[str]
    target_property: Criterion[str]
    substances: Criterion[list[Substance]]
    domain: Criterion[str]

    @classmethod
    def data_class(cls) -> type[TrainedModelData]:
        """Return `TrainedModelData`."""
        return TrainedModelData
