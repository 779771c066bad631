"""Videos: motion, blending, the figure for how steady they are, and the order of colors from file to file."""

import jax.numpy as jnp
import numpy as np
import pytest

from stylegen.data.toy import bedrooms
from stylegen.io import video
from stylegen.style_transfer import video as style_video


def pan(picture, frames=6, step=(2, 5), size=(64, 80)):
    """A window that moves over a picture by whole pixels."""
    return [picture[i * step[0] :, i * step[1] :][: size[0], : size[1]] for i in range(frames)]


@pytest.fixture(scope="module")
def frames():
    return pan(bedrooms.render([3], 128)[0])


def test_motion_of_a_pan(frames):
    """A window that moves right and down: what is at a place was farther right and down before."""
    motion = style_video.estimate_motion(frames[0], frames[1])
    inner = motion[8:-16, 8:-20]
    assert np.mean((inner == (2, 5)).all(axis=-1)) > 0.9
    still = style_video.estimate_motion(frames[0], frames[0])
    assert not still.any()


def test_warp(frames):
    motion = np.broadcast_to(np.float32([2, 5]), (64, 80, 2))
    moved = style_video.warp(jnp.asarray(frames[0]), jnp.asarray(motion))
    np.testing.assert_array_equal(moved[:-2, :-5], frames[1][:-2, :-5])
    ramp = np.arange(8, dtype=np.float32)[None, :, None].repeat(4, 0)
    half = style_video.warp(jnp.asarray(ramp), jnp.full((4, 8, 2), 0.25))
    np.testing.assert_allclose(half[:, :-1, 0], ramp[:, :-1, 0] + 0.25)


def flickering(seed=0):
    rng = np.random.default_rng(seed)
    return lambda frame: np.clip(frame // 2 + 64 + rng.normal(0, 20, frame.shape), 0, 255).astype(np.uint8)


def test_blending_steadies_what_flickers(frames):
    consistency = style_video.Consistency()
    results = list(style_video.blended(frames, flickering(), 0.7, consistency))
    assert len(results) == 6 and len(consistency.blended) == 5
    assert np.mean(consistency.blended) < 0.6 * np.mean(consistency.single)
    truth = [frame // 2 + 64.0 for frame in frames]
    errors = [np.abs(r - t)[4:-4, 4:-8].mean() for r, t in zip(results, truth, strict=True)]
    assert errors[-1] < 0.7 * errors[0]  # and it goes toward what is right: the mean of several draws
    assert "gray levels" in str(consistency) and "without blending" in str(consistency)


def test_without_blending_every_frame_stands_by_itself(frames):
    transfer = flickering(1)
    alone = [transfer(frame) for frame in frames]
    consistency = style_video.Consistency()
    np.testing.assert_array_equal(list(style_video.blended(frames, flickering(1), 0.0, consistency)), alone)
    np.testing.assert_allclose(consistency.blended, consistency.single, rtol=1e-5)
    assert str(style_video.Consistency()) == "a single frame, so nothing to compare"


def test_nothing_is_blended_across_a_cut(make_picture):
    first, second = make_picture(1, 64, 80) // 3, 255 - make_picture(2, 64, 80) // 3
    results = list(style_video.blended([first, second], lambda frame: frame, 0.9))
    assert np.abs(results[1].astype(int) - second).max() <= 1


def test_frames_are_read_as_rgb(tmp_path):
    """Red stays red: a frame in the order of OpenCV would come out blue."""
    frames = np.zeros((5, 48, 64, 3), np.uint8) + np.uint8([220, 60, 20])
    frames[:, :, :32] = (30, 200, 90)
    video.save_video(frames, tmp_path / "in.mp4", fps=12.5, scale=1)
    source = video.open_video(tmp_path / "in.mp4")
    assert (source.width, source.height, source.fps, source.frames) == (64, 48, 12.5, 5)
    back = np.stack(list(video.read_frames(source)))
    assert back.shape == frames.shape
    np.testing.assert_allclose(back.astype(int), frames, atol=12)


def test_a_reader_that_is_left_early_ends(tmp_path):
    video.save_video(np.zeros((30, 64, 64, 3), np.uint8), tmp_path / "in.mp4", scale=1)
    frames = video.read_frames(video.open_video(tmp_path / "in.mp4"))
    next(frames)
    frames.close()


def test_videos_without_frames(tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty.mp4").write_bytes(b"")
    for name in ("text.mp4", "empty.mp4"):
        with pytest.raises(video.VideoError, match=f"{name}: no video with frames in it"):
            video.open_video(tmp_path / name)
    with pytest.raises(video.VideoError, match="there is no such video"):
        video.open_video(tmp_path / "none.mp4")
