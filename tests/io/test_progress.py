"""How durations and sizes are written, and progress lines on a terminal and in a log."""

import io
import re
import time

import pytest

from stylegen.io import progress
from stylegen.io.progress import Progress, Rate, counted, duration, in_kimg, size, with_progress


@pytest.mark.parametrize(
    "seconds, text",
    [
        (4.4, "4 s"),
        (89, "89 s"),
        (200, "3 min"),
        (5300, "88 min"),
        (5399, "1 h 30 min"),
        (7500, "2 h 05 min"),
        (7200 * 23, "46 h 00 min"),
        (777_600, "9 d 0 h"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    "count, text", [(999, "999 bytes"), (1000, "1.0 kB"), (43_210_000_000, "43.2 GB"), (5e14, "500,000 GB")]
)
def test_sizes_are_decimal(count, text):
    assert size(count) == text


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [
        (1, "image", "1 image"),
        (0, "image", "0 images"),
        (2000, "drawn room", "2,000 drawn rooms"),
        (1, "class", "1 class"),
        (6, "class", "6 classes"),
        (2, "batch", "2 batches"),
        (2, "category", "2 categories"),
        (2, "array", "2 arrays"),
    ],
)
def test_numbers_with_their_nouns(count, noun, text):
    assert counted(count, noun) == text
    assert counted(count, noun, ("is", "are")) == f"{text} {'is' if count == 1 else 'are'}"


def test_kimg_are_written_without_loss():
    assert [in_kimg(nimg) for nimg in (0, 500, 1_000_000, 12_345_678)] == ["0", "0.5", "1000", "12345.678"]


def test_work_done_before_does_not_count_towards_the_speed(now):
    rate = Rate(total=1000, done=400)
    assert rate.line(400) == "400 of 1,000 images"
    now["s"] += 10
    assert rate.line(500) == "500 of 1,000 images, 10 images/s, 50 s left"


def test_a_restart_measures_from_there(now):
    rate = Rate(total=1000)
    now["s"] += 100
    rate.restart(400)
    now["s"] += 4
    assert rate.speed(410) == 2.5 and rate.left(410) == "4 min"
    assert rate.line(410) == "410 of 1,000 images, 2.5 images/s, 4 min left"


def test_bytes_and_jobs_of_unknown_size(now):
    sized, unsized = Rate(96_000_000, unit="bytes"), Rate(0, unit="bytes")
    now["s"] += 2
    assert sized.line(4_000_000) == "4.0 MB of 96.0 MB, 2.0 MB/s, 46 s left"
    assert unsized.line(4_000_000) == "4.0 MB, 2.0 MB/s"


def test_batches_pass_and_the_first_does_not_count_towards_the_speed(now):
    """It includes compilation, which here takes 100 seconds."""
    stream = io.StringIO()

    def batches():
        for seconds in (100, 4, 11, 1):
            now["s"] += seconds
            yield range(10)

    assert list(with_progress(batches(), 1000, "images", Progress(stream))) == [range(10)] * 4
    assert stream.getvalue().splitlines() == [
        "20 of 1,000 images, 2.5 images/s, 7 min left",
        "30 of 1,000 images, 1.3 images/s, 12 min left",
    ]


def test_a_long_block_is_announced_and_a_short_one_is_not(monkeypatch):
    monkeypatch.setattr(progress, "_FIRST_SECONDS", 0.05)
    stream = io.StringIO()
    with progress.announced("Waiting for it.", Progress(stream)):
        time.sleep(0.3)
    assert re.fullmatch(r"Waiting for it\.\nThat took \d+ s\.\n", stream.getvalue())
    stream = io.StringIO()
    with progress.announced("Waiting for it.", Progress(stream)):
        pass
    assert stream.getvalue() == ""


def test_a_long_wait_for_the_first_batch_is_spoken_of(monkeypatch):
    monkeypatch.setattr(progress, "_FIRST_SECONDS", 0.05)
    stream = io.StringIO()

    def batches(seconds: float):
        time.sleep(seconds)
        yield from [range(10)] * 3

    assert len(list(with_progress(batches(0.5), 30, "images", Progress(stream)))) == 3
    waiting, came = stream.getvalue().splitlines()
    assert waiting == "Waiting for the first images; programs are compiled before them."
    assert re.fullmatch(r"The first images came after \d+ s\.", came)
    for unit, seconds in (("images", 0.0), ("bytes", 0.2)):
        stream = io.StringIO()
        list(with_progress(batches(seconds), 30, unit, Progress(stream)))
        time.sleep(0.2)
        assert stream.getvalue() == "", "nothing is said of a short wait, nor of a download"


def test_a_wait_that_fails_says_no_more(monkeypatch):
    monkeypatch.setattr(progress, "_FIRST_SECONDS", 0.05)
    stream = io.StringIO()

    def failing():
        raise ValueError("no")
        yield

    with pytest.raises(ValueError, match="no"):
        list(with_progress(failing(), 30, "images", Progress(stream)))
    time.sleep(0.2)
    assert stream.getvalue() == ""


def test_a_log_has_a_line_every_ten_seconds(now):
    stream = io.StringIO()
    shown = Progress(stream)
    for second in range(25):
        shown.update(f"at {second}")
        now["s"] += 1
    assert stream.getvalue().splitlines() == ["at 10", "at 20"]


def test_on_a_terminal_a_shorter_line_covers_the_longer_one(now, monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: True)
    shown = Progress(stream)
    shown.update("too soon")
    now["s"] += 0.5
    shown.update("longer")
    shown.update("too soon")
    now["s"] += 0.5
    shown.update("short")
    shown.say("done")
    assert stream.getvalue() == "\rlonger\rshort \r     \rdone\n"
