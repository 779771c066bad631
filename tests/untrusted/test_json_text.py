"""JSON and numbers: what Python's own reader lets through, or falls over, is a sentence here."""

import json
import math

import pytest

from stylegen.untrusted import FileError, json_text, numbers, shown
from stylegen.untrusted.limits import MAX_DEPTH, MAX_JSON

NESTED = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not valid JSON"),
        ("", "not valid JSON"),
        (b"\xff\xfe", "no JSON, which is UTF-8: invalid start byte at byte 0"),
        (NESTED, f"nested deeper than {MAX_DEPTH} levels"),
        ('{"a":' * 100_000, "nested deeper"),
        ("9" * 5000, "a number of 5,000 digits; at most 40 are read"),
        ("1e999", "the number 1e999 is not finite"),
        ("[NaN]", "the number NaN is not finite"),
        ("-Infinity", "the number -Infinity is not finite"),
        (" " * (MAX_JSON + 1), "too many for JSON"),
    ],
)
def test_refused_with_a_sentence(text, words):
    with pytest.raises(FileError, match=f"^the settings: .*{words}"):
        json_text.parse(text, "the settings")


@pytest.mark.parametrize(
    "tree", [None, {"a": [1, 2.5, "x", {"b": []}], "c": "[[[[{{{{\\"}, [[]] * 100, -(10**39), True]
)
def test_read_as_python_does(tree):
    assert json_text.parse(json.dumps(tree), "x") == tree
    assert json_text.parse(json.dumps(tree, indent=1).encode(), "x") == tree


def test_brackets_in_strings_have_no_depth():
    tree = {"text": '\\"' + "[{" * 1000, "\\": ["{" * 1000 + "\\\\"]}
    assert json_text.parse(json.dumps(tree), "x") == tree


def test_nonfinite_numbers_where_they_are_allowed():
    assert json_text.parse("[NaN, Infinity]", "x", nonfinite=True)[1] == math.inf


def test_files_and_objects(tmp_path):
    (tmp_path / "x.json").write_text('{"a": 1}')
    assert json_text.read_object(tmp_path / "x.json") == {"a": 1}
    (tmp_path / "x.json").write_text("7")
    with pytest.raises(FileError, match="x.json: holds 7; wanted a JSON object"):
        json_text.read_object(tmp_path / "x.json")
    (tmp_path / "x.json").write_text("<!DOCTYPE html><html>")
    with pytest.raises(FileError, match=r"x.json: cannot be read as JSON: it is a web page \(a failed download\)"):
        json_text.read(tmp_path / "x.json")


def test_single_numbers():
    assert numbers.whole(7, "n", 0, 7) == 7 and numbers.finite(1, "x", 0, 1) == 1.0
    for wrong in (8, -1, True, 7.0, "7", None, math.inf):
        with pytest.raises(FileError, match="n is .*; wanted a whole number from 0 to 7"):
            numbers.whole(wrong, "n", 0, 7)
    for wrong in (2, -1e9, math.nan, math.inf, True, "1", None, []):
        with pytest.raises(FileError, match="x is .*; wanted a finite number from 0 to 1"):
            numbers.finite(wrong, "x", 0, 1)
    assert [numbers.digits(text) for text in ("0", "12", "²", "٣", "-1", "", "1" * 5000)] == [0, 12, *[None] * 5]


def test_what_is_shown_is_short_and_printable():
    assert shown("a\nb\x1b[31m\ud800") == "a\\nb\\x1b[31m\\ud800"
    assert len(shown("x" * 10**6)) <= 80 and shown(5) == "5"
