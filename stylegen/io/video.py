"""Frames to a video: .mp4, .gif, .webp, or a folder of PNG files, from an iterator of uint8 images; and back."""

import contextlib
import itertools
import math
import os
import re
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from stylegen.errors import StylegenError
from stylegen.io import files, images, signals
from stylegen.paths import expanded
from stylegen.untrusted import kinds, shown

FORMATS = (".mp4", ".gif", ".webp")
READABLE = (
    *(".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".gif", ".mpg", ".mpeg", ".mts", ".m2ts", ".ts", ".wmv"),
    *(".flv", ".3gp", ".ogv"),
)
MIN_FPS, MAX_FPS = 0.1, 1000.0
MAX_SIDE = 8192  # pixels of a frame: H.264's largest level has as many
MAX_ANIMATION_BYTES = 4 * 10**9  # of the frames of a .gif or .webp, which are in memory together
COMFORTABLE_SIDE = 256  # pixels; players blur what is smaller
QUALITY, MAX_QUALITY = 17, 51  # x264's constant rate factor: 0 is lossless, 17 visually so, 23 its own default
# Without a tag, players guess the matrix of colors by the size, and many take BT.709 for what ffmpeg wrote in BT.601.
MP4_COLOR = ["-vf", "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd+full_chroma_int+bicubic"]
MP4_COLOR += ["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv"]
# Milliseconds of the unit that an animation keeps times in, and the fewest units that browsers show as they are told:
# they slow down frames of 10 ms and less to 100.
ANIMATION_TIMES = {".gif": (10, 2), ".webp": (1, 11)}
RATES = (5, 10, 12, 15, 20, 24, 25, 30, 48, 50, 60)  # frames a second, for recordings that have no fixed rate
VARIABLE = 1.25  # a stated rate this many times the mean one is none: ffmpeg would repeat frames to keep it
FRAME, FRAME_NAME = "frame{:05d}.png", re.compile(r"frame\d{5,}\.png")


class VideoError(StylegenError):
    """The video cannot be written or read; the message says why."""


def check_path(path: str | os.PathLike[str]) -> None:
    """Raise VideoError unless the extension is one of ``FORMATS``, or there is none: then it is a folder of frames."""
    suffix = Path(path).suffix
    if suffix and suffix.lower() not in FORMATS and not expanded(path).is_dir():
        raise VideoError(f"{path}: cannot write {suffix}; use {', '.join(FORMATS)}, or a folder for single frames.")


def check(
    path: str | os.PathLike[str], fps: float, *, frames: int, height: int, width: int, scale: int | None = None
) -> None:
    """Raise VideoError unless ``save_video`` can write this, by ``check_path`` and before any frame is made.

    Args:
        path: as of ``save_video``, like fps and scale.
        fps: frames a second.
        frames: number of frames.
        height: of a frame in pixels, not enlarged.
        width: likewise.
        scale: enlargement.
    """
    check_path(path)
    _check_fps(fps)
    factor = _enlargement(path, scale, min(height, width))
    height, width = height * factor, width * factor
    if max(height, width) > MAX_SIDE:
        raise VideoError(f"{path}: frames of {width:,}x{height:,} pixels are too large; at most {MAX_SIDE:,} a side.")
    suffix = Path(path).suffix
    if suffix.lower() in (".gif", ".webp") and 3 * frames * height * width > MAX_ANIMATION_BYTES:
        raise VideoError(
            f"{path}: {frames:,} frames of {width:,}x{height:,} pixels are too many for a {suffix}, which is "
            "compressed in memory; write an .mp4, or fewer or smaller frames."
        )


def _enlargement(path: str | os.PathLike[str], scale: int | None, side: int) -> int:
    """How often each pixel of frames with a shorter ``side`` is repeated: ``scale``, or so that one can see them."""
    if scale is not None:
        return scale
    return 1 if is_folder(path) else images.comfortable_scale(side, COMFORTABLE_SIDE)


def _check_fps(fps: float) -> None:
    if not MIN_FPS <= fps <= MAX_FPS:
        raise VideoError(f"fps = {fps}: must be from {MIN_FPS:g} to {MAX_FPS:g} frames a second.")


def existing(path: str | os.PathLike[str]) -> list[Path]:
    """Files that writing to ``path`` would replace: of a folder, frames that we wrote, and no other files."""
    path = expanded(path)
    if path.is_dir():
        return sorted(file for file in path.iterdir() if FRAME_NAME.fullmatch(file.name))
    return [path] if path.exists() else []


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Whether ``path`` is a folder of frames, and no video file."""
    return expanded(path).is_dir() or not expanded(path).suffix


def save_video(
    frames: Iterable[np.ndarray],
    path: str | os.PathLike[str],
    fps: float = 30,
    scale: int | None = None,
    *,
    size: int | None = None,
    quality: int = QUALITY,
    audio: str | os.PathLike[str] | None = None,
) -> int:
    """Write frames as the extension of ``path`` says; alpha is shown on white, except in a folder, which keeps it.

    A file appears when it is complete. .mp4 and folders are written as the frames come; .gif and .webp compress all of
    them at the end, so they are for short videos.

    Args:
        frames: uint8 [h, w, C] each, all alike.
        path: a file, or a folder for single frames.
        fps: frames a second. A .gif keeps times in hundredths of a second, and browsers slow down what is shorter than
            two: of more than 50 a second, some frames are left out, so that its length is right.
        scale: enlargement by whole pixels; if None, so that videos are at least 256 pixels (frames in a folder: 1).
        size: pixels of the shorter side instead, resized with Lanczos' filter.
        quality: of an .mp4, x264's constant rate factor: 0 is lossless, 51 the worst.
        audio: a sound file to put into an .mp4; what is longer than the frames is cut.

    Returns:
        The number of frames.

    Raises:
        VideoError: no frames, an unknown extension, fps that is no number of frames a second, or sound for anything but
            an .mp4.
    """
    check_path(path)
    _check_fps(fps)
    check_options(path, scale=scale, size=size, quality=quality, audio=audio)
    path = expanded(path)
    first, frames = _peek(frames)
    if size is not None:
        enlarged = (_resized(frame, size) for frame in frames)
    else:
        factor = _enlargement(path, scale, min(first.shape[:2]))
        enlarged = (images.enlarge(frame, factor) for frame in frames)
    if is_folder(path):
        return _save_folder(enlarged, path)
    counted = _Counted(_opaque(frame) for frame in enlarged)
    with files.replacing(path) as partial:
        if path.suffix.lower() == ".mp4":
            _save_mp4(counted, partial, fps, path, quality, audio)
        else:
            _save_animation(counted, partial, fps)
    return counted.count


class _Counted:
    """An iterator that knows how many it gave."""

    def __init__(self, frames: Iterator[np.ndarray]):
        self._frames = frames
        self.count = 0

    def __iter__(self) -> "_Counted":
        return self

    def __next__(self) -> np.ndarray:
        frame = next(self._frames)
        self.count += 1
        return frame


def _peek(frames: Iterable[np.ndarray]) -> tuple[np.ndarray, Iterator[np.ndarray]]:
    rest = iter(frames)
    first = next(rest, None)
    if first is None:
        raise VideoError("a video needs at least one frame.")
    return first, itertools.chain([first], rest)


def _opaque(frame: np.ndarray) -> np.ndarray:
    """RGB [h, w, 3] of an image with 1 to 4 channels; alpha is composed on white."""
    pil_image = images.to_pil(frame)
    if frame.shape[2] in (2, 4):
        pil_image = Image.alpha_composite(Image.new("RGBA", pil_image.size, "white"), pil_image.convert("RGBA"))
    return np.asarray(pil_image.convert("RGB"))


def _save_folder(frames: Iterator[np.ndarray], folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    # Frames of a longer video that was here before would look like the end of this one.
    for old in existing(folder):
        old.unlink()
    count = 0
    for frame in frames:
        images.save_image(frame, folder / FRAME.format(count))
        count += 1
    return count


def check_options(
    path: str | os.PathLike[str],
    *,
    scale: int | None = None,
    size: int | None = None,
    quality: int = QUALITY,
    audio: str | os.PathLike[str] | None = None,
) -> None:
    """Raise VideoError if these arguments of ``save_video`` do not go with each other or with the kind of file."""
    is_mp4 = Path(path).suffix.lower() == ".mp4" and not is_folder(path)
    if size is not None and (scale is not None or not 16 <= size <= MAX_SIDE):
        what = "give it or scale, not both" if scale is not None else f"must be from 16 to {MAX_SIDE:,} pixels"
        raise VideoError(f"size = {size}: {what}.")
    if not 0 <= quality <= MAX_QUALITY or (quality != QUALITY and not is_mp4):
        what = "is of .mp4 alone" if 0 <= quality <= MAX_QUALITY else f"must be from 0 (lossless) to {MAX_QUALITY}"
        raise VideoError(f"quality = {quality}: {what}.")
    if audio is not None and not is_mp4:
        raise VideoError(f"{path}: only an .mp4 can have sound; write one, or leave the sound out.")


def _resized(frame: np.ndarray, size: int) -> np.ndarray:
    """A frame whose shorter side has ``size`` pixels."""
    h, w = frame.shape[:2]
    factor = size / min(h, w)
    target = (max(round(w * factor), 1), max(round(h * factor), 1))
    resized = np.asarray(images.to_pil(frame).resize(target, Image.Resampling.LANCZOS))
    return resized.reshape(*resized.shape[:2], -1)


def _save_mp4(
    frames: Iterator[np.ndarray],
    partial: Path,
    fps: float,
    path: Path,
    quality: int = QUALITY,
    audio: str | os.PathLike[str] | None = None,
) -> None:
    first, frames = _peek(frames)
    height, width = first.shape[:2]
    # H.264 in yuv420p, the one that every player knows, halves the color's resolution: sides must be even.
    pad = ((0, height % 2), (0, width % 2), (0, 0))
    command = _mp4_command(partial, width + width % 2, height + height % 2, fps, quality, audio)
    # imageio_ffmpeg's own writer runs Python code in a fork, which can deadlock next to JAX's threads. The session of
    # its own keeps Ctrl-C from ending ffmpeg before us.
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    assert process.stdin is not None
    try:
        for frame in frames:
            process.stdin.write(np.pad(frame, pad, mode="edge").tobytes())
        _, messages = process.communicate()
    except BrokenPipeError:
        _close(process.stdin)
        process.stdin = None  # or it would be flushed once more
        _, messages = process.communicate()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stderr):
            _close(pipe)
    if process.returncode:
        raise VideoError(f"{path}: ffmpeg could not write it: {messages.decode(errors='replace').strip()}")


def _mp4_command(
    path: Path, width: int, height: int, fps: float, quality: int, audio: str | os.PathLike[str] | None
) -> list[str]:
    """ffmpeg's, which reads the frames from its standard input."""
    command = [ffmpeg(), "-y", "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"]
    command += ["-r", str(fps), "-i", "-"]
    if audio is not None:
        # Sound that ends early is followed by silence, so that the frames decide how long the video is.
        command += ["-i", _url(expanded(audio)), "-map", "0:v:0", "-map", "1:a:0", "-af", "apad", "-shortest"]
        command += ["-c:a", "aac", "-b:a", "192k"]
    command += ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", str(quality)]
    return [*command, *MP4_COLOR, "-movflags", "+faststart", _url(path)]


def _url(path: Path) -> str:
    """A file for ffmpeg, which takes what is before a colon in a name, as in 12:30.mp4, for a protocol."""
    return f"file:{path}"


def ffmpeg() -> str:
    """The path of ffmpeg. It is tried out first, in a process that a signal to all of ours would end."""
    import imageio_ffmpeg

    with signals.blocked(*signals.SIGNALS):
        path: str = imageio_ffmpeg.get_ffmpeg_exe()
    return path


def _close(pipe: IO[bytes] | None) -> None:
    """Close a pipe whose other end may be gone, with what was still to be written to it."""
    if pipe is not None:
        with contextlib.suppress(BrokenPipeError):
            pipe.close()


def _save_animation(frames: Iterator[np.ndarray], path: Path, fps: float) -> None:
    unit, fewest = ANIMATION_TIMES[path.suffix.lower()]
    starts: list[int] = []  # of the frames that are kept, in units: rounding each start keeps the length of the whole
    stills: list[Image.Image] = []
    count = 0
    for frame in frames:
        start = round(count * 1000 / (fps * unit))
        if not starts or start - starts[-1] >= fewest:
            starts.append(start)
            stills.append(images.to_pil(frame))
        count += 1
    end = max(round(count * 1000 / (fps * unit)), starts[-1] + fewest)
    durations = [unit * (after - start) for start, after in itertools.pairwise([*starts, end])]
    options: dict[str, Any] = (
        {"lossless": False, "quality": 90, "method": 4} if path.suffix.lower() == ".webp" else {"optimize": False}
    )
    duration = durations if len(durations) > 1 else durations[0]
    options |= {"save_all": True, "append_images": stills[1:], "duration": duration, "loop": 0}
    path.write_bytes(images.encoded(stills[0], path.suffix.lower(), **options))


@dataclass(frozen=True)
class Video:
    """A video file: its size, speed and length, known before its frames are read."""

    path: Path
    width: int  # pixels, as shown: phones store videos lying on their side
    height: int
    fps: float  # that its frames are read at
    frames: int  # as the file states; players and we may find one more or less
    is_variable: bool = False  # recorded without a fixed rate: frames are repeated or left out to keep ``fps``


def open_video(path: str | os.PathLike[str]) -> Video:
    """Size, speed and length of a video.

    Browsers and phones record without a fixed rate. Their files state one as high as their clock's, such as 1,000. Such
    a video is read at a usual rate, the one that is nearest to how its frames follow each other. Its duration is kept.

    Raises:
        VideoError: there is no such file, ffmpeg cannot read it, or it has no frames.
    """

    path = expanded(path)
    if not path.is_file():
        raise VideoError(f"{path}: there is no such video.")
    # The header of this form of raw video states size and speed after ffmpeg has turned the image upright.
    command = [ffmpeg(), "-v", "error", "-i", _url(path), "-frames:v", "1"]
    command += ["-map", "0:v:0", "-pix_fmt", "yuv444p", "-f", "yuv4mpegpipe", "-"]
    probe = subprocess.run(command, stdin=subprocess.DEVNULL, start_new_session=True, capture_output=True, check=False)
    header, _, content = probe.stdout.partition(b"\n")
    match = re.match(rb"YUV4MPEG2 W(\d+) H(\d+) F(\d+):(\d+)", header)
    if match is None or not content:
        why = probe.stderr.decode(errors="replace").strip().splitlines()
        what = kinds.sentence(kinds.read_head(path)) or (shown(why[-1], 200) if why else "it is empty")
        raise VideoError(f"{path}: no video with frames in it ({what}).")
    width, height, rate, base = (int(number) for number in match.groups())
    if not rate or not base:
        raise VideoError(f"{path}: states {rate}/{base} frames a second, which is no speed.")
    fps = rate / base
    times = _frame_times(path)
    if len(times) < 2:
        return Video(path, width, height, fps, len(times))
    typical = float(np.median(np.diff(times)))
    if not typical > 0 or fps <= VARIABLE * (len(times) - 1) / (times[-1] - times[0]):
        return Video(path, width, height, fps, len(times))
    usual = min(RATES, key=lambda rate: abs(math.log(rate * typical)))
    return Video(path, width, height, usual, round((times[-1] - times[0] + typical) * usual), is_variable=True)


def _frame_times(path: Path) -> np.ndarray:
    """Seconds at which a video's frames are shown, in order; none where ffmpeg cannot tell. Nothing is decoded."""
    command = [ffmpeg(), "-v", "error", "-i", _url(path), "-map", "0:v:0", "-c", "copy"]
    listing = subprocess.run(
        [*command, "-f", "framecrc", "-"],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        capture_output=True,
        text=True,
        check=False,
    )
    base = re.search(r"^#tb 0: (\d+)/(\d+)$", listing.stdout, re.MULTILINE)
    # Each frame is a line: stream, time of decoding, time of showing, duration, bytes, checksum.
    shown = re.findall(r"^0, *-?\d+, *(-?\d+),", listing.stdout, re.MULTILINE)
    return np.sort(np.array(shown, np.float64)) * (int(base[1]) / int(base[2]) if base else 1.0)


def read_frames(video: Video) -> Iterator[np.ndarray]:
    """The frames one by one: uint8 RGB [h, w, 3].

    Raises:
        VideoError: ffmpeg fails on the way.
    """
    command = [ffmpeg(), "-v", "error", "-i", _url(video.path), "-map", "0:v:0"]
    command += ["-r", f"{video.fps:g}"] if video.is_variable else []
    command += ["-pix_fmt", "rgb24", "-f", "rawvideo", "-"]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None and process.stderr is not None
    size = video.width * video.height * 3
    try:
        while len(data := process.stdout.read(size)) == size:
            yield np.frombuffer(data, np.uint8).reshape(video.height, video.width, 3)
        messages = process.stderr.read().decode(errors="replace").strip()
        if process.wait():
            raise VideoError(f"{video.path}: ffmpeg could not read it to the end: {messages}")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stdout.close()
        process.stderr.close()
        process.wait()
