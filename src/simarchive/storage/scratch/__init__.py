"""Where files are extracted to: real directories, shared by processes, kept while they are valid."""

from simarchive.storage.scratch.ancillary_path import AncillaryPath, ReplacedError
from simarchive.storage.scratch.scratch import Scratch, ScratchDirectory
from simarchive.storage.scratch.shared_files import SharedFiles
from simarchive.storage.scratch.stamps import ScratchFile
from simarchive.storage.scratch.temporary_folder import TemporaryFolder

__all__ = [
    "AncillaryPath",
    "ReplacedError",
    "Scratch",
    "ScratchDirectory",
    "ScratchFile",
    "SharedFiles",
    "TemporaryFolder",
]
