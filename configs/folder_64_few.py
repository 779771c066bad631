"""A few hundred images of your own at 64 pixels, on one machine: overnight on a CPU, minutes on a GPU.

    python train.py --config configs/folder_64_few.py --run.dir runs/mine --data.path FOLDER_OR_ZIP

From 200 images up. With fewer than some thousands the discriminator memorizes them, so adaptive discriminator
augmentation (ADA) is on. Add --data.mirror if a mirrored image is as good as the other (faces, animals; not text).
r1_gamma is 6 at 64 pixels, which acts on 16 pixels as the 0.375 of the study on 434 photographs does (docs/quality.md).

What to expect: colors, light and composition of your images; soft edges; no text, no faces that one would recognize.
Look at fakes.png; the doctor's lines in log.txt say what is unhealthy.

Hardware: two CPU cores, or one GPU. On a GPU take wider networks and more images, which cost no more time there:
    ... --compute-dtype bfloat16 --generator.channel-base 8192 --generator.channel-max 256 --data.batch 32
        --discriminator.channel-base 8192 --discriminator.channel-max 256 --schedule.total-kimg 5000
Hours: 8 on two EPYC cores, predicted from 15.8 img/s at 64 pixels (measured with R1 every step, 2026-11-22,
docs/performance.md; here it is every 16th). On one H200, as wide as that, half an hour for 5,000 kimg, predicted from
3,184 img/s (2026-11-27). --dry-run --measure says the hours on your machine.
Result: depends on the images; not trained to its end by us.
"""

from stylegen.config import (
    AugmentConfig,
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
        data=DataConfig(source="images", batch=16),
        generator=GeneratorConfig(
            z_dim=128,
            w_dim=128,
            mapping_layers=4,
            mapping_lr_multiplier=0.1,
            channel_base=2_048,
            channel_max=64,
        ),
        discriminator=DiscriminatorConfig(channel_base=2_048, channel_max=64),
        loss=LossConfig(r1_gamma=6.0, r1_interval=16),
        augment=AugmentConfig(mode="ada", speed_kimg=100.0),  # a sixth of the run; the paper's 500 is for 25,000 kimg
        # A quarter of the quickstart's rate: with ADA at 0.012 the discriminator could not tell (docs/quality.md).
        optimizer=OptimizerConfig(learning_rate=0.003, ema_kimg=2.0),
        schedule=ScheduleConfig(total_kimg=600, stable_kimg=50, fade_kimg=30, batch={8: 32, 16: 32}),
        run=RunConfig(tick_kimg=5.0, checkpoint_kimg=20.0, keep_every_kimg=100.0, grid=(8, 6)),
    )
