"""Every setting of an experiment, with its unit, its default and the check that it makes sense.

A configuration is a tree of frozen dataclasses. An experiment file (``configs/*.py``) states only what differs from
the defaults in ``sections.py`` and ``experiment.py``. The command line overrides single fields (``--data.batch 16``).
``Config`` checks the whole before anything is compiled. The result is written as JSON into the run directory, and
everything later reads it from there.
"""

from stylegen.config.checks import (
    LOGGERS,
    MAX_ARRAY_CHANNELS,
    MAX_CLASSES,
    MAX_KIMG,
    MAX_RESOLUTION,
    ConfigError,
    check,
    is_resolution,
    option,
    validate_distributed,
)
from stylegen.config.experiment import Config
from stylegen.config.sections import (
    AugmentConfig,
    DataConfig,
    DiscriminatorConfig,
    DistributedConfig,
    GeneratorConfig,
    LossConfig,
    OptimizerConfig,
    RunConfig,
    ScheduleConfig,
    Section,
)

__all__ = [
    "AugmentConfig",
    "Config",
    "ConfigError",
    "DataConfig",
    "DiscriminatorConfig",
    "DistributedConfig",
    "GeneratorConfig",
    "LOGGERS",
    "LossConfig",
    "MAX_ARRAY_CHANNELS",
    "MAX_CLASSES",
    "MAX_KIMG",
    "MAX_RESOLUTION",
    "OptimizerConfig",
    "RunConfig",
    "ScheduleConfig",
    "Section",
    "check",
    "is_resolution",
    "option",
    "validate_distributed",
]
