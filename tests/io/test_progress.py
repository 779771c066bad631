"""How durations and sizes are written, and progress lines on a terminal and in a log."""

import io

import pytest

from stylegen.io import progress
from stylegen.io.progress import Progress, Rate, duration, size


@pytest.mark.parametrize(
    "seconds, text",
    [
        (4.4, "4 s"),
        (89, "89 s"),
        (200, "3 min"),
        (5300, "88 min"),
        (5399, "1 h 30 min"),
        (7500, "2 h 05 min"),
        (777_600, "216 h 00 min"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    "count, text", [(999, "999 bytes"), (1000, "1.0 kB"), (43_210_000_000, "43.2 GB"), (5e14, "500,000 GB")]
)
def test_sizes_are_decimal(count, text):
    assert size(count) == text


@pytest.fixture
def now(monkeypatch):
    """The time, which a test may move."""
    time = {"s": 1000.0}
    monkeypatch.setattr(progress.time, "monotonic", lambda: time["s"])
    return time


def test_work_done_before_does_not_count_towards_the_speed(now):
    rate = Rate(total=1000, done=400)
    assert rate.line(400) == "400 of 1,000 images"
    now["s"] += 10
    assert rate.line(500) == "500 of 1,000 images, 10 images/s, 50 s left"


def test_a_log_has_a_line_every_ten_seconds(now):
    stream = io.StringIO()
    shown = Progress(stream)
    for second in range(25):
        shown.update(f"at {second}")
        now["s"] += 1
    assert stream.getvalue().splitlines() == ["at 0", "at 10", "at 20"]


def test_on_a_terminal_a_shorter_line_covers_the_longer_one(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: True)
    shown = Progress(stream)
    shown.update("longer")
    shown.update("short")
    shown.say("done")
    assert stream.getvalue() == "\rlonger\rshort \r     \rdone\n"
