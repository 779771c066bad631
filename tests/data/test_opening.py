import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from stylegen.config import Config, ConfigError, DataConfig
from stylegen.config_json import differences, from_json, to_json
from stylegen.data import DataError, make_pipeline, open_source, with_class_names
from stylegen.data.prepared.prepare import Options, prepare
from stylegen.data.raw.lsun import LsunDataset
from stylegen.data.raw.opening import ToyDataset, open_raw


def config(resolution=16, num_classes=0, image_channels=3, **data):
    return Config(
        resolution=resolution, num_classes=num_classes, image_channels=image_channels, data=DataConfig(**data)
    )


def first_batch(source, resolution=16, batch=4):
    pipeline = make_pipeline(source, resolution, batch, workers=0)
    return next(pipeline)


def test_toy_bedrooms_are_the_default():
    source = open_source(config(num_images=9))
    assert (source.num_images, source.channels, source.class_names) == (9, 3, ())
    assert first_batch(source)["image"].shape == (4, 16, 16, 3)
    assert not first_batch(source)["label"].any()


def test_a_path_that_drawn_rooms_do_not_use_is_refused():
    with pytest.raises(ConfigError, match="data.path = 'photos': data.source toy_bedrooms does not use it"):
        open_source(config(path="photos"))


def test_one_image_is_one_image():
    assert open_source(config(num_images=1)).description == "toy_bedrooms (1 drawn room)"
    assert open_source(config(num_images=2000)).description == "toy_bedrooms (2,000 drawn rooms)"


def test_toy_bedrooms_have_classes_when_asked():
    from stylegen.data.toy import bedrooms

    source = open_source(config(num_images=9, num_classes=6))
    labels = source.read(np.arange(9), 8)["label"]
    assert labels.tolist() == [bedrooms.factors(i).bed_class for i in range(9)]


def test_toy_bedrooms_drawn_otherwise_are_other_data(monkeypatch):
    from stylegen.data.toy import bedrooms

    before, identity = open_source(config(num_images=9)).fingerprint, ToyDataset(9, 16).identity
    assert open_source(config(32, num_images=9)).fingerprint == before != open_source(config(num_images=8)).fingerprint
    monkeypatch.setattr(bedrooms, "DRAWING_VERSION", bedrooms.DRAWING_VERSION + 1)
    assert open_source(config(num_images=9)).fingerprint != before
    assert ToyDataset(9, 16).identity != identity


def test_toy_bedrooms_in_memory_are_those_that_are_drawn():
    from stylegen.data.toy import bedrooms

    source = open_source(config(128, num_images=300))
    indices = np.array([299, 0, 7, 7])
    for r in (8, 64, 128):
        np.testing.assert_array_equal(source.read(indices, r)["image"], bedrooms.render(indices, r))
    means = source.read(indices, 8)["image"].reshape(4, 4, 2, 4, 2, 3).mean(axis=(2, 4))
    np.testing.assert_array_equal(source.read(indices, 4)["image"], np.rint(means))


def test_an_lsun_archive_is_prepared_on_first_use(make_lsun, photo_bytes, tmp_path, capsys):
    make_lsun(photo_bytes(5))
    run_config = config(source="lsun", path=str(tmp_path))
    source = open_source(run_config)
    assert (tmp_path / "stylegen-bedroom-train-16" / "prepared.json").is_file()
    assert source.num_images == 5 and "lsun_bedroom train" in source.description
    assert "is prepared already" not in capsys.readouterr().err
    again = open_source(run_config)
    assert again.fingerprint == source.fingerprint and "images/s" not in capsys.readouterr().err
    np.testing.assert_array_equal(first_batch(again)["image"], first_batch(source)["image"])


@pytest.mark.parametrize("zipped", [True, False])
def test_an_archive_itself_may_be_the_path(make_lsun, photo_bytes, tmp_path, zipped):
    path = make_lsun(photo_bytes(3), "cat", zipped)
    source = open_source(config(source="lsun", path=str(path), category="cat", prepared=str(tmp_path / "p")))
    assert source.num_images == 3 and (tmp_path / "p" / "prepared.json").is_file()


