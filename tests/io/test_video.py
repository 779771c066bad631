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
    mine = ["frame.png", "frame1.png", "framed_portrait.png", "notes.txt"]
    for name in mine:
        (folder / name).write_text("mine")
    assert [path.name for path in video.existing(folder)] == [f"frame0000{i}.png" for i in range(6)]
    assert video.save_video(frames(3, channels=4), folder) == 3
    assert sorted(path.name for path in folder.iterdir()) == sorted([*(f"frame0000{i}.png" for i in range(3)), *mine])
    with Image.open(folder / "frame00000.png") as back:
        assert back.size == (16, 16) and back.mode == "RGBA"


@pytest.mark.parametrize(("suffix", "unit", "fewest"), [(".gif", 10, 20), (".webp", 1, 11)])
@pytest.mark.parametrize("fps", [7, 24, 30, 60, 144])
def test_animations_last_as_long_as_they_should(tmp_path, suffix, unit, fewest, fps):
    """A frame of 10 ms, which 60 a second were stored as, browsers show for 100."""
    video.save_video(frames(60), tmp_path / f"walk{suffix}", fps=fps, scale=1)
    with Image.open(tmp_path / f"walk{suffix}") as back:
        durations = []
        for i in range(back.n_frames):
            back.seek(i)
            back.load()
            durations.append(back.info["duration"])
    assert min(durations) >= fewest and abs(sum(durations) - 60_000 / fps) <= fewest
    if suffix == ".gif":  # WebP's encoder makes one of two that are much alike
        assert all(abs(duration - max(1000 / fps, fewest)) <= fewest for duration in durations)
        assert len(durations) == 60 if 1000 / fps >= fewest else 20 < len(durations) < 60


def test_a_single_frame_is_an_animation(tmp_path):
    for suffix in video.FORMATS:
        assert video.save_video(frames(1), tmp_path / f"one{suffix}") == 1


def test_mp4_is_tagged_as_bt_709_and_keeps_colors(tmp_path):
    """Untagged, (200, 120, 60) was shown as (206, 124, 56) by players that take BT.709 for what was in BT.601."""
    color = np.broadcast_to(np.array([200, 120, 60], np.uint8), (3, 32, 32, 3))
    video.save_video(color, tmp_path / "one.mp4", scale=1)
    probe = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-i", str(tmp_path / "one.mp4")]
    said = subprocess.run(probe, capture_output=True, text=True, check=False).stderr
    assert "yuv420p(tv, bt709" in said
    assert abs(read_mp4(tmp_path / "one.mp4").astype(int) - color).max() <= 2
    # The stored numbers themselves: Y' = 0.2126 R + 0.7152 G + 0.0722 B, from 16 to 235.
    raw = [*probe, "-v", "error", "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-"]
    luma = subprocess.run(raw, capture_output=True, check=True).stdout[0]
    assert abs(luma - (16 + 219 * (0.2126 * 200 + 0.7152 * 120 + 0.0722 * 60) / 255)) <= 1


def recording(path, *, rate: int, keep: str, seconds: float = 3.0) -> None:
    """A video whose frames come at times of a clock that ticks ``rate`` times a second, where ``keep`` holds."""
    source = f"testsrc=size=64x48:rate={rate}:duration={seconds}"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "error", "-f", "lavfi", "-i", source]
    command += ["-vf", f"select='{keep}'", "-fps_mode", "passthrough", "-c:v", "libvpx", str(path)]
    subprocess.run(command, check=True)


@pytest.mark.parametrize(
    ("interval", "pause", "fps"),
    [(33.3, False, 30), (33.3, True, 30), (66.7, False, 15), (20, True, 50)],  # milliseconds
)
def test_a_recording_without_a_fixed_rate_is_read_at_a_usual_one_and_lasts_as_long(tmp_path, interval, pause, fps):
    """3 seconds with a clock of 1 ms were 2,965 frames at 1,000 a second."""
    rng = np.random.default_rng(0)
    times = {int(t + rng.uniform(0, 0.3 * interval)) for t in np.arange(0, 3000, interval)}
    times = {t for t in times if not (pause and 500 < t < 2500)}
    recording(tmp_path / "in.webm", rate=1000, keep="+".join(f"eq(n,{t})" for t in sorted(times)))
    source = video.open_video(tmp_path / "in.webm")
    assert source.is_variable >= pause and source.fps == pytest.approx(fps, rel=0.05)
    read = sum(1 for _ in video.read_frames(source))
    assert abs(read - source.frames) <= 2 and abs(read / source.fps - 3) <= 0.1


@pytest.mark.parametrize("rate", [8, 25, 60, 120])
def test_a_fixed_rate_is_kept(tmp_path, rate):
    recording(tmp_path / "in.webm", rate=rate, keep="1", seconds=1)
    source = video.open_video(tmp_path / "in.webm")
    assert (source.fps, source.frames, source.is_variable) == (rate, rate, False)
    assert sum(1 for _ in video.read_frames(source)) == rate


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


@pytest.mark.parametrize("name", ["x.mpg", "x.MTS", "x.wmv"])
def test_videos_of_cameras_and_of_windows(tmp_path, name):
    video.save_video(frames(10, side=64), tmp_path / "walk.mp4", fps=25)
    form = {"x.mpg": "mpeg", "x.MTS": "mpegts", "x.wmv": "asf"}[name]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(tmp_path / "walk.mp4"), "-f", form]
    subprocess.run([*command, str(tmp_path / name)], check=True)
    assert (tmp_path / name).suffix.lower() in video.READABLE
    found = video.open_video(tmp_path / name)
    assert (found.width, found.fps) == (256, 25)
    assert len(list(video.read_frames(found))) in (9, 10, 11)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it is empty"),
        (b"<!DOCTYPE html><html>", r"it is a web page \(a failed download\)"),
        (b"\x89PNG\r\n\x1a\n", "it is a PNG image"),
    ],
)
def test_what_is_no_video_is_named(tmp_path, data, words):
    (tmp_path / "x.mp4").write_bytes(data)
    with pytest.raises(video.VideoError, match=rf"x.mp4: no video with frames in it \({words}"):
        video.open_video(tmp_path / "x.mp4")


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
