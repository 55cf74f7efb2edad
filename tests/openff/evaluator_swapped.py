"""A plugin for pytest: in Evaluator's own tests, the names of its storages stand for `EvaluatorStorage`.

cd tests/openff && pytest -p evaluator_swapped --pyargs openff.evaluator._tests.test_storage
"""

from __future__ import annotations

from openff.evaluator import storage
from openff.evaluator.storage import localfile, mutable

from simarchive.interop.openff import EvaluatorStorage

for module in (storage, localfile, mutable):
    for name in ("LocalFileStorage", "MutableLocalFileStorage"):
        if hasattr(module, name):
            setattr(module, name, EvaluatorStorage)
