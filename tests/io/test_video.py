"""Videos: number and size of frames, what alpha becomes, and that nothing half-written stays behind."""

import subprocess
import weakref

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from stylegen.io import video


def frames(n: int, side: int = 16, channels: int = 3) -> np.ndarray:
    """Frames of one color each, from dark to light."""
    levels = np.linspace(20, 230, n).astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (n, side, side, channels)).copy()


def read_mp4(path) -> np.ndarray:
    # Portable pixmaps, one after the other: P6, width and height, 255, each on a line, and the pixels.
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-f", "image2pipe", "-c:v", "ppm", "-"]
    data, found = subprocess.run(command, check=True, capture_output=True).stdout, []
    while data:
        _, size, _, data = data.split(b"\n", 3)
        width, height = map(int, size.split())
        found.append(np.frombuffer(data, np.uint8, height * width * 3).reshape(height, width, 3))
        data = data[height * width * 3 :]
    return np.stack(found)


def test_mp4_has_all_frames_in_order_at_a_size_one_can_see(tmp_path):
    count = video.save_video(iter(frames(7)), tmp_path / "walk.mp4", fps=25)
    back = read_mp4(tmp_path / "walk.mp4")
    assert count == 7 and back.shape == (7, 256, 256, 3)
    np.testing.assert_allclose(back.mean((1, 2, 3)), np.linspace(20, 230, 7), atol=4)
    assert [path.name for path in tmp_path.iterdir()] == ["walk.mp4"]


def test_mp4_of_odd_size_is_made_even(tmp_path):
    video.save_video(frames(3, side=33), tmp_path / "odd.mp4", scale=1)
    assert read_mp4(tmp_path / "odd.mp4").shape == (3, 34, 34, 3)


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_animations_loop_for_ever(tmp_path, suffix):
    assert video.save_video(frames(5), tmp_path / f"walk{suffix}", fps=20, scale=2) == 5
    with Image.open(tmp_path / f"walk{suffix}") as back:
        assert back.n_frames == 5 and back.size == (32, 32) and back.info["loop"] == 0
        levels = []
        for i in range(5):
            back.seek(i)
            back.load()
            assert back.info["duration"] == 50
            levels.append(np.asarray(back.convert("RGB")).mean())
    np.testing.assert_allclose(levels, np.linspace(20, 230, 5), atol=4)


def test_a_folder_holds_single_frames_without_those_of_an_older_longer_video(tmp_path):
    folder = tmp_path / "walk"
    video.save_video(frames(6), folder)
    (folder / "notes.txt").write_text("mine")
    assert video.save_video(frames(3, channels=4), folder) == 3
    assert sorted(path.name for path in folder.iterdir()) == [*(f"frame0000{i}.png" for i in range(3)), "notes.txt"]
    with Image.open(folder / "frame00000.png") as back:
        assert back.size == (16, 16) and back.mode == "RGBA"


@pytest.mark.parametrize("channels, expected", [(1, 100), (2, 255), (3, 100), (4, 255)])
def test_alpha_is_shown_on_white(tmp_path, channels, expected):
    frames = np.full((1, 16, 16, channels), 100, np.uint8)
    if channels in (2, 4):
        frames[..., -1] = 0
    video.save_video(frames, tmp_path / "one.mp4")
    np.testing.assert_allclose(read_mp4(tmp_path / "one.mp4"), expected, atol=3)


@pytest.mark.parametrize("name", ["walk.mp4", "walk.gif", "walk.webp"])
def test_a_video_that_fails_leaves_nothing(tmp_path, name):
    def failing():
        yield from frames(3)
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        video.save_video(failing(), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["walk.mp4", "walk"])
def test_frames_are_not_held_in_memory(tmp_path, name):
    references: list[weakref.ref] = []

    def many():
        for frame in frames(20):
            copy = frame.copy()
            references.append(weakref.ref(copy))
            yield copy
            del copy
            assert sum(ref() is not None for ref in references) <= 2

    assert video.save_video(many(), tmp_path / name, scale=1) == 20


@pytest.mark.parametrize(
    "name, count, fps, words",
    [
        ("walk.avi", 2, 30, "cannot write .avi; use .mp4, .gif, .webp, or a folder"),
        ("walk.mp4", 0, 30, "at least one frame"),
        ("walk.mp4", 2, 0, "fps = 0"),
    ],
)
def test_errors_are_sentences(tmp_path, name, count, fps, words):
    with pytest.raises(video.VideoError, match=words):
        video.save_video(frames(count), tmp_path / name, fps=fps)


@pytest.mark.parametrize("fps", [0, -1, 0.05, 2000, float("nan"), float("inf")])
def test_a_speed_that_is_none_is_refused_before_any_frame(tmp_path, fps):
    with pytest.raises(video.VideoError, match="fps = .*: must be from 0.1 to 1000 frames a second"):
        video.check(tmp_path / "a.mp4", fps, frames=1, height=4, width=4)
    with pytest.raises(video.VideoError, match="fps = "):
        video.save_video([np.zeros((4, 4, 3), np.uint8)], tmp_path / "a.mp4", fps)
    assert list(tmp_path.iterdir()) == []


def test_the_size_of_frames_is_bounded(tmp_path):
    video.check(tmp_path / "a.mp4", 30, frames=10**6, height=4096, width=8192, scale=1)
    with pytest.raises(video.VideoError, match="frames of 8,448x256 pixels are too large; at most 8,192 a side"):
        video.check(tmp_path / "a.mp4", 30, frames=1, height=8, width=264)  # enlarged to 256 pixels
    video.check(tmp_path / "frames", 30, frames=10**6, height=8, width=264)
    video.check(tmp_path / "a.gif", 30, frames=60, height=1024, width=1024)
    with pytest.raises(video.VideoError, match="a.gif: 2,000 frames of 1,024x1,024 pixels are too many for a .gif"):
        video.check(tmp_path / "a.gif", 30, frames=2000, height=1024, width=1024)
