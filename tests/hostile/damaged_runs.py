"""A program that damages copies of a container, one after the other, and does with each what people would do.

Arguments: a folder with a sound container, a file for results, a number of seconds, and damages as
``<class>:flip:<offset>:<bit>``, ``<class>:fill:<offset>:<length>:<byte>``, ``cut:cut:<number of bytes>`` or
``<class>:pages:<path of another container>:<page>:<count>``. For each it writes one line of JSON: what was
found, and what is wrong with the product. Damages of which the file of results has a line already are passed
over, so that a run that was broken off can be gone on with.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import json
import logging
import shutil
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anatomy import Anatomy, anatomy
from blake3 import blake3
from flipped_bits import Answers, false_answers, read_all

from simarchive import FormatError, HDF5Storage, SmirnoffForceFieldSource, StorageError
from simarchive.container.documents import identity_digest
from simarchive.storage.hdf5.salvage import SalvageReport, salvage
from simarchive.storage.hdf5.upkeep import repack
from simarchive.storage.hdf5.verification import VerificationReport, verify_file

PAGE = 4096
SIGNATURE_BYTES = 8
LONGEST_S = 120
"""What takes longer hangs."""

CHANGED_EACH = 10
"""Of so many damaged copies one is also changed in place in every way, where verify names the damage."""

State = dict[str, tuple[object, ...]]


def state_of(path: Path) -> State:
    """Return all that is stored under each key, as digests, of objects that can be read whole."""
    state: State = {}
    with HDF5Storage(path, mode="r") as backend:
        for key in backend.keys():  # noqa: SIM118 - not a mapping
            with contextlib.suppress(StorageError):
                stored, _ = backend.retrieve_object(key)
                assert stored is not None
                header = backend.header(key)
                infos = [info for info in backend.list_members(key) if not info.fault]
                state[key] = (
                    identity_digest(type(stored).data_class_name, stored.to_document()),
                    header.identity,
                    header.data_class,
                    header.data_class_version,
                    header.has_ancillary_data,
                    header.empty_folders,
                    tuple(sorted((info.name, _digest_of(backend, key, info.name)) for info in infos)),
                )
    return state


def _digest_of(backend: HDF5Storage, key: str, name: str) -> str:
    with backend.open_member(key, name) as file:
        return blake3(file.read()).hexdigest()


@dataclass
class Sound:
    """The container before it is damaged, and all that is known of it."""

    path: Path
    answers: Answers
    state: State
    removed: frozenset[str]  #: keys of the objects that were removed, and can be restored
    anatomy: Anatomy

    @classmethod
    def of(cls, path: Path) -> Sound:
        place = path.with_name("read")
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        with HDF5Storage(path, mode="r") as backend:
            removed = frozenset(one.key for one in backend.removed())
        return cls(path, read_all(path, place), state_of(path), removed, anatomy(path))


def damage(path: Path, how: str) -> tuple[int, int]:
    """Damage a file; return the first byte that is another one, and the one after the last."""
    _, kind, *arguments = how.split(":")
    content = bytearray(path.read_bytes())
    size = len(content)
    if kind == "cut":
        path.write_bytes(content[: max(1, size - int(arguments[0]))])
        return max(1, size - int(arguments[0])), size
    if kind == "pages":
        first, end = (PAGE * int(arguments[1]), PAGE * (int(arguments[1]) + int(arguments[2])))
        content[first:end] = Path(arguments[0]).read_bytes()[first:end][: max(0, size - first)]
    elif kind == "flip":
        first = int(arguments[0])
        content[first] ^= 1 << int(arguments[1])
        end = first + 1
    else:
        first, end = int(arguments[0]), min(size, int(arguments[0]) + int(arguments[1]))
        content[first:end] = bytes([int(arguments[2])]) * (end - first)
    path.write_bytes(content)
    return first, end


@dataclass
class Trial:
    """One damaged copy.

    Attributes
    ----------
    wrong
        What is wrong with the product, by kind.
    """

    folder: Path
    sound: Sound
    how: str
    number: int
    wrong: dict[str, list[str]] = field(default_factory=dict)
    named: bool = False

    def __post_init__(self) -> None:
        self.path = self.folder / "a.h5"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        shutil.copy(self.sound.path, self.path)
        self.range = damage(self.path, self.how)
        self.is_cut = ":cut:" in self.how
        self.is_old = ":pages:" in self.how

    def note(self, kind: str, message: str) -> None:
        self.wrong.setdefault(kind, []).append(message)

    def attempt(self, what: str, action: Callable[[], Any]) -> Any:
        """Return what an action gives, or an error of ours; note any other one."""
        try:
            return action()
        except StorageError as error:
            return error
        except Exception:
            self.note("foreign exception", f"{what}: {traceback.format_exc(limit=-4)[-900:]}")
            return None

    def run(self) -> None:
        content = self.path.read_bytes()
        if content == self.sound.path.read_bytes():
            return
        answers = self.attempt("reading", lambda: read_all(self.path, self.folder / "read"))
        report = self.attempt("verify", lambda: verify_file(self.path))
        if isinstance(report, FormatError) and len(content) < SIGNATURE_BYTES:
            return  # Nothing is left that says what it was.
        if isinstance(report, StorageError):
            self.note("no report", str(report))
            report = None
        self.named = report is not None and not report.ok
        if isinstance(answers, dict):
            false = false_answers(self.sound.answers, answers)
            if self.is_old and self.named:
                # Verify says which: the object, or that of the container by which its objects are found.
                places = {problem.key for problem in report.problems}
                false = [asked for asked in false if not self.is_told(asked, answers[asked], places)]
            if false:
                self.note("wrong value", ", ".join(sorted(false)))
            if report is not None and report.ok:
                self.check_harmless(answers)
        self.check_salvage(report)
        if self.path.read_bytes() != content:
            self.note("changed", "reading, verify or repair -o changed the file")
        if self.named and self.number % CHANGED_EACH == 0:
            self.change("rm", self.remove_one)
            self.change("repack", lambda path: repack(path, set_aside=True))
            self.change("repair", self.repair)

    def is_told(self, asked: str, answer: object, places: set[str]) -> bool:
        """Return whether a wrong answer is about nothing but objects of which verify says something."""
        if "" in places:
            return True
        if not asked.endswith(": columns"):
            return any(place in asked for place in places)
        sound = self.sound.answers[asked]
        return all(key in places for key, row in answer.items() if sound.get(key) != row)  # type: ignore[attr-defined]

    def check_harmless(self, answers: Answers) -> None:
        """Verify found nothing: then all reads as before, and HDF5 can change the file rightly."""
        missing = sorted(set(self.sound.answers) - set(answers))
        if missing:
            self.note("not named", f"verify finds nothing, but these cannot be read: {missing[:3]}")
        if self.is_cut and not self.how.endswith(":128"):
            self.note("not named", "verify does not notice the cut")
        copy = Path(shutil.copy(self.path, self.folder / "changed.h5"))
        key = next(iter(self.sound.state))
        after = self.attempt("a change", lambda: self.changed(copy, key))
        expected = {other: state for other, state in self.sound.state.items() if other != key}
        if after != expected:
            self.note("not named", f"verify finds nothing, but a change goes wrong: {after!s:.300}")

    @staticmethod
    def changed(path: Path, key: str) -> State:
        with HDF5Storage(path) as backend:
            backend.remove_object(key)
            for length in (10, 30_000):
                source = SmirnoffForceFieldSource(f"<SMIRNOFF><!-- {'n' * length} --></SMIRNOFF>")
                new = backend.store_force_field(source)
            backend.remove_object(new)
            backend.remove_object(backend.keys()[-1])
        report = verify_file(path)
        assert report.ok, report.problems[:2]
        return state_of(path)

    def check_salvage(self, report: VerificationReport | None) -> None:
        new = self.folder / "new.h5"
        saved = self.attempt("repair -o", lambda: salvage(self.path, new))
        if isinstance(saved, StorageError):
            if not self.is_cut:
                self.note("not saved", f"nothing is saved: {saved}")
        elif saved is not None:
            self.check_saved(saved, new)
            if report is not None and report.ok and not saved.ok:
                self.note("not named", "verify finds nothing, but something could not be saved")

    def check_saved(self, saved: SalvageReport, new: Path) -> None:
        found = self.attempt("reading what was saved", lambda: state_of(new))
        if not isinstance(found, dict):
            self.note("not saved", f"what was saved cannot be read: {found}")
            return
        original = self.sound.state
        if not self.is_old:
            for key, state in found.items():
                full = original.get(key)
                if full is None:
                    is_told = key in self.sound.removed and any(
                        "may have been removed" in remark for remark in saved.remarks
                    )
                    if key not in saved.new_keys.values() and not is_told:
                        self.note("wrong value", f"{key} is saved, and was never there")
                elif state[:-1] != full[:-1] or not {*state[-1]} <= {*full[-1]}:  # type: ignore[misc]
                    self.note("wrong value", f"{key} is saved wrongly")
            touched = self.sound.anatomy.touched(*self.range)
            lost = [key for key in original if found.get(key) != original[key] and key not in touched]
            if lost and not self.is_cut:
                self.note("not saved", f"{lost} were not touched, and are not saved whole; {saved.as_dict()}")
        check = self.attempt("verify of what was saved", lambda: verify_file(new, full=True))
        if not isinstance(check, VerificationReport) or not check.ok:
            problems = check.problems[:2] if isinstance(check, VerificationReport) else check
            self.note("not saved", f"what was saved is not sound: {problems}")

    # --- changes in place -------------------------------------------------------------------------------

    def remove_one(self, path: Path) -> None:
        with HDF5Storage(path) as backend:
            backend.remove_object(next(iter(self.sound.state)))

    @staticmethod
    def repair(path: Path) -> None:
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
            self.note("harmed", f"after {what} ({outcome}) nothing can be read: {after}")
            return
        touched = self.sound.anatomy.touched(*self.range)
        gone = [key for key in before if before[key] != after.get(key) and key not in touched]
        if what == "rm":
            gone = [key for key in gone if key != next(iter(self.sound.state))]
        if gone:
            self.note("harmed", f"{what} ({outcome}) harmed {gone}")


def main() -> None:
    folder, results, seconds, *damages = sys.argv[1:]
    logging.getLogger("simarchive").addHandler(logging.NullHandler())
    logging.getLogger("simarchive").propagate = False
    end = time.monotonic() + float(seconds)
    sound = Sound.of(Path(folder) / "sound.h5")
    done = finished(Path(results))
    todo = [how for how in damages if how != "-"] or sys.stdin.read().splitlines()
    gc.freeze()
    with Path(results).open("a") as lines:
        for number, how in enumerate(todo):
            if how in done:
                continue
            if time.monotonic() > end:
                break
            print(json.dumps({"how": how}), flush=True)
            faulthandler.dump_traceback_later(LONGEST_S, exit=True)
            begun = time.monotonic()
            trial = Trial(Path(folder) / "trial", sound, how, number)
            trial.run()
            faulthandler.cancel_dump_traceback_later()
            found = {"how": how, "named": trial.named, "wrong": trial.wrong}
            print(json.dumps({**found, "s": round(time.monotonic() - begun, 2)}), file=lines, flush=True)


def finished(results: Path) -> set[str]:
    """Return the damages of which a file has results."""
    if not results.exists():
        return set()
    return {json.loads(line)["how"] for line in results.read_text().splitlines()}


if __name__ == "__main__":
    main()
