"""Drawn bedrooms at 32 pixels: a first run, on any machine.

Hardware: two processor cores.
    python train.py --config configs/quickstart.py --run.dir runs/quickstart
Hours: 0.1 (5 min 8 s, nothing compiled before), measured on two EPYC cores, 2026-11-22.
Result: the README's pictures: walls, floors, beds with pillows, windows by day and by night; soft edges, few lamps.

The settings are ours, chosen for a few minutes of training: narrow networks, small batches, lazy R1, most of the time
at 16 pixels, where steps are cheap, and no noise inputs: drawn rooms have no texture to make of them, and to unlearn
them takes longer than this run. What matters most is a learning rate that is twelve times the original's, and a mapping
network that learns ten times as fast as its own: docs/quality.md has what other rates gave.
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
        data=DataConfig(source="toy_bedrooms", num_images=10_000, batch=16),
        generator=GeneratorConfig(
            z_dim=128,
            w_dim=128,
            mapping_layers=4,
            mapping_lr_multiplier=0.1,
            channel_base=512,
            channel_max=48,
            use_noise=False,
            style_mixing_prob=0.5,
        ),
        discriminator=DiscriminatorConfig(channel_base=512, channel_max=48),
        loss=LossConfig(r1_gamma=1.5, r1_interval=16),
        optimizer=OptimizerConfig(learning_rate=0.012, ema_kimg=2.0),
        schedule=ScheduleConfig(
            total_kimg=74,
            stable_kimg_at={8: 12, 16: 28, 32: 20},
            fade_kimg_at={16: 8, 32: 6},
            batch={8: 32},
        ),
        run=RunConfig(tick_kimg=4.0, checkpoint_kimg=20.0, grid=(8, 8)),
    )
