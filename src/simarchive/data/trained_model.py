"""Stored models that were trained on stored data."""

from __future__ import annotations

from typing import Annotated, ClassVar

from simarchive.chemistry.substances import Substance
from simarchive.data.base import UNSET, BaseStoredData
from simarchive.data.fields import NotIndexed
from simarchive.data.registry import register_data_class
from simarchive.errors import InvalidDataError
from simarchive.ground.conditions import ColumnKind


@register_data_class("TrainedModelData", version=1)
class TrainedModelData(BaseStoredData):
    """A trained model; its files (weights, settings, logs) are the ancillary data."""

    reference_fields: ClassVar[tuple[str, ...]] = ("training_data_keys",)

    name: Annotated[str, ColumnKind.IDENTIFIER] = UNSET
    """What the model is called."""
    framework: str = UNSET
    """The program it is made for, such as ``torch``."""
    target_property: str = UNSET
    """What it predicts, such as ``density``."""
    substances: list[Substance] | None = None
    """The substances it was trained for; needed if `domain` is not set."""
    domain: str | None = None
    """Where it may be used, in words; needed if `substances` is not set."""
    training_data_keys: Annotated[list[str], NotIndexed()] | None = None
    """The keys of the data it was trained on."""
    metrics: Annotated[dict[str, float], NotIndexed()] | None = None
    """Figures of merit by name."""

    @classmethod
    def has_ancillary_data(cls) -> bool:
        """Return True: a model is made of files."""
        return True

    def validate(self) -> None:  # type: ignore[override]
        """Raise InvalidDataError unless the required fields and substances or domain are set."""
        super().validate()
        if not self.substances and not self.domain:
            raise InvalidDataError(
                "TrainedModelData lacks substances or domain: set at least one before storing"
            )
