"""Drawn bedrooms at 64 pixels: the generator `toy_bedrooms_64` that comes with the package.

Hardware: one CPU core.
    python train.py --config configs/toy_bedrooms_64.py --run.dir runs/rooms
Hours: 3.0 on one core of an AMD EPYC that other programs shared, about 1.8 of it CPU time, 2026-11-28.
Result: crisp rooms: stripes of beds, bars of windows, pictures on walls and lamps can be made out (docs/quality.md).

As the quickstart, with twice the channels at every resolution, four times the rooms and three times the training.
What ships had 28 kimg more, at a quarter of the learning rate (docs/quality.md), which clears walls and floors.
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
        resolution=64,
        data=DataConfig(source="toy_bedrooms", num_images=40_000, batch=16),
        generator=GeneratorConfig(
            z_dim=128,
            w_dim=128,
            mapping_layers=4,
            mapping_lr_multiplier=0.1,
            channel_base=1024,
            channel_max=96,
            use_noise=False,
            style_mixing_prob=0.5,
        ),
        discriminator=DiscriminatorConfig(channel_base=1024, channel_max=96),
        loss=LossConfig(r1_gamma=1.5, r1_interval=16),
        optimizer=OptimizerConfig(learning_rate=0.012, ema_kimg=2.0),
        schedule=ScheduleConfig(
            total_kimg=245,
            stable_kimg_at={8: 8, 16: 36, 32: 36},
            fade_kimg_at={16: 4, 32: 6, 64: 8},
            batch={8: 32},
            learning_rate={64: 0.008},
        ),
        run=RunConfig(tick_kimg=4.0, checkpoint_kimg=10.0, grid=(8, 8)),
    )
