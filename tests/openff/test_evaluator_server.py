"""`EvaluatorStorage` under Evaluator's server, whose worker processes read the files."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip(
        "openff.evaluator",
        reason="needs OpenFF Evaluator, which is on conda-forge only: docs/environments/openff-evaluator.yml",
    )

HERE = Path(__file__).parent
STORED_DATA = HERE.parents[1] / "examples" / "stored_data"


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("localhost", 0))
        port: int = listening.getsockname()[1]
    return port


def test_a_server_estimates_a_density_from_stored_data(tmp_path: Path) -> None:
    script = [str(HERE / "reweighting_for_tests.py"), str(STORED_DATA), str(free_port())]
    done = subprocess.run(
        [sys.executable, *script], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["exceptions"] == []
    (density,) = found["densities"]
    assert 0.97 < density < 1.05, "the stored boxes of water have about 1.01 g/ml"
    assert found["stored"] == 0, "the force field of the request was known"
    # Neither the scratch directory of the storage nor the files of the journal are left.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stored_data.h5", "work"]
