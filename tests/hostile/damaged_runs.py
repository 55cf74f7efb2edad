"""A program that damages copies of a container, one after the other, and does with each what people would do.

Arguments: the sound container, a folder to work in, and damages as ``flip:<offset>:<mask>`` or
``cut:<number of bytes>``. It prints one line of JSON for each: what is wrong, or nothing.
"""

from __future__ import annotations

import json
import logging
import shutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from blake3 import blake3

from simarchive import FormatError, HDF5Storage, StorageError
from simarchive.storage.hdf5.salvage import salvage
from simarchive.storage.hdf5.upkeep import repack
from simarchive.storage.hdf5.verification import verify_file

SIGNATURE_BYTES = 8
State = dict[str, tuple[str, tuple[tuple[str, str], ...]]]


def state_of(path: Path) -> State:
    """Return identity and digests of files by key, of objects of which everything can be read."""
    state: State = {}
    with HDF5Storage(path, mode="r") as backend:
        for key in backend.keys():  # noqa: SIM118 - not a mapping
            try:
                stored, _ = backend.retrieve_object(key)
                assert stored is not None
                digests = []
                for info in backend.list_members(key):
                    if info.fault:
                        continue
                    with backend.open_member(key, info.name) as file:
                        digest = blake3(file.read()).hexdigest()
                    assert digest == info.digest
                    digests.append((info.name, digest))
                state[key] = backend.header(key).identity, tuple(sorted(digests))
            except StorageError:
                continue
    return state


def damage(path: Path, how: str) -> None:
    kind, number, *mask = how.split(":")
    with path.open("r+b") as file:
        if kind == "cut":
            file.truncate(max(1, path.stat().st_size - int(number)))
            return
        file.seek(int(number))
        byte = file.read(1)[0]
        file.seek(int(number))
        file.write(bytes([byte ^ int(mask[0])]))


class Trial:
    """One damaged copy, and what is found to be wrong with the product."""

    def __init__(self, folder: Path, sound: Path, original: State, how: str) -> None:
        self.folder, self.original, self.how = folder, original, how
        self.path = folder / "a.h5"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        shutil.copy(sound, self.path)
        damage(self.path, how)
        self.wrong: list[str] = []
        self.damaged: set[str] = set()

    def attempt(self, what: str, action: Callable[[], object]) -> object:
        """Return what an action gives, or an error of ours; note any other one."""
        try:
            return action()
        except StorageError as error:
            return error
        except Exception:
            self.wrong.append(f"{what}: {traceback.format_exc(limit=-4)[-900:]}")
            return None

    def run(self) -> None:
        before = self.path.read_bytes()
        is_cut = self.how.startswith("cut")
        report = self.attempt("verify", lambda: verify_file(self.path))
        if isinstance(report, FormatError) and len(before) < SIGNATURE_BYTES:
            return  # Nothing is left that says what it was.
        if isinstance(report, StorageError):
            self.wrong.append(f"verify gives no report: {report}")
            report = None
        new = self.folder / "new.h5"
        saved = self.attempt("salvage", lambda: salvage(self.path, new))
        if self.path.read_bytes() != before:
            self.wrong.append("the file was changed")
        if sorted(place.name for place in self.folder.iterdir() if not place.name.startswith("new.h5")) != [
            "a.h5"
        ]:
            self.wrong.append("something was left beside it")
        if isinstance(saved, StorageError):
            if not is_cut:
                self.wrong.append(f"nothing is saved: {saved}")
        elif saved is not None:
            self.damaged = {*saved.damaged, *saved.incomplete}
            found = state_of(new)
            for key, state in found.items():
                full = self.original.get(key)
                if full is None:
                    self.wrong.append(f"{key} is new")
                elif state[0] != full[0] or not set(state[1]) <= set(full[1]):
                    self.wrong.append(f"{key} is saved wrongly")
            whole = [key for key, state in found.items() if state == self.original.get(key)]
            if not is_cut and len(whole) < len(self.original) - 1:
                self.wrong.append(f"only {len(whole)} of {len(self.original)} objects are saved")
            if report is not None and report.ok and not saved.ok:
                self.wrong.append("verify says that all is well, but something could not be saved")
            check = verify_file(new, full=True)
            if not check.ok:
                self.wrong.append(f"what was saved is not sound: {check.problems[:2]}")
        if (
            report is not None
            and report.ok
            and self.attempt("read", lambda: state_of(self.path)) != self.original
        ):
            self.wrong.append("verify says that all is well, but not everything can be read")
        if report is not None and is_cut and report.ok and self.how != "cut:128":
            self.wrong.append("verify does not notice the cut")
        self.change("rm", self.remove_one)
        self.change("repack", lambda path: repack(path, set_aside=True))
        self.change("repair", self.repair)

    def remove_one(self, path: Path) -> None:
        with HDF5Storage(path) as backend:
            backend.remove_object(next(iter(self.original)))

    def repair(self, path: Path) -> None:
        with HDF5Storage(path) as backend:
            backend.repair()

    def change(self, what: str, action: Callable[[Path], object]) -> None:
        """Make a change to another copy: what could be read before can be read afterwards."""
        copy = self.folder / f"{what}.h5"
        shutil.copy(self.path, copy)
        before = self.attempt(f"before {what}", lambda: state_of(copy))
        outcome = self.attempt(what, lambda: action(copy))
        if not isinstance(before, dict):
            return
        after = self.attempt(f"after {what}", lambda: state_of(copy))
        if not isinstance(after, dict):
            self.wrong.append(f"after {what} ({outcome}) nothing can be read: {after}")
            return
        gone = [key for key in before if before[key] != after.get(key) and key not in self.damaged]
        if what == "rm":
            gone = [key for key in gone if key != next(iter(self.original))]
        if gone:
            self.wrong.append(f"{what} ({outcome}) harmed {gone}")


def main() -> None:
    sound, folder, *damages = sys.argv[1:]
    logging.getLogger("simarchive").addHandler(logging.NullHandler())
    logging.getLogger("simarchive").propagate = False
    original = state_of(Path(sound))
    for how in damages:
        trial = Trial(Path(folder) / "trial", Path(sound), original, how)
        trial.run()
        print(json.dumps({"how": how, "wrong": trial.wrong}), flush=True)


if __name__ == "__main__":
    main()
