"""Evaluator's own tests of its storages and layers, with `EvaluatorStorage` in the storages' place."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path
from xml.etree import ElementTree

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip(
        "openff.evaluator._tests.test_storage",
        reason="needs OpenFF Evaluator, which is on conda-forge only: docs/environments/openff-evaluator.yml",
    )

HERE = str(Path(__file__).parent)
KINDS = ("[simulation]", "[equilibration]")
DIFFERENT = {
    # There is no cache, so there is no attribute that holds it.
    **dict.fromkeys((f"test_base_data_storage{kind}" for kind in KINDS), "_cached_retrieved_objects"),
    **dict.fromkeys((f"test_cached_data_storage{kind}" for kind in KINDS), "_cached_retrieved_objects"),
    **dict.fromkeys(
        (f"test_remove_object_clears_cache{kind}" for kind in KINDS), "_cached_retrieved_objects"
    ),
    # Python hashes decide nothing (B03, B04), so none are kept.
    "test_remove_object_clears_hash_index": "_object_hashes",
    # They look for <key>.json in the directory.
    **dict.fromkeys((f"test_remove_object_deletes_json_and_directory{kind}" for kind in KINDS), "isfile"),
    # They ask that one of the two classes copies files and the other moves them; here move=True says so.
    **dict.fromkeys((f"test_parent_move_behaviour_differs{kind}" for kind in KINDS), "isdir"),
}
"""The tests that look at private attributes or files on disk, and the word in which each shows it."""


def outcomes(suite: str, work: Path) -> dict[str, str]:
    """Run tests of Evaluator in another process; return the message of each, empty if it passed."""
    # Its own settings, since those of this project make errors of Evaluator's warnings.
    (work / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-q", "-c", "pytest.ini", "-p", "no:cacheprovider"]
    command += ["-p", "evaluator_swapped", "--junitxml=outcomes.xml", "--pyargs"]
    done = subprocess.run(
        [*command, f"openff.evaluator._tests.{suite}"],
        cwd=work,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in [HERE, *sys.path] if path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    cases = ElementTree.parse(work / "outcomes.xml").iter("testcase")
    return {
        case.get("name", ""): " ".join(child.get("message", "") for child in case).strip() for case in cases
    }


def test_storage_tests_pass_but_for_those_that_look_at_private_attributes_or_files(tmp_path: Path) -> None:
    found = outcomes("test_storage", tmp_path)
    failed = {name: message for name, message in found.items() if message}
    assert failed.keys() == DIFFERENT.keys(), failed
    assert [name for name, word in DIFFERENT.items() if word not in failed[name]] == []
    assert len(found) - len(failed) >= 47


def test_layer_tests_pass(tmp_path: Path) -> None:
    found = outcomes("test_layers", tmp_path)
    assert {name: message for name, message in found.items() if message} == {}
    assert {"test_storage_retrieval", "test_workflow_layer", "test_base_layer"} <= found.keys()
