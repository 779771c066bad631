"""Several devices on the CPU: their number is fixed when JAX starts, so in a process of its own."""

import json
import os
import subprocess
import sys
from typing import Any

from tests.support.paths import ROOT


def with_devices(count: int) -> dict[str, str]:
    """The environment of a process that has so many devices, and the flags of ``conftest.py``."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}"
    return os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}


def report_of(program: str, *arguments: object, devices: int = 2) -> dict[str, Any]:
    """The JSON object that a program prints last, run in a process with so many devices."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    # The limit is against hanging, not slowness.
    done = subprocess.run(command, cwd=ROOT, env=with_devices(devices), capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report