def test_image_folders_and_cifar_are_prepared_too(tmp_path, photo):
    for name in ("cat", "dog"):
        (tmp_path / "in" / name).mkdir(parents=True)
        photo(len(name) + ord(name[0])).save(tmp_path / "in" / name / "1.png")
    source = open_source(config(source="images", path=str(tmp_path / "in"), num_classes=2))
    assert source.class_names == ("cat", "dog")
    assert sorted(source.read(np.arange(2), 8)["label"].tolist()) == [0, 1]


def test_a_larger_prepared_set_serves_smaller_resolutions(make_lsun, photo_bytes, tmp_path):
    prepare(LsunDataset(make_lsun(photo_bytes(3))), tmp_path / "p", Options(32), workers=1)
    source = open_source(config(16, source="lsun", path=str(tmp_path / "p")))
    large, small = source.read(np.arange(3), 32)["image"], source.read(np.arange(3), 16)["image"]
    means = large.reshape(3, 16, 2, 16, 2, 3).mean(axis=(2, 4))
    assert np.abs(means - small).max() <= 0.5
    four = source.read(np.arange(3), 4)["image"]
    assert np.abs(large.reshape(3, 4, 8, 4, 8, 3).mean(axis=(2, 4)) - four).max() <= 1


def test_what_does_not_fit_is_a_sentence_that_names_the_field(make_lsun, photo_bytes, tmp_path):
    prepare(LsunDataset(make_lsun(photo_bytes(3))), tmp_path / "p", Options(16), workers=1)
    path = str(tmp_path / "p")
    for wrong, sentence in [
        (config(source="lsun"), "data.path is not set: data.source lsun needs it"),
        (config(source="lsun", path="/nowhere"), "data.path = '/nowhere': there is no such file or folder"),
        (config(source="lsun", path=str(tmp_path), category="cat"), "holds none of cat_train_lmdb"),
        (
            config(32, source="lsun", path=path),
            "resolution = 32: .* has 16 pixels a side; prepare it with --resolution 32",
        ),
        (config(source="lsun", path=path, image_channels=1), "image_channels = 1: .* has 3; set image_channels 3"),
        (config(source="lsun", path=path, num_classes=5), "num_classes = 5: .* has no labels; set num_classes 0"),
        (config(source="lsun", path=path, category="cat"), "data.category = 'cat': .* holds bedroom"),
        (config(source="lsun", path=path, split="val"), "data.split = 'val': .* holds train"),
        (config(source="lsun", path=path, crop="center-crop-wide"), "data.crop = .* was prepared with center-crop"),
    ]:
        with pytest.raises(DataError, match=sentence):
            open_source(wrong)


def test_the_number_of_classes_must_agree(tmp_path):
    prepare(ToyDataset(8, 16), tmp_path, Options(16), workers=1)
    assert open_source(config(source="images", path=str(tmp_path), num_classes=6)).class_names[0] == "red"
    assert open_source(config(source="images", path=str(tmp_path))).num_images == 8
    with pytest.raises(DataError, match="num_classes = 4: .* has 6 classes; set num_classes 6, or 0"):
        open_source(config(source="images", path=str(tmp_path), num_classes=4))


def test_an_empty_folder_is_a_sentence(tmp_path):
    with pytest.raises(DataError, match="holds no images"):
        open_source(config(source="images", path=str(tmp_path)))
    with pytest.raises(
        DataError, match="holds none of bedroom_train_lmdb, bedroom_train_lmdb.zip, bedroom, bedroom.zip;"
    ):
        open_source(config(source="lsun", path=str(tmp_path)))
    with pytest.raises(DataError, match=r"is not CIFAR-10's archive cifar-10-binary\.tar\.gz"):
        open_source(config(source="cifar10", path=str(tmp_path)))


def test_a_folder_that_is_read_only_is_left_alone_even_by_root(make_lsun, photo_bytes, tmp_path):
    folder = make_lsun(photo_bytes(3), zipped=False)
    folder.chmod(0o555)
    with pytest.raises(DataError, match="stylegen-bedroom-train-16 cannot be written; set data.prepared"):
        open_source(config(source="lsun", path=str(folder)))
    assert open_source(config(source="lsun", path=str(folder), prepared=str(tmp_path / "p"))).num_images == 3
    folder.chmod(0o755)


