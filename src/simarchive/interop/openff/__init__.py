"""The door to OpenFF Evaluator: `EvaluatorStorage`.

Importing this module imports Evaluator; nothing else in the package does.
"""

from __future__ import annotations

try:
    from simarchive.interop.openff.storage import EvaluatorStorage
except ModuleNotFoundError as error:
    if not (error.name or "").startswith("openff"):
        raise
    raise ImportError(
        "simarchive.interop.openff needs OpenFF Evaluator, which is not installed:"
        " conda install -c conda-forge openff-evaluator"
        " (a whole environment is in docs/environments/openff-evaluator.yml)"
    ) from error

__all__ = ["EvaluatorStorage"]
