"""A query expression is read in time in proportion to its length, or refused, in words that are few."""

import time

import pytest

from simarchive import InvalidDataError
from simarchive.errors import QuerySyntaxError
from simarchive.queries import expression, literals
from simarchive.queries.expression import parse_query

PLACES = [
    "{}",
    "{}=1",
    "T={}",
    "T={}K",
    "T={}x",
    "T=1..{}K",
    "T={}..300K",
    "T=1m{}",
    "T=1 K{}",
    "molecules={}",
    "molecules>{}",
    "molecules<={}",
    "inefficiency={}",
    "inefficiency<={}",
    "limit={}",
    "order_by={}",
    "class={}",
    "phase={}",
    "force_field={}",
    "contains={}",
    "substance={}",
    "substance=C{{n={}}}",
    "substance=C{{x={}}}|O",
    "state=1K@{}atm",
]
PIECES = [
    "1",
    "9",
    "1.",
    "1e",
    ".",
    " ",
    "  K",
    "(",
    "m*",
    "[",
    "{",
    "|",
    "C|",
    "K,",
    "!",
    "'",
    '"',
    "-",
    "C(",
    "²",
]
MORE_PIECES = ["liquid,", "phase=liquid ", "a_", "**9", "O,", '"x",', "T", "\t", "\x1b", "٣", "e", "+"]


def outcome(text: str) -> str:
    """Return what is said of an expression, which must be an error of ours."""
    try:
        parse_query(text)
    except InvalidDataError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("place", PLACES)
def test_long_texts_are_read_or_refused_in_linear_time(place: str) -> None:
    outcome("T=1K substance=O")  # what is imported and built once
    for piece in PIECES + MORE_PIECES:
        for size in (17, 400, expression.LONGEST - 40):
            text = place.format(piece * (size // len(piece)))
            begin = time.process_time()
            said = outcome(text)
            assert time.process_time() - begin < 1.5, (place, piece, size)
            assert len(said) < 2500, (place, piece, size)


def test_twice_the_length_takes_about_twice_the_time() -> None:
    """The patterns themselves, at a length that the bound of expressions does not let through."""

    def seconds(size: int) -> float:
        begin = time.process_time()
        for _ in range(3):
            for text in ("1" * size, "1" * size + "x", "1" + " " * size + "x", "." * size, "1e" + "1" * size):
                literals._UNIT_AT_END.fullmatch(text)
                literals._PLAIN_NUMBER.fullmatch(text)
        return time.process_time() - begin

    seconds(1000)
    once = min(seconds(200_000) for _ in range(3))
    twice = min(seconds(400_000) for _ in range(3))
    assert twice < 4 * once


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("T=" + "1" * 500 + "K", "too large"),
        ("T=1e999K", "too large"),
        ("T=" + "1" * 20000, "needs a unit, such as 298.15K"),
        ("molecules=" + "1" * 5000, "an integer"),
        ("molecules>" + "1" * 400, "an integer"),
        ("limit=" + "1" * 5000, "number of objects"),
        ("substance=C{n=" + "1" * 3000 + "x}", "not an amount"),
        ("substance=" + "C" * 5000, "longer than"),
        ("contains=" + "C(" * 2000 + "C" + ")" * 2000, "longer than"),
        ("a" * (expression.LONGEST + 1), "at most 100,000 characters"),
    ],
)
def test_what_is_too_long_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(QuerySyntaxError, match=words) as caught:
        parse_query(text)
    assert len(str(caught.value)) < 1200


def test_the_mark_stands_under_the_place_in_a_long_expression() -> None:
    text = "force_field=" + ",".join("f" * 32 for _ in range(50)) + " phase=solidd " + "molecules=1 " * 50
    with pytest.raises(QuerySyntaxError) as caught:
        parse_query(text)
    _, shown, marks = str(caught.value).split("\n")
    assert len(shown) < 500
    assert shown[marks.index("^") : marks.index("^") + len(marks.strip())] == "solidd"


def test_numbers_of_many_digits_that_a_float_holds_are_taken() -> None:
    query = parse_query("T=" + "0" * 500 + "298.15" + "0" * 500 + "K")
    assert repr(query) == repr(parse_query("T=298.15K"))
