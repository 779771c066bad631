"""Sizes of images that are not square."""

import re

import numpy as np
import pytest

from stylegen import shapes
from stylegen.config import Config, ConfigError, DataConfig


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("256", (256, (4, 4))),
        ("256x256", (256, (4, 4))),
        ("4", (4, (4, 4))),
        ("512x256", (256, (4, 8))),
        ("256x512", (256, (8, 4))),
        ("512x384", (256, (6, 8))),
        ("384x256", (256, (4, 6))),
        ("64x32", (32, (4, 8))),
        ("1024x576", (256, (9, 16))),
        ("1280x768", (512, (6, 10))),
        ("640x480", (128, (15, 20))),
        ("960x544", (128, (17, 30))),
    ],
)
def test_a_size_is_a_power_of_two_times_a_constant(text, found):
    assert shapes.parse(text) == found
    resolution, const = found
    rows, columns = shapes.shape_at(resolution, const)
    assert text in (f"{columns}x{rows}", str(rows))
    assert shapes.size_text(resolution, const) == (text if rows != columns else str(rows))
    assert shapes.resolution_of(rows, const) == resolution


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("500x300", r"must be a power of two times small numbers, up to 32, .* near it is \d+x\d+"),
        ("512x16", "near it is"),
        ("4096x2048", "at most 2048 pixels a side"),
        ("wide", "must be a power of two, for example 256, or WIDTHxHEIGHT"),
        ("512x", "or WIDTHxHEIGHT"),
        ("", "or WIDTHxHEIGHT"),
    ],
)
def test_other_sizes_are_a_sentence_that_names_one_near(text, words):
    found = shapes.parse(text)
    assert isinstance(found, str)
    assert re.search(words, found), found
    near = found.rpartition(" ")[2]
    if "near" in found:
        assert not isinstance(shapes.parse(near), str), near


@pytest.mark.parametrize("const", [(4,), (1, 4), (4, 33), (4, 0)])
def test_a_constant_that_cannot_be_is_refused(const):
    with pytest.raises(ConfigError, match="const_shape = .*must be two numbers from 2 to 32"):
        Config(const_shape=const, data=DataConfig(source="images"))


def test_what_does_not_go_with_other_shapes_is_refused():
    with pytest.raises(ConfigError, match="data.crop = 'center-crop-wide': is for squares"):
        Config(const_shape=(6, 8), data=DataConfig(source="lsun", crop="center-crop-wide"))
    with pytest.raises(ConfigError, match="the longer side must be a power of two, not 96"):
        Config(resolution=64, const_shape=(4, 6))
    assert Config(resolution=64, const_shape=(4, 8)).shape_at(32) == (32, 64)


def test_squares_are_what_they_were():
    config = Config()
    assert config.const_shape == (4, 4)
    assert [config.shape_at(r) for r in config.resolutions] == [(r, r) for r in config.resolutions]
    assert np.array_equal([config.resolution_of(r) for r in config.resolutions], config.resolutions)
