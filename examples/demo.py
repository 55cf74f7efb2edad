"""A real simulation store goes into one HDF5 file, and the documented query gets it out again."""

import json
import os
import shutil
import sys
import warnings
from hashlib import sha256
from pathlib import Path

import MDAnalysis

from simarchive import HDF5Storage, LocalFileStorage, PropertyPhase, SimulationDataQuery, Substance

EXAMPLES = Path(__file__).parent

# MDAnalysis tells everybody who opens a DCD what its next version will change.
warnings.filterwarnings("ignore", module="MDAnalysis")


def main() -> int:
    """Import, list, query, extract, check and open."""
    demo = Path("demo")
    shutil.rmtree(demo, ignore_errors=True)
    demo.mkdir()
    container = demo / "water.h5"

    with HDF5Storage(container) as backend, LocalFileStorage(EXAMPLES / "stored_data", mode="r") as directory:
        print(f"Import {EXAMPLES.name}/stored_data into {container}: {backend.update(directory)}")
        for key in backend:
            print(f"  {key}  {backend.class_name_of(key)}")
    print(f"One file of {container.stat().st_size:,} bytes.")

    with HDF5Storage(container, mode="r", scratch_directory=demo / "scratch") as backend:
        # Look for all simulation data generated for liquid water
        substance_query = SimulationDataQuery()
        substance_query.substance = Substance.from_components("O")
        substance_query.property_phase = PropertyPhase.Liquid
        found_data = backend.query(substance_query)

        matches = [match for group in found_data.values() for match in group]
        print(f"Liquid water: {len(matches)} matches in {len(found_data)} group: {list(found_data)}")

        key, data, path = matches[0]
        trajectory = Path(path) / data.trajectory_file_name
        digest = sha256(trajectory.read_bytes()).hexdigest()
        manifest = json.loads((EXAMPLES / "MANIFEST.json").read_text())
        expected = manifest["objects"][key]["files"][data.trajectory_file_name]["sha256"]
        verdict = "as it was" if digest == expected else "WRONG"
        print(f"Extracted {trajectory}: SHA-256 {digest[:16]}... {verdict}")
        if digest != expected:
            return 1

        universe = MDAnalysis.Universe(str(Path(path) / data.coordinate_file_name), str(trajectory))
        print(f"MDAnalysis reads {len(universe.trajectory)} frames of {len(universe.atoms)} atoms.")
        universe.trajectory.close()
    say_how_to_go_on(container)
    return 0


def say_how_to_go_on(container: Path) -> None:
    print(f"\nTo use the command simarchive on {container}:\n")
    activate = Path(sys.prefix) / "bin" / "activate"
    if activate.exists():
        print(f"  source {os.path.relpath(activate)}")
    print(f"  simarchive info {container}")
    print(f'  simarchive query {container} "contains=O temperature=290..310K"')
    print("  simarchive --help")


if __name__ == "__main__":
    sys.exit(main())
