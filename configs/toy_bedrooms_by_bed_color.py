"""Drawn bedrooms at 16 pixels by the color of the bed, six classes: a first class-conditional run, on any machine.

Hardware: two processor cores.
    python train.py --config configs/toy_bedrooms_by_bed_color.py --run.dir runs/by_bed_color
Hours: 0.1 (5 min 13 s) on one EPYC core beside other work, 2026-11-22; on two idle ones not measured.
Result: beds have the color asked for in 94 % of 1,000 pictures, yellow most and teal least often (docs/quality.md).

Classes 0 to 5 are red, yellow, green, teal, blue and purple beds. A row of each, and how often the color asked for is
the one drawn:
    python sample.py --run runs/by_bed_color --seeds 0-5 --labels 0-5 --out out/by_bed_color
    python studies/toy_factors.py --run runs/by_bed_color

The settings are the quickstart's, without its last stage. prepare.py toy_bedrooms stores the same labels.
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
        resolution=16,
        num_classes=6,
        data=DataConfig(source="toy_bedrooms", num_images=10_000, batch=16),
        generator=GeneratorConfig(
            z_dim=64,
            w_dim=64,
            mapping_layers=4,
            mapping_lr_multiplier=0.1,
            channel_base=512,
            channel_max=32,
            use_noise=False,
            style_mixing_prob=0.5,
        ),
        discriminator=DiscriminatorConfig(channel_base=512, channel_max=32),
        loss=LossConfig(r1_gamma=1.5, r1_interval=16),
        optimizer=OptimizerConfig(learning_rate=0.012, ema_kimg=2.0),
        schedule=ScheduleConfig(
            total_kimg=60,
            stable_kimg_at={8: 12, 16: 40},
            fade_kimg_at={16: 8},
            batch={8: 32},
        ),
        run=RunConfig(tick_kimg=4.0, checkpoint_kimg=20.0, grid=(8, 6)),
    )
