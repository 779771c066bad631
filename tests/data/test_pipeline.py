import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from stylegen.data import DataError, ImageSource, make_pipeline, pipeline
from stylegen.data.pipeline import EpochOrder
from stylegen.data.toy.source import ToySource


class Numbered(ImageSource):
    """Every pixel of image k is k."""

    resolutions = (8, 16)
    channels = 1
    description = "numbers"

    def __init__(self, num_images):
        self.num_images = num_images

    def _read(self, indices, resolution):
        image = (
            np.ones((len(indices), resolution, resolution, 1), np.uint8) * indices.astype(np.uint8)[:, None, None, None]
        )
        return {"image": image, "label": indices.astype(np.int32)}


def shown(count, batch, start=0, num_images=37, **options):
    """Numbers of the next ``count`` images, all processes together; of them what ``positions`` chooses."""
    pipeline = make_pipeline(Numbered(num_images), 8, batch, start=start, **options)
    labels = [next(pipeline)["label"] for _ in range(-(-count // batch))]
    pipeline.close()
    return np.concatenate(labels)[:count]


def test_every_epoch_is_a_new_permutation():
    numbers = shown(4 * 37, batch=5).reshape(4, 37)
    for epoch in numbers:
        assert sorted(epoch) == list(range(37))
    assert len({tuple(epoch) for epoch in numbers}) == 4


def test_the_order_does_not_depend_on_the_batch_size_or_the_threads():
    expected = shown(300, batch=1)
    for batch, workers in ((4, 0), (7, 1), (64, 3), (200, 2), (5, 12)):
        np.testing.assert_array_equal(shown(300, batch, workers=workers), expected)


def test_resuming_twice_at_odd_positions_with_other_batch_sizes_is_exact():
    expected = shown(400, batch=8)
    first, second = shown(13, batch=8), shown(118, batch=6, start=13)
    third = shown(400 - 131, batch=32, start=131)
    np.testing.assert_array_equal(np.concatenate([first, second, third]), expected)


def test_resuming_with_another_number_of_workers_is_exact():
    expected = shown(300, batch=10, workers=1)
    parts = [shown(50, batch=10, workers=11), shown(120, batch=10, start=50, workers=2)]
    np.testing.assert_array_equal(np.concatenate([*parts, shown(130, batch=10, start=170, workers=0)]), expected)


def test_all_workers_read_at_once():
    everybody = threading.Barrier(12)

    class Waiting(Numbered):
        def _read(self, indices, resolution):
            everybody.wait(timeout=20)  # until twelve batches are being read
            return super()._read(indices, resolution)

    pipeline = make_pipeline(Waiting(37), 8, 4, workers=12)
    np.testing.assert_array_equal(next(pipeline)["label"], shown(4, batch=4))
    pipeline.close()


class Costly(Numbered):
    resolutions = (8, 1024)

    def __init__(self, factor):
        super().__init__(5)
        self.factor = factor

    def read_seconds(self, resolution):
        return self.factor * super().read_seconds(resolution)


@pytest.mark.parametrize(
    "factor, resolution, accelerators, cores, workers",
    [
        (3, 1024, 1, 16, 11),  # JPEG
        (3, 1024, 2, 64, 21),
        (3, 1024, 8, 16, 16),  # never more than cores,
        (3, 1024, 1, 1, 2),  # but two
        (3, 1024, 0, 16, 2),  # a CPU trains more slowly than two can read
        (3, 512, 1, 16, 3),
        (3, 256, 1, 16, 2),
        (1, 1024, 1, 16, 4),  # raw
        (1, 256, 1, 16, 2),
        (1, 8, 8, 64, 16),
    ],
)
def test_the_number_of_workers_follows_the_cost_of_the_data(
    monkeypatch, factor, resolution, accelerators, cores, workers
):
    monkeypatch.setattr(pipeline, "usable_cores", lambda: cores)
    assert pipeline.choose_workers(Costly(factor), resolution, accelerators) == workers


def test_a_position_far_into_a_long_run_is_reached_at_once():
    start = 70_000_000 * 37 + 11
    np.testing.assert_array_equal(shown(20, batch=10, start=start), shown(26, batch=2, start=start - 6)[6:])


def test_two_processes_read_the_global_batch_between_them():
    all_positions = shown(240, batch=24, start=5).reshape(-1, 24)
    order = np.random.default_rng(0).permutation(24)
    parts = [shown(240, batch=24, start=5, positions=half).reshape(-1, 12) for half in np.split(order, 2)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), all_positions[:, order])


def test_a_run_of_one_process_resumes_on_three():
    expected = shown(18, batch=6, start=24)
    parts = [shown(18, batch=6, start=24, positions=third).reshape(-1, 2) for third in np.split(np.arange(6), 3)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1).ravel(), expected)


def test_the_seed_decides_the_order_and_may_be_negative():
    assert not np.array_equal(shown(37, batch=37, seed=1), shown(37, batch=37, seed=2))
    np.testing.assert_array_equal(shown(37, batch=37, seed=-1), shown(37, batch=37, seed=-1))


def test_the_order_is_frozen():
    # A run that is resumed with a newer version must go on as it began: change these numbers never.
    assert EpochOrder(10, seed=0)(0, 20).tolist() == [3, 7, 6, 4, 1, 0, 2, 8, 5, 9, 9, 4, 0, 8, 1, 5, 3, 2, 6, 7]


def test_a_batch_may_be_larger_than_the_data_set():
    numbers = shown(50, batch=50, num_images=3)
    assert all(sorted(numbers[i : i + 3]) == [0, 1, 2] for i in range(0, 48, 3))


def test_batches_have_the_promised_form():
    pipeline = make_pipeline(Numbered(5), 16, 4)
    batch = next(pipeline)
    pipeline.close()
    assert set(batch) == {"image", "label"}
    assert batch["image"].dtype == np.uint8 and batch["image"].shape == (4, 16, 16, 1)
    assert batch["image"].flags.c_contiguous
    assert batch["label"].dtype == np.int32 and batch["label"].shape == (4,)


def test_an_image_keeps_its_identity_when_the_resolution_changes():
    source = ToySource(50, 32)
    large, small = (next(make_pipeline(source, r, 20, start=7, workers=0)) for r in (32, 16))
    means = large["image"].reshape(20, 16, 2, 16, 2, 3).mean(axis=(2, 4))
    assert np.abs(means - small["image"]).max() <= 1.0


def test_wrong_requests_are_sentences():
    for positions in ([], [4, 5], [-1]):
        with pytest.raises(DataError, match="a batch of 5 has positions 0 to 4"):
            make_pipeline(Numbered(5), 8, 5, positions=np.array(positions, int))
    with pytest.raises(DataError, match="numbers has at most 16 pixels a side, not 32"):
        make_pipeline(Numbered(5), 32, 4)


def test_an_error_in_a_reader_thread_reaches_the_loop():
    class Broken(Numbered):
        def _read(self, indices, resolution):
            raise DataError("image 3 is damaged")

    pipeline = make_pipeline(Broken(5), 8, 4)
    with pytest.raises(DataError, match="image 3 is damaged"):
        next(pipeline)
    pipeline.close()


def test_closing_stops_the_threads():
    before = threading.active_count()
    for _ in range(5):
        pipeline = make_pipeline(Numbered(5), 8, 4, workers=2)
        next(pipeline)
        pipeline.close()
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before


def test_a_program_that_ends_with_an_open_pipeline_ends_quietly():
    code = (
        "from stylegen.data import make_pipeline\n"
        "from stylegen.data.toy.source import ToySource\n"
        "p = make_pipeline(ToySource(9, 8), 8, 4)\n"
        "next(p)\n"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=900)
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")
