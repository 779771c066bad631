"""Drawn bedrooms at 32 pixels: a first run, on any machine.

python train.py --config configs/quickstart.py --run.dir runs/quickstart
"""

from stylegen.config import (
    Config,
    DataConfig,
    DiscriminatorConfig,
    GeneratorConfig,
    LossConfig,
    OptimizerConfig,
    RunConfig,
    ScheduleConfig,
)


def get_config() -> Config:
    return Config(
        resolution=32,
        data=DataConfig(source="toy_bedrooms", batch=16),
        generator=GeneratorConfig(z_dim=128, w_dim=128, channel_base=512, channel_max=32),
        discriminator=DiscriminatorConfig(channel_base=512, channel_max=32),
        loss=LossConfig(r1_gamma=1.0, r1_interval=16),
        optimizer=OptimizerConfig(learning_rate=0.002, ema_kimg=2.0),
        schedule=ScheduleConfig(
            total_kimg=72,
            stable_kimg_at={8: 20, 16: 14, 32: 22},
            fade_kimg_at={16: 8, 32: 8},
            batch={8: 32},
        ),
        run=RunConfig(tick_kimg=4.0, checkpoint_kimg=24.0, grid=(8, 8)),
    )
