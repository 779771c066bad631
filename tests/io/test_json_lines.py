"""Files of a JSON object a line: read past a kill, and cut where a run goes on."""

import pytest

from stylegen.io import json_lines


@pytest.fixture
def path(tmp_path):
    """Lines at 1000, 2000 and 3000 images, and half a line."""
    path = tmp_path / "stats.jsonl"
    json_lines.write(path, [{"nimg": 1000 * i, "loss": float("nan") if i == 2 else 0.1 * i} for i in (1, 2, 3)])
    with path.open("a") as file:
        file.write('{"nimg": 40')
    return path


def test_half_a_line_and_what_is_no_object_are_passed_over(path, tmp_path):
    assert [line["nimg"] for line in json_lines.read(path)] == [1000, 2000, 3000]
    (tmp_path / "odd.jsonl").write_text('7\n{"a": 1}\n\nnull\n')
    assert json_lines.read(tmp_path / "odd.jsonl") == [{"a": 1}]
    assert json_lines.read(tmp_path / "absent.jsonl") == []


@pytest.mark.parametrize(
    ("nimg", "remaining", "beyond"), [(2000, 2, True), (1999, 1, True), (3000, 3, False), (0, 0, True)]
)
def test_lines_beyond_the_place_are_dropped(path, nimg, remaining, beyond):
    before = path.read_text().splitlines(keepends=True)
    assert json_lines.drop_after(path, nimg) is beyond
    assert path.read_text() == "".join(before[:remaining]), "what is kept stays to the letter, and half a line goes"


def test_what_needs_no_change_is_not_written_again(path):
    json_lines.drop_after(path, 3000)
    before = path.stat()
    assert json_lines.drop_after(path, 3000) is False
    assert path.stat().st_ino == before.st_ino


def test_other_positions_and_lines_without_one(tmp_path):
    path = tmp_path / "stats.jsonl"
    lines = [{"phase": "a", "step": 50}, {"other": 1}, {"phase": "b", "step": 10}, {"phase": "b", "step": 20}]
    json_lines.write(path, lines)
    assert json_lines.drop_after(path, ("b", 10), lambda line: (line["phase"], line["step"])) is True
    assert json_lines.read(path) == [lines[0], lines[2]]


def test_no_file_stays_no_file(tmp_path):
    assert json_lines.drop_after(tmp_path / "absent.jsonl", 5) is False
    assert list(tmp_path.iterdir()) == []


def test_lines_that_cannot_be_read_are_set_aside_and_said(tmp_path):
    path = tmp_path / "stats.jsonl"
    bad = [
        b"\xff\xfe\x00",
        b"7",
        b"null",
        b"{}",
        b'{"nimg": "7"}',
        b'{"nimg": 7, "loss": []}',
        b"[" * 100_000,
        b"9" * 5000,
    ]
    good = [b'{"nimg": 1, "loss": NaN}', b'{"nimg": 2, "loss": 0.5}']
    path.write_bytes(b"\n".join([good[0], *bad, b"", good[1], b'{"nimg": 3, "lo']))
    note = json_lines.set_aside(path, json_lines.is_scalars)
    assert note == f"{path}: 8 lines that cannot be read are now in stats.jsonl.damaged; the 2 others are as they were."
    assert (tmp_path / "stats.jsonl.damaged").read_bytes().splitlines() == bad
    assert path.read_bytes().splitlines() == good
    assert json_lines.set_aside(path, json_lines.is_scalars) == ""
    path.write_bytes(path.read_bytes() + b"null\n")
    assert "1 line that cannot be read is now in" in json_lines.set_aside(path, json_lines.is_scalars)
    assert (tmp_path / "stats.jsonl.damaged").read_bytes().splitlines() == [*bad, b"null"]


def test_a_changed_number_is_noticed_and_set_aside(path, tmp_path):
    whole = path.read_text().splitlines(keepends=True)
    path.write_text("".join(whole[:3]).replace('"nimg": 3000', '"nimg": 1000'))
    assert [line["nimg"] for line in json_lines.read(path)] == [1000, 2000]
    assert "1 line that cannot be read is now in stats.jsonl.damaged" in json_lines.set_aside(
        path, json_lines.is_scalars
    )
    assert path.read_text() == "".join(whole[:2])


def test_lines_of_earlier_versions_have_no_checksum_and_stay_as_they_are(tmp_path):
    path = tmp_path / "stats.jsonl"
    path.write_text('{"nimg": 1, "a": 2}\n{"nimg": 2, "a": 3}\n')
    json_lines.append(path, {"nimg": 3, "a": 4})
    assert json_lines.read(path) == [{"nimg": i, "a": i + 1} for i in (1, 2, 3)]
    assert json_lines.drop_after(path, 1)
    assert path.read_text() == '{"nimg": 1, "a": 2}\n'


def test_half_a_line_at_the_end_is_nothing_to_keep(path):
    before = path.read_bytes()
    assert json_lines.set_aside(path, json_lines.is_scalars) == ""
    assert path.read_bytes() == before and len(list(path.parent.iterdir())) == 1
