"""What the log says of a run between two ticks."""

import jax
import pytest

from stylegen.cli.experiments import load_config
from stylegen.runs import report
from stylegen.training import schedule
from stylegen.training.meters import Clock

CONFIG = load_config("folder_256")
STAGE = schedule.at(CONFIG, 0)
TICK = 50_000


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


def reporter(log: Log) -> report.Reporter:
    mesh = jax.sharding.Mesh(jax.devices()[:1], ("batch",))
    return report.Reporter(CONFIG, mesh, log, None, num_images=60)  # type: ignore[arg-type]


def test_a_slow_run_says_once_when_its_first_tick_comes(now):
    log = Log()
    clock, told, began = Clock(0), reporter(log), now["s"]
    for seconds in (30, 64, 90, 120):
        now["s"] = began + seconds
        told.early(STAGE, 4 * seconds, TICK, clock)  # 4 img/s
    (line,) = log.lines
    assert line.startswith("0.256 kimg at 4.0 img/s: the next line and samples come at 50 kimg, in about 3 h 27 min;")
    assert line.endswith("--config folder_64_few.")


def test_a_run_whose_tick_is_near_says_nothing(now):
    log = Log()
    clock, told = Clock(0), reporter(log)
    now["s"] += 61
    told.early(STAGE, 49_000, TICK, clock)
    assert not log.lines


@pytest.mark.parametrize(("speed", "on_cpu", "advised"), [(4, True, True), (4, False, False), (1_000_000, True, False)])
def test_a_gpu_is_advised_where_a_cpu_would_take_weeks(speed, on_cpu, advised):
    text = report.outlook(CONFIG, STAGE, 1_000, TICK, speed, on_cpu)
    assert ("needs a GPU" in text) == advised
