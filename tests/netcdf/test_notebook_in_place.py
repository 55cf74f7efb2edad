"""The notebook of the tutorial is run as a user would, and writes no file."""

from __future__ import annotations

import base64
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from simarchive import HDF5Storage, LocalFileStorage

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "docs" / "tutorial" / "analyse_in_place.ipynb"


def test_the_notebook_plots_and_slices_and_extracts_nothing(tmp_path: Path) -> None:
    with (
        HDF5Storage(tmp_path / "water.h5") as backend,
        LocalFileStorage(ROOT / "examples" / "stored_data", mode="r") as directory,
    ):
        backend.update(directory)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    # What analyses write would be here, or in the directory of temporary files.
    scratch = tmp_path / "scratch"
    watched = nbformat.v4.new_code_cell(
        "import os, tempfile\n"
        "os.environ['MPLCONFIGDIR'] = tempfile.mkdtemp()\n"
        f"os.mkdir({str(scratch)!r}); tempfile.tempdir = {str(scratch)!r}\n"
        "%matplotlib inline"
    )
    notebook.cells.insert(0, watched)
    client = NotebookClient(
        notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    images = [output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    assert [base64.b64decode(image)[:4] for image in images] == [b"\x89PNG"]
    texts = [output["data"].get("text/plain", "") for output in outputs if "data" in output]
    assert any("<Universe with 540 atoms>, 60" in text for text in texts)
    assert any("(frame: 60)" in text for text in texts)
    assert texts[-1] == "'1.013 g mL-1'"
    assert list(scratch.iterdir()) == []
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path != scratch} == before
