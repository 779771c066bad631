"""Tables as text."""

from stylegen.io.tables import table

ROWS = [{"name": "a", "count": 1234, "share": 0.5}, {"name": "long", "count": None}]
COLUMNS = {"name": ("name", "<"), "count": ("images", ","), "share": ("share", ".1%")}


def test_words_stand_left_and_numbers_right():
    assert table(ROWS, COLUMNS).splitlines() == [
        "name  images  share",
        "a      1,234  50.0%",
        "long       -      -",
    ]


def test_a_rule_below_the_titles():
    assert table(ROWS, COLUMNS, rule=True).splitlines()[:2] == ["name  images  share", "-------------------"]


def test_without_titles_columns_are_as_wide_as_their_values():
    assert table(ROWS, {"count": ("images", ""), "name": ("name", "<")}, header=False).splitlines() == [
        "1234  a",
        "   -  long",
    ]


def test_no_rows():
    assert table([], COLUMNS) == "name  images  share"
    assert table([], COLUMNS, header=False) == ""
