"""Hand-made hostile containers through all commands: each in a process of its own, whose work is measured.

None may crash, hang, take a gigabyte, end by an error that is not ours, write or read outside, or print what
commands the terminal. The normal suite runs a few; all of them, or so many, or those with a word in their
name, and a line of what they took: ``SIMARCHIVE_HOSTILE_CONTAINERS=all python -m pytest -s`` and this file.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile_containers import containers, sound_container

sys.path.insert(0, str(Path(__file__).parents[1] / "fuzz"))
try:
    from findings import Findings
    from mutated_containers import Campaign
finally:
    sys.path.pop(0)

FEW = 16
WANTED = os.environ.get("SIMARCHIVE_HOSTILE_CONTAINERS", "")
CONTAINERS = containers()


@pytest.fixture
def campaign(tmp_path: Path) -> Iterator[Campaign]:
    campaign = Campaign(Findings(tmp_path / "findings"))
    yield campaign
    campaign.close()


@pytest.fixture
def sound(tmp_path: Path) -> bytes:
    pid = os.fork()
    if pid == 0:
        sound_container(tmp_path)
        os._exit(0)
    os.waitpid(pid, 0)
    return (tmp_path / "sound.h5").read_bytes()


def chosen() -> list[str]:
    if WANTED == "all":
        return list(CONTAINERS)
    if not WANTED or WANTED.isdigit():
        # They stand in the order of places, so that each place has its share.
        return list(CONTAINERS)[:: max(1, len(CONTAINERS) // int(WANTED or FEW))]
    return [name for name in CONTAINERS if WANTED in name]


def test_what_is_hostile_harms_nothing_else(campaign: Campaign, sound: bytes) -> None:
    names, refused = chosen(), []
    for number, name in enumerate(names):
        make = CONTAINERS[name]
        if not campaign.run_prepared(lambda path, make=make: (path.write_bytes(sound), make(path)), name):
            refused.append(name)
        if WANTED and (number + 1) % 50 == 0:
            print(campaign.summary(), flush=True)
    print(campaign.summary(), f"{len(refused)} are refused by HDF5: {refused}", sep="\n")
    assert campaign.findings.seen == {}
    assert len(refused) <= 1 + len(names) // 20