def test_a_path_prepared_otherwise_is_a_sentence(make_lsun, photo_bytes, tmp_path):
    make_lsun(photo_bytes(3))
    open_source(config(source="lsun", path=str(tmp_path)))
    with pytest.raises(DataError, match="image_channels = 1"):
        open_source(config(source="lsun", path=str(tmp_path), image_channels=1))


def test_importing_is_cheap():
    for module, heavy in (
        ("data", "{'jax', 'grain', 'tensorflow_datasets', 'lmdb'}"),
        ("data.prepared.shards", "{'jax', 'tensorflow'}"),
    ):
        code = f"import sys, stylegen.{module}; print({heavy} & set(sys.modules))"
        assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


@pytest.fixture
def tfds_folder(tmp_path, photo):
    """A TFDS data set as somebody else would have built it, labels and odd sizes included."""
    import tensorflow_datasets as tfds

    class TinyPhotos(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.2.3")
        __module__ = "tiny_photos"  # of a script; in a package, TFDS 4.9.10 asks for importlib_resources

        def _info(self):
            label = tfds.features.ClassLabel(names=["a", "b"])
            features = tfds.features.FeaturesDict({"image": tfds.features.Image(shape=(None, None, 3)), "label": label})
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for i in range(7):
                yield i, {"image": photo(i, (40 + i, 33)), "label": i % 2}

    TinyPhotos(data_dir=str(tmp_path / "tfds"), file_format="array_record").download_and_prepare()
    tfds.core.registered._DATASET_REGISTRY.pop("tiny_photos", None)  # only its files are left, as for other people's
    return tmp_path / "tfds"


def test_a_tfds_data_set_is_cropped_and_resized_as_it_is_read(tfds_folder, photo):
    import tensorflow_datasets as tfds

    from stylegen.data import imaging

    run_config = config(source="tfds", tfds_name="tiny_photos", path=str(tfds_folder), num_classes=2)
    source = open_source(run_config)
    assert (source.num_images, source.class_names) == (7, ("a", "b"))
    raw = tfds.builder("tiny_photos", data_dir=str(tfds_folder)).as_data_source("train")
    for r in (8, 16):
        batch = source.read(np.arange(7), r)
        for example, image, label in zip(raw, batch["image"], batch["label"], strict=True):
            square = imaging.crop_and_resize(imaging.from_array(example["image"], 3), 16, "center-crop")
            np.testing.assert_array_equal(image, imaging.pyramid(square, (8, 16))[r])
            assert label == example["label"]
    gray = open_source(dataclasses.replace(run_config, image_channels=1, num_classes=0))
    assert first_batch(gray)["image"].shape == (4, 16, 16, 1)


def test_a_tfds_data_set_of_other_images_has_another_fingerprint(tfds_folder):
    run_config = config(source="tfds", tfds_name="tiny_photos", path=str(tfds_folder))
    before = open_source(run_config)
    assert open_source(run_config).fingerprint == before.fingerprint
    assert before.earlier_fingerprints == ("tfds-tiny_photos/1.2.3-train-7",)
    shard = next(tfds_folder.rglob("*.array_record*"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    after = open_source(run_config)
    assert after.fingerprint != before.fingerprint and after.earlier_fingerprints == before.earlier_fingerprints
    shard.unlink()
    with pytest.raises(DataError, match="The TFDS data set tiny_photos cannot be read"):
        open_source(run_config)


def test_an_unreadable_image_of_a_tfds_data_set_is_a_sentence(tfds_folder, monkeypatch):
    import tensorflow_datasets as tfds

    from stylegen.data import imaging

    source = open_source(config(source="tfds", tfds_name="tiny_photos", path=str(tfds_folder)))
    original = imaging.from_array

    def from_array(array, channels):
        # What is left of a file that is cut short: TFDS's decoder gives None, which has no attribute at all.
        return original(None if array.shape[1] == 43 else array, channels)

    monkeypatch.setattr(imaging, "from_array", from_array)
    raw = tfds.builder("tiny_photos", data_dir=str(tfds_folder)).as_data_source("train")
    widths = [example["image"].shape[1] for example in raw]
    bad = widths.index(43)
    sentence = (
        rf"^Image {bad} of TFDS tiny_photos train \(7 images\) cannot be read \(.+\). Build the TFDS data set without"
    )
    with pytest.raises(DataError, match=sentence):
        source.read(np.arange(7), 16)
    source.read(np.delete(np.arange(7), bad), 16)
    # From a reader thread too, and then it is not skipped.
    with pytest.raises(DataError, match=sentence):
        batches = make_pipeline(source, 16, 4, workers=2)
        next(batches), next(batches)


@pytest.mark.parametrize("label", [-1, 2])
def test_a_label_that_is_no_class_is_a_sentence(tfds_folder, monkeypatch, label):
    """TFDS marks images without a label by -1, whose one-hot vector would be all zeros."""
    run_config = config(source="tfds", tfds_name="tiny_photos", path=str(tfds_folder), num_classes=2)

    def mark(source):
        data = [dict(source._data[i]) for i in range(7)]
        data[3]["label"] = label
        monkeypatch.setattr(source, "_data", data)
        return source

    source = mark(open_source(run_config))
    sentence = rf"^Image 3 of TFDS tiny_photos train \(7 images\) has the label {label}, and the classes are 0 to 1;"
    with pytest.raises(DataError, match=sentence):
        source.read(np.arange(7), 16)
    source.read(np.array([0, 1, 2, 4]), 16)
    unlabeled = mark(open_source(dataclasses.replace(run_config, num_classes=0)))
    np.testing.assert_array_equal(unlabeled.read(np.arange(7), 16)["label"], np.zeros(7))


def test_what_is_wrong_with_a_tfds_data_set_is_a_sentence(tfds_folder, tmp_path):
    def run_config(**data):
        return config(**{"source": "tfds", "tfds_name": "tiny_photos", "path": str(tfds_folder), **data})

    with pytest.raises(DataError, match="data.tfds_name = 'no_such_photos': data.path = .* holds no such data set"):
        open_source(run_config(tfds_name="no_such_photos"))
    with pytest.raises(DataError, match="data.tfds_name = 'mnist': .* does not hold it prepared"):
        open_source(run_config(tfds_name="mnist"))
    with pytest.raises(DataError, match="data.split = 'test': the TFDS data set tiny_photos has train"):
        open_source(run_config(split="test"))
    with pytest.raises(DataError, match="num_classes = 3"):
        open_source(config(num_classes=3, source="tfds", tfds_name="tiny_photos", path=str(tfds_folder)))
    info = next(tfds_folder.rglob("dataset_info.json"))
    info.write_text(info.read_text().replace('"array_record"', '"tfrecord"'))
    with pytest.raises(DataError, match="it is stored as tfrecord, which has no random access"):
        open_source(run_config())


def test_open_raw_refuses_a_path_that_does_not_exist(make_lsun, photo_bytes):
    with pytest.raises(DataError, match="does not exist"):
        open_raw("lsun", make_lsun(photo_bytes(1)).parent / "nothing")


def test_a_run_takes_the_names_of_the_datas_classes(tmp_path, photo):
    for name in ("cat/1.png", "dog/2.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True)
        photo(0).save(tmp_path / "in" / name)
    settings = config(source="images", path=str(tmp_path / "in"), num_classes=2)
    source = open_source(settings)
    named = with_class_names(settings, source)
    assert named.class_names == ("cat", "dog")
    assert from_json(to_json(named)) == named
    assert not differences(settings, named), "a run of an earlier version resumes"
    renamed = dataclasses.replace(settings, class_names=("a", "b"))
    assert with_class_names(renamed, source) == renamed
    plain = config(source="images", path=str(tmp_path / "in"))
    assert with_class_names(plain, source) == plain
    with pytest.raises(ConfigError, match=r"class_names = \['a'\]: must be one for each of num_classes = 2, or none"):
        dataclasses.replace(settings, class_names=("a",))


def test_labels_that_are_not_there_are_refused_before_the_work(tmp_path, photo):
    (tmp_path / "in").mkdir()
    photo(0).save(tmp_path / "in" / "1.png")
    with pytest.raises(DataError, match=r"num_classes = 2: .*in has no labels; set num_classes 0, or prepare it"):
        open_source(config(source="images", path=str(tmp_path / "in"), num_classes=2))
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    (tmp_path / "l.csv").write_text("1.png,cat\n")
    labeled = config(source="images", path=str(tmp_path / "in"), num_classes=1, labels=f"csv:{tmp_path / 'l.csv'}")
    assert open_source(labeled).class_names == ("cat",)
