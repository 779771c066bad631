"""Lists of classes on the command line."""

import pytest

from stylegen.cli import common


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("3", [3]),
        ("0-2,7", [0, 1, 2, 7]),
        ("cat,dog", ["cat", "dog"]),
        (" cat , 1 ,dog", ["cat", 1, "dog"]),
        ('cat,"dog, wet","7"', ["cat", "dog, wet", "7"]),
        ("Golden retriever", ["Golden retriever"]),
    ],
)
def test_numbers_and_names(text, labels):
    assert common.label_list(text) == labels


def test_as_many_as_seeds():
    assert common.parse_labels("cat", 3, "seeds") == "cat"
    assert common.parse_labels("cat,dog", 2, "seeds") == ["cat", "dog"]
    with pytest.raises(common.UsageError, match="2 classes for 3 seeds; give one, or one each"):
        common.parse_labels("cat,dog", 3, "seeds")
    with pytest.raises(common.UsageError, match="neither a number nor a range"):
        common.parse_labels("3a", 1, "seeds")
