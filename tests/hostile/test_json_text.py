"""JSON of others is parsed strictly and within bounds, and so are the numbers around it."""

from __future__ import annotations

import json
import struct
import time

import pytest

from simarchive.container import documents
from simarchive.errors import FormatError, InvalidDataError
from simarchive.ground import json_text
from simarchive.ground.limits import LIMITS, VARIABLE, Limits
from simarchive.journal.superblock import end_of_file

DEEP = json_text.MAX_DEPTH


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":2}',
        '{"b":[{"a":1,"a":1}]}',
        "[1e999]",
        "[-1e999]",
        "[NaN]",
        "[Infinity]",
        "[-Infinity]",
        "9" * 5000,
        "[" * (DEEP + 1) + "]" * (DEEP + 1),
        '{"a":' * (DEEP + 1) + "1" + "}" * (DEEP + 1),
        "[" * 1_000_000,
        '{"a":"\\ud800"}',
        '{"\\udc00":1}',
        '["\\ud800\\ud800"]',
        "{",
        "",
        b'["\xff"]',
        b'["\xed\xa0\x80"]',
    ],
)
def test_what_is_not_strict_json_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        json_text.parse(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a":[1,2.5,null,true,"x"]}', {"a": [1, 2.5, None, True, "x"]}),
        ('["\\ud83d\\ude00"]', ["\U0001f600"]),
        ('["\\\\ud800"]', ["\\ud800"]),
        ('["' + "[{" * 5000 + '"]', ["[{" * 5000]),
        (json_text.json.dumps([[]] * 5000), [[]] * 5000),
        (b"[1]", [1]),
    ],
)
def test_strict_json_is_what_it_says(text: str | bytes, value: object) -> None:
    assert json_text.parse(text) == value


def test_as_deep_as_the_limit_is_read() -> None:
    tree = json_text.parse("[" * DEEP + "]" * DEEP)
    for _ in range(DEEP - 1):
        (tree,) = tree
    assert tree == []


@pytest.mark.parametrize(
    ("text", "expected"), [(None, Limits()), ("5", Limits(5, 5, 5, 5)), ("many", Limits()), ("-1", Limits())]
)
def test_one_variable_of_the_environment_sets_all_limits(text: str | None, expected: Limits) -> None:
    assert Limits.of_environment(text) == expected


@pytest.mark.parametrize("end", [2**63, 2**64 - 1, 2**63 - 1])
def test_a_superblock_whose_end_no_file_has_is_a_format_error(end: int) -> None:
    superblock = b"\x89HDF\r\n\x1a\n" + bytes([3, 8, 8, 0]) + bytes(16) + struct.pack("<Q", end) + bytes(12)
    with pytest.raises(FormatError, match="no file does"):
        end_of_file(superblock, "a.h5")


def repeated(value: str, number: int) -> str:
    return f"[{','.join([value] * number)}]"


@pytest.mark.parametrize("value", ["[]", "{}", '""', '{"":0}', "0"])
def test_many_values_are_refused_before_they_take_memory(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LIMITS, "values_bytes", 40_000_000)
    text = repeated(value, 1_100_000)
    with pytest.raises(ValueError, match=f"of memory.*{VARIABLE}"):
        json_text.parse(text)


def test_punctuation_in_a_string_is_no_value() -> None:
    text = json.dumps('[{,:\\"' * 400_000)
    assert len(json_text.parse(text)) == 2_400_000


def test_what_could_not_be_read_again_is_not_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LIMITS, "values_bytes", 1_000_000)
    with pytest.raises(InvalidDataError, match="cannot be stored"):
        documents.encode({"a": [[]] * 20_000})


def test_a_key_that_stands_twice_is_found_in_linear_time() -> None:
    text = "{" + ",".join(f'"{number}":0' for number in range(100_000)) + ',"99999":0}'
    begin = time.process_time()
    with pytest.raises(ValueError, match="'99999' twice"):
        json_text.parse(text)
    assert time.process_time() - begin < 5
