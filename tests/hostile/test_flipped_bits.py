"""One bit of a container is another: what is read is what was stored, or is refused in words of ours."""

from __future__ import annotations

import os
import shutil
import traceback
from collections import Counter
from pathlib import Path

import flipped_bits
import pytest

FLIPS = int(os.environ.get("SIMARCHIVE_FLIPS", "120"))
"""How many bits are flipped, one at a time; a long run has 10,000."""

SEED = int(os.environ.get("SIMARCHIVE_SEED", "11"))
SHARES = 4


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, flipped_bits.Answers]:
    folder = tmp_path_factory.mktemp("sound")
    flipped_bits.build(folder / "sound.h5", folder / "files")
    (folder / "read").mkdir()
    return folder / "sound.h5", flipped_bits.read_all(folder / "sound.h5", folder / "read")


def test_a_sound_container_answers_everything(sound: tuple[Path, flipped_bits.Answers]) -> None:
    _, answers = sound
    assert {asked for asked in answers if asked.startswith("run-1: ")} == {
        "run-1: retrieved",
        "run-1: loaded",
        "run-1: queried",
    }
    for copy in flipped_bits.COPYING:
        assert answers[f"{copy}: run-1: retrieved"] == answers["run-1: retrieved"]
    assert answers["run-2/shared.bin: extracted"] == bytes(range(256)) * 300


@pytest.mark.parametrize("share", range(SHARES))
def test_a_flipped_bit_gives_no_false_value_and_no_foreign_error(
    sound: tuple[Path, flipped_bits.Answers], tmp_path: Path, share: int
) -> None:
    path, expected = sound
    faults: list[str] = []
    unnoticed: Counter[str] = Counter()
    for kind, offset, bit in list(flipped_bits.choose(path, FLIPS, SEED))[share::SHARES]:
        place = tmp_path / "flip"
        place.mkdir()
        flipped_bits.flipped(path, place / "a.h5", offset, bit)
        try:
            found = flipped_bits.read_all(place / "a.h5", place)
        except Exception:
            faults.append(f"{kind} at {offset}, bit {bit}: {traceback.format_exc(limit=-3)}")
        else:
            false = flipped_bits.false_answers(expected, found)
            faults += [f"{kind} at {offset}, bit {bit}: {asked} is false" for asked in false]
            unnoticed[kind] += len(found) == len(expected)
        shutil.rmtree(place)
    assert not faults, "\n".join(faults)
    # In a header there is room that nothing uses.
    assert {kind for kind in unnoticed if unnoticed[kind]} <= {"headers"}
