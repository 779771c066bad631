"""Arrays of measured values: what is read, how it is stored, and how it comes back in its own units."""

import numpy as np
import pytest

from stylegen import values
from stylegen.cli.prepare import main
from stylegen.config import Config, ConfigError, DataConfig
from stylegen.config_json import from_json, to_json
from stylegen.data import DataError, imaging, open_source
from stylegen.data.prepared.prepare import Options, prepare
from stylegen.data.prepared.source import PreparedSource
from stylegen.data.raw.opening import open_raw


def fields(n=6, size=(32, 32), channels=5, seed=0):
    """Normal fields of very different units: channel c has the mean 10^c and the deviation 10^-c."""
    rng = np.random.default_rng(seed)
    units = 10.0 ** np.arange(channels)
    return rng.standard_normal((n, *size, channels)) / units + units


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int16, np.uint8, np.uint16])
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_all_kinds_of_numbers(tmp_path, kind, suffix):
    array = (fields(channels=2) * 20 + 100).astype(kind)
    (np.save if suffix == ".npy" else np.savez)(tmp_path / f"a{suffix}", array)
    dataset = open_raw("arrays", tmp_path / f"a{suffix}")
    assert (dataset.num_images, dataset.channels) == (6, 2)
    for image, field in zip(dataset.read(0, 9), array, strict=True):
        np.testing.assert_array_equal(image.data, field)
    expected = [(c.mean(), c.std()) for c in np.moveaxis(array.astype(np.float64), -1, 0)]
    np.testing.assert_allclose(dataset.channel_stats, expected, rtol=1e-5)


def test_one_channel_and_a_folder_of_files(tmp_path):
    array = fields(channels=1)[..., 0]
    np.save(tmp_path / "all.npy", array)
    (tmp_path / "in").mkdir()
    for i, field in enumerate(array):
        np.save(tmp_path / "in" / f"{i}.npy", field)
    (tmp_path / "in" / "notes.txt").write_text("x")
    one, many = open_raw("arrays", tmp_path / "all.npy"), open_raw("arrays", tmp_path / "in", max_images=4)
    assert (one.num_images, many.num_images, many.channels) == (6, 4, 1)
    assert "1 file left out, no arrays, such as notes.txt" in many.note
    for a, b in zip(one.read(0, 4), many.read(0, 4), strict=True):
        np.testing.assert_array_equal(a.data, b.data)


def test_values_come_back_in_their_own_units(tmp_path):
    array = fields()
    np.save(tmp_path / "a.npy", array)
    prepare(
        open_raw("arrays", tmp_path / "a.npy"), tmp_path / "out", Options(32, arrays=True, image_channels=5), workers=1
    )
    source = PreparedSource(tmp_path / "out")
    assert source.channels == 5 and len(source.channel_stats) == 5
    batch = source.read(np.arange(6), 32)["image"]
    assert batch.dtype == np.float32
    np.testing.assert_allclose(batch.mean(axis=(0, 1, 2)), 0, atol=1e-2)
    np.testing.assert_allclose(batch.std(axis=(0, 1, 2)), 1 / values.SPREAD, rtol=1e-2)
    back = values.physical(batch, source.channel_stats)
    assert back.dtype == np.float64, "10^4 with a deviation of 10^-4 needs it"
    # Stored are float32 in deviations, of which the largest here is about 5.
    np.testing.assert_allclose(back, array, rtol=0, atol=1e-6)
    np.testing.assert_allclose((back - array) * 10.0 ** np.arange(5), 0, atol=5e-7)
    assert values.physical(batch[..., :1], source.channel_stats[:1]).dtype == np.float32
    half = source.read(np.arange(6), 16)["image"]
    means = batch.reshape(6, 16, 2, 16, 2, 5).mean(axis=(2, 4))
    np.testing.assert_allclose(half, means, atol=1e-6)
    np.testing.assert_allclose(
        source.read(np.arange(6), 4)["image"], batch.reshape(6, 4, 8, 4, 8, 5).mean(axis=(2, 4)), atol=1e-6
    )


def test_what_is_not_finite_is_left_out_and_counted(tmp_path, capsys):
    array = fields(channels=2)
    array[1, 3, 3, 0] = np.nan
    array[4, 0, 0, 1] = np.inf
    np.save(tmp_path / "a.npy", array)
    assert main(["arrays", str(tmp_path / "a.npy"), "--out", str(tmp_path / "out"), "--resolution", "16"]) == 0
    output = capsys.readouterr().err
    assert (
        "2 images were left out, which could not be read, the first: 00000001: it has values that are not finite"
        in output
    )
    manifest = PreparedSource(tmp_path / "out").manifest
    assert manifest.num_images == 4
    kept = array[[0, 2, 3, 5]]
    np.testing.assert_allclose(
        manifest.settings.channel_stats, [(c.mean(), c.std()) for c in np.moveaxis(kept, -1, 0)], rtol=1e-6
    )


