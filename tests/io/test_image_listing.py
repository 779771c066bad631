import numpy as np
import pytest
from PIL import Image

from stylegen.io import image_listing
from stylegen.io.image_listing import NoImagesError


@pytest.mark.parametrize("suffix", image_listing.SUFFIXES)
def test_pillow_reads_every_format_that_is_looked_for(suffix, tmp_path):
    kind = Image.registered_extensions()[suffix]
    assert kind in Image.OPEN
    image = Image.fromarray(np.zeros((20, 20), np.uint8)).convert("1" if suffix == ".pbm" else "L")
    image.save(tmp_path / f"a{suffix}", kind)
    with Image.open(tmp_path / f"a{suffix}") as back:
        assert back.size == (20, 20)


def test_a_folder_is_listed_in_natural_order_and_others_are_counted(tmp_path):
    for name in ("10.PNG", "2.avif", "1.jp2", "b.txt", "a.txt", ".hidden.png", "deep/3.jfif", "deep/__MACOSX/4.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    listing = image_listing.list_images(tmp_path)
    assert [path.name for path in listing.files] == ["1.jp2", "2.avif", "10.PNG"]
    assert listing.note == f"{tmp_path}: 2 files that are no images were left out, such as a.txt."
    listing = image_listing.list_images(str(tmp_path), recursive=True)
    assert [str(path.relative_to(tmp_path)) for path in listing.files] == ["1.jp2", "2.avif", "10.PNG", "deep/3.jfif"]


@pytest.mark.parametrize(
    ("sheet", "beside"),
    [
        ("grid.png", "seed0003.png"),
        ("grid.png", "seed12345-class2.png"),
        ("grid.png", "room-seed0007.png"),
        ("psi.png", "seed0000.png"),
        ("mix.png", "seed0000.png"),
        ("side_by_side.png", "projected.png"),
        ("side_by_side.png", "projected-room.png"),
    ],
)
def test_tables_of_the_images_beside_them_are_left_out(sheet, beside):
    chosen, note = image_listing.choose_images([f"a/{sheet}", f"a/{beside}", f"b/{sheet}", "notes.txt"], "out")
    assert chosen == [f"a/{beside}", f"b/{sheet}"], "a file of that name elsewhere is an image"
    assert note.splitlines() == [
        "out: 1 file that is no image was left out, such as notes.txt.",
        f"out: a/{sheet} is a table of the images beside it; left out.",
    ]


def test_no_images_are_an_error_that_says_what_is_there(tmp_path, monkeypatch):
    monkeypatch.setattr(image_listing, "reads_heif", lambda: False)
    with pytest.raises(NoImagesError, match=r"holds no images \(files named \.png, .* are looked for\)\.$"):
        image_listing.list_images(tmp_path)
    (tmp_path / "photo.heic").touch()
    with pytest.raises(
        NoImagesError,
        match=r"it holds 1 other file, such as photo\.heic\. HEIC is read with an extra: pip install",
    ):
        image_listing.list_images(tmp_path)
