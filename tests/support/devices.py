"""Several devices on the CPU: their number is fixed when JAX starts, so in a process of its own."""

import os


def with_devices(count: int) -> dict[str, str]:
    """The environment of a process that has so many devices, and the flags of ``conftest.py``."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}"
    return os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