def test_not_square_and_cropped(tmp_path):
    array = fields(size=(20, 64), channels=2).astype(np.float32)
    np.save(tmp_path / "a.npy", array)
    dataset = open_raw("arrays", tmp_path / "a.npy")
    prepare(dataset, tmp_path / "out", Options(16, arrays=True, image_channels=2, const_shape=(4, 8)), workers=1)
    assert PreparedSource(tmp_path / "out").read(np.arange(2), 16)["image"].shape == (2, 16, 32, 2)
    field = np.arange(6 * 10 * 2, dtype=np.float32).reshape(6, 10, 2)
    np.testing.assert_array_equal(imaging.crop_and_resize_values(field, 6), field[:, 2:8])


def test_a_constant_channel_stays_what_it_is(tmp_path):
    array = fields(channels=2)
    array[..., 1] = 7.5
    np.save(tmp_path / "a.npy", array)
    dataset = open_raw("arrays", tmp_path / "a.npy")
    assert dataset.channel_stats[1] == (7.5, 1.0)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((4, 4)), r"has an array of shape|holds an array of shape \(4, 4\); wanted \[N, h, w\]"),
        (np.zeros((2, 4, 4, 17)), "has 17 channels; at most 16 are read"),
        (np.zeros((0, 4, 4, 1)), r"holds an array of shape \(0, 4, 4, 1\)"),
        (np.full((2, 4, 4, 1), np.nan), "none of 2 arrays can be used"),
        (np.full((2, 4, 4, 1), 1e200), "none of 2 arrays can be used"),
        (np.zeros((2, 4, 4, 1), np.complex64), "none of numbers"),
        (np.array([{}] * 4, object), "none of numbers"),
    ],
)
def test_what_is_no_field_is_a_sentence(tmp_path, array, words):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(DataError, match=words):
        open_raw("arrays", tmp_path / "a.npy")


def test_other_mistakes_are_a_sentence(tmp_path):
    np.savez(tmp_path / "two.npz", a=np.zeros((1, 4, 4)), b=np.zeros((1, 4, 4)))
    with pytest.raises(DataError, match="holds 2 arrays; wanted one"):
        open_raw("arrays", tmp_path / "two.npz")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(DataError, match="is no array; wanted a .npy or .npz file, or a folder"):
        open_raw("arrays", tmp_path / "a.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no arrays"):
        open_raw("arrays", tmp_path / "empty")
    data = DataConfig(source="arrays", path=str(tmp_path))
    with pytest.raises(ConfigError, match="image_channels = 17: must be 1 to 16"):
        Config(image_channels=17, data=data)
    with pytest.raises(ConfigError, match="channel_stats = .*a mean and a positive deviation for each channel"):
        Config(image_channels=2, data=data, channel_stats=((0.0, 1.0),))
    with pytest.raises(ConfigError, match="channel_stats"):
        Config(image_channels=1, data=data, channel_stats=((0.0, 0.0),))
    good = Config(image_channels=2, data=data, channel_stats=((0.5, 1.0), (-3.0, 1e-3)))
    assert from_json(to_json(good)) == good


def test_arrays_and_colors_are_not_mixed_up(tmp_path, photo):
    np.save(tmp_path / "a.npy", fields(channels=3))
    raw = DataConfig(source="arrays", path=str(tmp_path / "a.npy"))
    source = open_source(Config(resolution=16, data=raw))
    assert source.read(np.arange(1), 16)["image"].dtype == np.float32
    prepared = str(tmp_path / "stylegen-a.npy-16")
    with pytest.raises(DataError, match="holds arrays, not colors; set data.source arrays"):
        open_source(Config(resolution=16, data=DataConfig(source="images", path=prepared)))
    with pytest.raises(DataError, match=r"image_channels = 2: .* has 3; set image_channels 3"):
        open_source(Config(resolution=16, image_channels=2, data=raw))


def test_pictures():
    images = np.arange(2 * 4 * 4 * 5, dtype=np.uint8).reshape(2, 4, 4, 5)
    assert values.as_rgb(images).shape == (2, 4, 4, 3)
    np.testing.assert_array_equal(values.as_rgb(images, channels=[4, 0, 2]), images[..., [4, 0, 2]])
    np.testing.assert_array_equal(values.as_rgb(images, arrays=False), images)
    shown = values.colored(np.array([0, 128, 255], np.uint8))
    np.testing.assert_array_equal(shown, [[68, 1, 84], shown[1], [253, 231, 37]])
    luma = values.colored(np.arange(256, dtype=np.uint8)) @ [0.299, 0.587, 0.114]
    assert (np.diff(luma) > -1e-9).all(), "lighter is more"
    for wrong in ([5], [0, 1], [-1]):
        with pytest.raises(ValueError, match="must be one, or three, of 0 to 4"):
            values.as_rgb(images, channels=wrong)
    assert values.to_bytes(np.array([-2.0, -1, 0, 1, 2])).tolist() == [0, 0, 128, 255, 255]
