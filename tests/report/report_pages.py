"""Pages as a browser's parser sees them, and containers to report on."""

from __future__ import annotations

import base64
import json
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np

from simarchive import HDF5Storage
from simarchive.storage.evaluator_directory import LocalFileStorage
from simarchive.storage.merging import merge

ROOT = Path(__file__).parents[2]

_VOID = {"meta", "link", "input", "br"}


class Page(HTMLParser):
    """The elements of a page in order, with their attributes and the text within."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.text = text
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []  #: the innermost element that is open, and a text in it
        self.unbalanced: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        self.unbalanced += self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append((self._open[-1] if self._open else "", data))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def texts_in(self, tag: str) -> list[str]:
        return [text for name, text in self.texts if name == tag]

    @property
    def visible(self) -> str:
        return " ".join(text for name, text in self.texts if name not in ("script", "style"))

    @property
    def _blocks(self) -> list[str]:
        return self.texts_in("script")

    @property
    def table(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._blocks[0])
        return found

    @property
    def details(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._blocks[1].split("\n") if line]

    @property
    def names(self) -> list[str]:
        return self._blocks[2].split("\n")

    @property
    def structures(self) -> list[str]:
        return self._blocks[3].split("\n")

    def pdb_texts(self, place: int) -> list[str]:
        return pdb_texts(self.names, self.structures[place])

    @property
    def script(self) -> str:
        return self._blocks[-1]

    def detail(self, key: str) -> dict[str, Any]:
        place = [row[0] for row in self.table["rows"]].index(key)
        return self.details[place]


def pdb_texts(names: list[str], line: str) -> list[str]:
    """Return the frames of a line as PDB files, as the page writes them for its viewer."""
    at, n_frames, *numbers, packed = line.split(" ")
    step, *least = map(float, numbers)
    atoms = zlib.decompress(base64.b64decode(names[int(at)])).decode("ascii").splitlines()
    planes = np.frombuffer(zlib.decompress(base64.b64decode(packed)), "u1")
    low, high = planes.reshape(int(n_frames), 2, len(atoms), 3).astype(int).transpose(1, 0, 2, 3)
    unsigned = low | high << 8
    between = np.where(unsigned & 1, -(unsigned + 1) // 2, unsigned // 2)
    return [
        "".join(
            f"{atom[:30]}{''.join(f'{value:8.2f}' for value in place)}{'':22}{atom[30:]}\n"
            for atom, place in zip(atoms, frame, strict=True)
        )
        for frame in np.array(least) + between.cumsum(axis=1) * step
    ]


def imported(path: Path) -> Path:
    """Make a container with the example data."""
    with LocalFileStorage(ROOT / "examples" / "stored_data", mode="r") as source, HDF5Storage(path) as target:
        merge(target, source)
    return path
