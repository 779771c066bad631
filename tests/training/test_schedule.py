"""The schedule against the original's, written out and as a formula of its own."""

import dataclasses

import numpy as np
import pytest

from stylegen.config import Config, DataConfig, OptimizerConfig, ScheduleConfig
from stylegen.training import schedule


def make_config(resolution=256, **options):
    return Config(
        resolution=resolution,
        data=DataConfig(source="images", batch=32),
        optimizer=OptimizerConfig(learning_rate=0.001),
        schedule=ScheduleConfig(**options),
    )


# The original's settings for LSUN bedrooms on 8 GPUs.
BEDROOM = make_config(
    total_kimg=70_000,
    batch={4: 512, 8: 256, 16: 128, 32: 64, 64: 32},
    learning_rate={128: 0.0015, 256: 0.002, 512: 0.003, 1024: 0.003},
)
TINY = make_config(
    resolution=32, total_kimg=10, stable_kimg=2, fade_kimg=1, stable_kimg_at={16: 3}, fade_kimg_at={32: 0.5}
)


def test_phases_are_those_of_the_original():
    rows = [
        (p.start / 1000, p.end / 1000, p.resolution, p.kind, p.batch_size, p.learning_rate)
        for p in schedule.phases(BEDROOM)
    ]
    assert rows == [
        (0, 600, 8, "stable", 256, 0.001),
        (600, 1200, 16, "fade", 128, 0.001),
        (1200, 1800, 16, "stable", 128, 0.001),
        (1800, 2400, 32, "fade", 64, 0.001),
        (2400, 3000, 32, "stable", 64, 0.001),
        (3000, 3600, 64, "fade", 32, 0.001),
        (3600, 4200, 64, "stable", 32, 0.001),
        (4200, 4800, 128, "fade", 32, 0.0015),
        (4800, 5400, 128, "stable", 32, 0.0015),
        (5400, 6000, 256, "fade", 32, 0.002),
        (6000, 70_000, 256, "stable", 32, 0.002),
    ]
    assert [p.index for p in schedule.phases(BEDROOM)] == list(range(11))


def test_faces_reach_1024_pixels_at_8400_kimg():
    last = schedule.phases(make_config(resolution=1024, total_kimg=25_000))[-1]
    assert (last.start, last.resolution, last.kind) == (8_400_000, 1024, "stable")


def original_lod(nimg, octaves, stable=600_000, fade=600_000):
    """Level of detail by arithmetic on the clock alone: down one octave in each fade, flat between, never below 0."""
    octaves_done, within = np.divmod(np.asarray(nimg), stable + fade)
    return np.maximum(octaves - octaves_done - np.maximum(within - stable, 0) / fade, 0)


def lod(config, stage):
    """The original's measure of growing, of a stage of ours: 0 is full and stable, 1 half the resolution and stable."""
    return np.log2(config.resolution / stage.resolution) + 1 - stage.alpha


