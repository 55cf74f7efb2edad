"""Tests that every storage backend has to pass, for those who write one.

A class of tests inherits `BackendContract` and says how a backend is opened; pytest then runs all promises of
`simarchive.StorageBackend` against it::

    from simarchive.testing import BackendContract

    class TestMyStorage(BackendContract):
        def open_backend(self, root):
            return MyStorage(root)

Needs pytest (``pip install 'simarchive[test]'``).
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["BackendContract"]


def __getattr__(name: str) -> Any:
    # Whoever wants a sample object only needs no pytest.
    if name != "BackendContract":
        raise AttributeError(f"module 'simarchive.testing' has no attribute {name!r}")
    import pytest

    module = "simarchive.testing.backend_contract"
    # Before the first import, else a promise that is broken would not say by what.
    pytest.register_assert_rewrite(module)
    return importlib.import_module(module).BackendContract
