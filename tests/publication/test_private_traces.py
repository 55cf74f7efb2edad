"""Traces of a person are found in texts, and what only looks like one is not."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from simarchive import HDF5Storage, SmirnoffForceFieldSource
from simarchive.storage.publication.check import publish_check
from simarchive.storage.publication.private_traces import Trace, traces, traces_of_file


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("cd /home/jdoe/runs", "path"),
        ("path=/Users/jane.doe", "path"),
        ("'/export/home/jd01/x'", "path"),
        ("C:\\Users\\Jane\\runs", "path"),
        ('"C:\\\\Users\\\\Jane\\\\runs"', "path"),
        ("file:///home/jdoe/a.pdb", "path"),
        ("D:/Users/jane/x", "path"),
        ("/root/.config/x", "path"),
        ("REMARKS  USER: jdoe", "user"),
        ("LOGNAME=jdoe", "user"),
        ("mail jane.doe+sim@chem.example.org, please", "e-mail"),
        ("<jane@uni-x.de>", "e-mail"),
    ],
)
def test_a_trace_is_found(text: str, kind: str) -> None:
    assert [trace.kind for trace in traces(text)] == [kind]
    assert [trace.kind for trace in traces_of_file(text.encode())] == [kind]


@pytest.mark.parametrize(
    "text",
    [
        "state=298.15K@1atm",
        "a home/run away",
        "https://example.org/home/docs",
        "/home",
        "s3://bucket/home",
        "C:\\Windows\\x",
        "/home/conda/feedstock_root/build",
        "[C@@H](N)C(=O)O",
        "C[C@H](O)c1ccccc1",
        "user defined",
        "reuser: abc",
        "a@b",
        "@variable",
    ],
)
def test_what_only_looks_like_one_is_not(text: str) -> None:
    assert traces(text) == []


def test_of_a_binary_file_only_the_header_counts() -> None:
    assert traces_of_file(b"CORD\0\0 /home/jdoe/x" + b"\0" * 9000) == [Trace("path", "/home/jdoe/x")]
    assert traces_of_file(b"\0" * 5000 + b"/home/jdoe/x") == []
    assert traces_of_file(b"\0 a@bc.de") == []


@pytest.mark.parametrize(
    "text", ["/home/a" * 150_000, "a.@" * 300_000, "x@" + "a." * 400_000, "C:/Users/" * 100_000]
)
def test_a_text_that_is_made_to_take_long_does_not(text: str) -> None:
    before = time.process_time()
    traces(text[: 1 << 20])
    assert time.process_time() - before < 10


def test_who_changed_an_object_is_named_before_it_is_published(tmp_path: Path) -> None:
    with HDF5Storage(tmp_path / "a.h5") as backend:
        key = backend.store_force_field(SmirnoffForceFieldSource("<SMIRNOFF/>"))
        assert not [finding for finding in publish_check(backend).findings if finding.kind == "user"]
        backend.add_note(key, "see /home/ada/runs", by="Ada")
        found = [finding for finding in publish_check(backend).findings if finding.key == key]
    assert {"user", "path"} <= {finding.kind for finding in found}
    assert any("Ada" in finding.message for finding in found)
