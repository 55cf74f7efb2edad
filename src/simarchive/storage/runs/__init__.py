"""What the files of simulation programs say: directories of runs, read without the programs."""

from simarchive.storage.runs.run_directory import RunReading, read_run

__all__ = ["RunReading", "read_run"]
