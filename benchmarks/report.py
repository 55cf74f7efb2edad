"""How long a report of many objects takes to write, how large it is, and how soon a browser shows it.

Run ``python benchmarks/report.py [--objects 10000]``. The objects are those of the example, over and over,
each with a structure of its own. The browser is Chromium without a window (extra ``browser``); its times are
those until the table is there, and from a click until a structure is drawn: the best of three.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

from simarchive import HDF5Storage
from simarchive.interop.report import gather, write_report
from simarchive.storage.evaluator_directory import LocalFileStorage
from simarchive.storage.merging import merge

EXAMPLE = Path(__file__).parent.parent / "examples" / "stored_data"


def container(path: Path, n_objects: int) -> None:
    """Make a container of so many objects."""
    with LocalFileStorage(EXAMPLE, mode="r") as source, HDF5Storage(path) as target:
        merge(target, source)
        originals = list(target)
        with target.transaction():
            for number in range(len(originals), n_objects):
                stored, files = target.retrieve_object(originals[number % len(originals)])
                assert stored is not None
                if hasattr(stored, "source_calculation_id"):
                    stored.source_calculation_id = f"{number:032x}"  # no duplicate
                with tempfile.TemporaryDirectory() as place:
                    if files is not None:
                        shutil.copytree(files, place, dirs_exist_ok=True)
                        for pdb in Path(place).glob("*.pdb"):
                            pdb.write_text(f"REMARK {number}\n{pdb.read_text()}")
                    target.store_object(
                        stored, None if files is None else place, storage_key=f"{number:032x}"
                    )


def open_times(page: Path) -> tuple[float, float]:
    """Return the seconds until the table is there, and from a click until a structure is drawn."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader"],
        )
        opened = browser.new_page()
        start = time.perf_counter()
        opened.goto(page.as_uri())
        opened.locator("#rows th").first.wait_for()
        shown = time.perf_counter() - start
        opened.locator("#rows a").nth(4).click()
        while not opened.get_by_role("button", name="Show in 3D").is_visible():
            opened.get_by_role("button", name="Next", exact=True).first.click()
        start = time.perf_counter()
        opened.get_by_role("button", name="Show in 3D").click()
        opened.get_by_label("Drawn as").wait_for()
        drawn = time.perf_counter() - start
        browser.close()
    return shown, drawn


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--objects", type=int, default=10_000)
    n_objects = parser.parse_args().objects
    with tempfile.TemporaryDirectory() as place:
        container(Path(place) / "many.h5", n_objects)
        page = Path(place) / "report.html"
        start = time.perf_counter()
        with HDF5Storage(Path(place) / "many.h5", mode="r") as backend:
            facts = gather(backend)
        n_bytes = write_report(facts, page)
        written = time.perf_counter() - start
        times = [open_times(page) for _ in range(3)]
    print(f"{len(facts.objects):,} objects, {facts.drawings.n_structures} structures: {n_bytes / 1e6:.1f} MB")
    print(f"written in {written:.1f} s, {1e3 * written / n_objects:.2f} ms an object")
    print(f"table after {min(shown for shown, _ in times):.2f} s")
    print(f"structure after {min(drawn for _, drawn in times):.2f} s")


if __name__ == "__main__":
    main()
