"""Where `EvaluatorStorage` keeps its container and what it extracts, in other processes, too."""

from __future__ import annotations

import logging
import pickle
import shutil
import signal
import subprocess
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip(
        "openff.evaluator",
        reason="needs OpenFF Evaluator, which is on conda-forge only: docs/environments/openff-evaluator.yml",
    )
    from evaluator_objects_for_tests import make_files, simulation

from simarchive.errors import InvalidDataError, NotFoundError
from simarchive.interop.openff import EvaluatorStorage

STORED_DATA = Path(__file__).parents[2] / "examples" / "stored_data"


@pytest.mark.parametrize("path", [None, "stored_data.h5", "stored_data"])
@pytest.mark.parametrize("mode", ["a", "r"])
def test_where_local_file_storage_kept_its_objects_nobody_finds_none_in_silence(
    path: str | None, mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(STORED_DATA, tmp_path / "stored_data")
    with pytest.raises(InvalidDataError, match=r"simarchive import .*/stored_data .*/stored_data\.h5"):
        EvaluatorStorage(path, mode=mode)
    assert [entry.name for entry in tmp_path.iterdir()] == ["stored_data"]
    # The line that it names, and then the same call.
    arguments = ["import", "stored_data", "stored_data.h5"]
    subprocess.run([sys.executable, "-m", "simarchive", *arguments], check=True, capture_output=True)
    with EvaluatorStorage(None if path == "stored_data" else path, mode=mode) as storage:
        assert len(storage) == 13


def test_a_directory_that_is_no_store_matters_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stored_data").mkdir()
    with pytest.raises(NotFoundError):
        EvaluatorStorage(mode="r")
    with EvaluatorStorage() as storage:
        assert len(storage) == 0


def test_that_the_cache_does_nothing_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "simarchive"):
        EvaluatorStorage(tmp_path / "a.h5").close()
        assert not caplog.records
        EvaluatorStorage(tmp_path / "a.h5", cache_objects_in_memory=True).close()
    assert "cache_objects_in_memory has no effect" in caplog.text


_KILLED = """
import os, signal, sys
from simarchive.interop.openff import EvaluatorStorage
storage = EvaluatorStorage(sys.argv[1], mode="r")
print(storage.retrieve_object(next(iter(storage)))[1], flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_extracted_is_swept_and_what_a_living_one_did_stays(tmp_path: Path) -> None:
    with EvaluatorStorage(tmp_path / "a.h5") as storage:
        storage.store_object(simulation(), make_files(tmp_path / "run"))
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, str(tmp_path / "a.h5")], capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL
    (left,) = tmp_path.glob("a.h5.scratch-*")
    assert Path(done.stdout.strip()).is_relative_to(left)
    with EvaluatorStorage(tmp_path / "a.h5", mode="r") as reader:
        key = next(iter(reader))
        _, path = reader.retrieve_object(key)
        assert not left.exists()
        # A third one sweeps, too, and must leave what the living one gave out.
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            assert pool.submit(_extracted, str(tmp_path / "a.h5"), key).result() != path
        assert (Path(path) / "output.pdb").is_file()
        assert reader.retrieve_object(key)[1] == path
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.h5", "run"]


def _extracted(container: str, key: str) -> str:
    with EvaluatorStorage(container, mode="r") as storage:
        return str(storage.retrieve_object(key)[1])


def _stored_elsewhere(storage: Any, directory: str) -> tuple[str, str, bool]:
    """Store something from another process; return its key, where its files are, and whether they are."""
    data = simulation(source_calculation_id="worker")
    key = storage.store_object(data, directory)
    path = Path(storage.retrieve_object(key)[1])
    is_there = (path / "output.pdb").is_file()
    storage.close()
    return key, str(path), is_there


@pytest.mark.parametrize("named", [None, "scratch"])
def test_it_is_sent_to_workers_and_opens_the_container_there(tmp_path: Path, named: str | None) -> None:
    scratch = None if named is None else tmp_path / named
    with EvaluatorStorage(tmp_path / "a.h5", scratch_directory=scratch, codec="raw") as storage:
        storage.store_object(simulation(), make_files(tmp_path / "run"))
        assert pickle.loads(pickle.dumps(storage)).archive.codec == "raw"
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            key, extracted_to, is_there = pool.submit(
                _stored_elsewhere, storage, str(make_files(tmp_path / "second"))
            ).result()
        assert is_there
        assert Path(extracted_to).is_relative_to(tmp_path / "scratch") is (named is not None)
        assert key in storage
        assert len(storage) == 2


def test_a_dask_worker_opens_the_container(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="Evaluator brings it")
    with (
        EvaluatorStorage(tmp_path / "a.h5") as storage,
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, dashboard_address=None, local_directory=str(tmp_path / "dask")
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        key, _, is_there = client.submit(
            _stored_elsewhere, storage, str(make_files(tmp_path / "run"))
        ).result(timeout=60)
        assert is_there
        assert key in storage
