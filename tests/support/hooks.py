"""Hooks of the training loop that several tests use."""

import os
import signal
from collections.abc import Callable

from stylegen.train import Hooks


class Killed(BaseException):
    """Ends a run as a kill would: nothing gets to save."""


def kill() -> None:
    raise Killed


def terminate() -> None:
    """What a scheduler does that wants the machine back."""
    os.kill(os.getpid(), signal.SIGTERM)


class Interrupt(Hooks):
    """Calls ``how`` after the step that reaches ``at`` images."""

    def __init__(self, at: int, how: Callable[[], None] = kill):
        self.at, self.how = at, how

    def on_step(self, state, metrics, nimg):
        if nimg == self.at:
            self.how()


class LastState(Hooks):
    """Keeps the state after the last step."""

    def on_step(self, state, metrics, nimg):
        self.state = state
