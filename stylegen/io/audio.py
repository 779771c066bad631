"""Sound files to numbers, by ffmpeg: any format it reads, as one channel."""

import os
import subprocess

import numpy as np

from stylegen.errors import StylegenError
from stylegen.io.video import ffmpeg
from stylegen.paths import expanded
from stylegen.untrusted import kinds, shown

RATE = 22_050  # samples a second: sound up to 11 kHz
MAX_SECONDS = 3600


class AudioError(StylegenError):
    """A sound file cannot be used; the message says why."""


def read(path: str | os.PathLike[str]) -> np.ndarray:
    """The samples of a sound file: float32 [n] around [-1, 1], ``RATE`` of them a second, channels averaged.

    Raises:
        AudioError: there is no such file, it has no sound that ffmpeg can read, or more than an hour of it.
    """
    path = expanded(path)
    if not path.is_file():
        raise AudioError(f"{path}: there is no such sound file.")
    command = [ffmpeg(), "-v", "error", "-i", str(path), "-map", "0:a:0", "-t", str(MAX_SECONDS + 1)]
    command += ["-ac", "1", "-ar", str(RATE), "-f", "f32le", "-"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, start_new_session=True, capture_output=True, check=False)
    samples = np.frombuffer(done.stdout[: len(done.stdout) // 4 * 4], "<f4")
    if done.returncode or samples.size == 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        why = kinds.sentence(kinds.read_head(path)) or (shown(lines[-1], 200) if lines else "it is empty")
        raise AudioError(f"{path}: no sound that can be read ({why}).")
    if samples.size > MAX_SECONDS * RATE:
        raise AudioError(f"{path}: lasts longer than an hour, the longest that is read.")
    return np.nan_to_num(samples, posinf=0.0, neginf=0.0)
