"""One bit of a container is another: nothing false is read, verify names it, and all that is sound is saved.

``SIMARCHIVE_FLIPS`` sets how many bits are flipped, one in each copy; a long run, which can be broken off and
gone on with, is ``python tests/hostile/campaign.py FOLDER --flips 10000``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import campaign
import flipped_bits
import pytest
from anatomy import CLASSES, anatomy

FLIPS = int(os.environ.get("SIMARCHIVE_FLIPS", "16"))
OTHERS = int(os.environ.get("SIMARCHIVE_DAMAGES", "10"))
SEED = int(os.environ.get("SIMARCHIVE_SEED", "11"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("campaign")
    campaign.container(folder)
    return folder


def test_a_sound_container_answers_everything(folder: Path, tmp_path: Path) -> None:
    path = campaign.container(folder)
    answers = flipped_bits.read_all(path, tmp_path)
    assert {asked for asked in answers if asked.startswith("run-0: ")} == {
        "run-0: retrieved",
        "run-0: loaded",
        "run-0: queried",
    }
    for copy in flipped_bits.COPYING:
        assert answers[f"{copy}: run-0: retrieved"] == answers["run-0: retrieved"]
    assert answers["run-0/shared.bin: extracted"] == bytes(range(256)) * 300
    assert answers["exported: run-0: files"]["shared.bin"] == bytes(range(256)) * 300
    # Every class of place is there, and the objects have what is theirs.
    found = anatomy(path)
    assert {found.kind(offset) for offset in range(path.stat().st_size)} == set(CLASSES)
    assert all(map(any, found.owners.values()))


def check(results: list[campaign.Result], count: int) -> None:
    print(campaign.as_markdown(campaign.counts(results)))
    wrong = [json.dumps(result) for result in results if result["wrong"]]
    assert not wrong, "\n".join(wrong)
    assert len(results) == count


def test_a_flipped_bit_gives_no_false_value_and_no_foreign_error_and_is_named(folder: Path) -> None:
    damages = list(dict.fromkeys(campaign.flips(campaign.container(folder), FLIPS, SEED)))
    check(campaign.run(folder, damages), len(damages))


def test_what_is_damaged_by_bytes_sectors_and_pages_too(folder: Path) -> None:
    damages = list(dict.fromkeys(campaign.other_kinds(campaign.container(folder), OTHERS, SEED)))
    check(campaign.run(folder, damages), len(damages))