def test_lod_is_that_of_the_original():
    times = np.arange(0, 8_000_000, 7_919)
    stages = [schedule.at(BEDROOM, int(t)) for t in times]
    lods = [lod(BEDROOM, stage) for stage in stages]
    expected = original_lod(times, 5)
    np.testing.assert_allclose(lods, expected, atol=1e-9)
    assert [stage.resolution for stage in stages] == [256 // 2 ** int(np.floor(lod)) for lod in expected]
    old = expected - np.floor(expected)
    np.testing.assert_allclose([stage.alpha for stage in stages], 1 - old, atol=1e-9)


def test_moments_are_forgotten_where_the_original_forgets_them():
    # There: whenever lod rounded down or lod rounded up changes.
    times = np.arange(0, 7_000_000, 1000)
    lod = original_lod(times, 5)
    ends = np.stack([np.floor(lod), np.ceil(lod)])
    changes = times[1:][(ends[:, 1:] != ends[:, :-1]).any(0)]
    phases = np.array([schedule.at(BEDROOM, int(t)).phase for t in times])
    ours = times[1:][phases[1:] != phases[:-1]]
    # At the very beginning of a fade lod is still whole, so the original is one step later.
    assert len(ours) == len(changes) == 10
    assert np.abs(ours - changes).max() <= 1000


def test_growing_is_continuous_and_never_goes_back():
    times = range(0, 11_000, 5)
    lods = np.array([lod(TINY, schedule.at(TINY, t)) for t in times])
    steps = np.diff(lods)
    assert lods[0] == 2 and lods[-1] == 0
    assert (steps <= 1e-12).all() and steps.min() >= -5 / 500 - 1e-9


def test_durations_by_resolution():
    spans = [(p.resolution, p.kind, p.start, p.end) for p in schedule.phases(TINY)]
    assert spans == [
        (8, "stable", 0, 2000),
        (16, "fade", 2000, 3000),
        (16, "stable", 3000, 6000),
        (32, "fade", 6000, 6500),
        (32, "stable", 6500, 10_000),
    ]


@pytest.mark.parametrize(
    "nimg, resolution, alpha, phase",
    [
        (0, 8, 1.0, 0),
        (1999, 8, 1.0, 0),
        (2000, 16, 0.0, 1),
        (2250, 16, 0.25, 1),
        (2999, 16, 0.999, 1),
        (3000, 16, 1.0, 2),
        (6000, 32, 0.0, 3),
        (6125, 32, 0.25, 3),
        (6500, 32, 1.0, 4),
        (9999, 32, 1.0, 4),
        (10_000, 32, 1.0, 4),
        (99_999, 32, 1.0, 4),
    ],
)
def test_stage_at_the_boundaries(nimg, resolution, alpha, phase):
    stage = schedule.at(TINY, nimg)
    assert (stage.resolution, stage.phase) == (resolution, phase)
    assert stage.alpha == pytest.approx(alpha)


def test_batch_and_learning_rate_change_where_a_fade_begins():
    config = make_config(
        resolution=16, total_kimg=10, stable_kimg=1, fade_kimg=1, batch={16: 8}, learning_rate={16: 0.1}
    )
    before, after = schedule.at(config, 999), schedule.at(config, 1000)
    assert (before.batch_size, before.learning_rate) == (32, 0.001)
    assert (after.batch_size, after.learning_rate) == (8, 0.1)


@pytest.mark.parametrize(
    ("nimg", "rate"),
    [(0, 0.001), (4999, 0.001), (6000, 0.1), (7000, 0.075), (9000, 0.025), (9999, 0.000025), (10_000, 0)],
)
def test_the_learning_rate_falls_to_zero_in_the_cooldown(nimg, rate):
    config = make_config(
        resolution=16, total_kimg=10, stable_kimg=5, fade_kimg=1, learning_rate={16: 0.1}, cooldown_kimg=4
    )
    assert schedule.at(config, nimg).learning_rate == pytest.approx(rate)
    without = dataclasses.replace(config, schedule=dataclasses.replace(config.schedule, cooldown_kimg=0.0))
    assert schedule.phases(config) == schedule.phases(without)
    assert schedule.at(without, nimg).learning_rate == (0.001 if nimg < 5000 else 0.1)


def test_negative_time_is_refused():
    with pytest.raises(ValueError, match="nimg = -1"):
        schedule.at(TINY, -1)


def shortened(total_kimg):
    return dataclasses.replace(TINY, schedule=dataclasses.replace(TINY.schedule, total_kimg=total_kimg))


def test_a_run_shorter_than_growing():
    config = shortened(2.5)
    assert schedule.total_nimg(config) == 2500
    # What it does until then is what a longer run does.
    assert [schedule.at(config, t) for t in range(0, 2500, 50)] == [schedule.at(TINY, t) for t in range(0, 2500, 50)]
    assert [p.start for p in schedule.phases(config)] == [p.start for p in schedule.phases(TINY)]


def test_a_longer_run_only_stretches_the_last_phase():
    longer = schedule.phases(shortened(100))
    assert longer[:-1] == schedule.phases(TINY)[:-1]
    assert longer[-1] == dataclasses.replace(schedule.phases(TINY)[-1], end=100_000)


def test_no_growing():
    config = make_config(resolution=64, start_resolution=64, total_kimg=5000)
    assert schedule.phases(config) == (schedule.Phase(0, 64, "stable", 0, 5_000_000, 32, 0.001),)
    assert schedule.at(config, 0) == schedule.Stage(0, 64, 1.0, 32, 0.001)
