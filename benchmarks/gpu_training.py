"""The runs of ``gpu_check.py``: 64 pixels on one GPU, bfloat16, ADA, no growing, for as many minutes as there are.

Without growing there is one program to compile. The command line says where the images are.
"""

from stylegen.config import (
    AugmentConfig,
    Config,
    DataConfig,
    DiscriminatorConfig,
    GeneratorConfig,
    OptimizerConfig,
    RunConfig,
    ScheduleConfig,
)


def get_config() -> Config:
    return Config(
        resolution=64,
        compute_dtype="bfloat16",
        data=DataConfig(source="toy_bedrooms", mirror=True, batch=32),
        generator=GeneratorConfig(channel_base=8_192, channel_max=256),
        discriminator=DiscriminatorConfig(channel_base=8_192, channel_max=256),
        augment=AugmentConfig(mode="ada", speed_kimg=100.0),
        optimizer=OptimizerConfig(learning_rate=0.002, ema_rampup=0.05),
        schedule=ScheduleConfig(start_resolution=64, total_kimg=5_000),
        run=RunConfig(tick_kimg=20.0, checkpoint_kimg=5_000, grid=(12, 8), compilation_cache=""),
    )
