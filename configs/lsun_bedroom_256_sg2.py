"""LSUN bedrooms at 256 pixels with StyleGAN2, configuration F of its paper as it trains LSUN's other scenes.

    python train.py --config configs/lsun_bedroom_256_sg2.py --run.dir runs/bedroom-sg2 --data.path DIR

DIR holds bedroom_train_lmdb.zip, or the folder unpacked from it, or what prepare.py made of it. The paper (Karras et
al. 2020, "Analyzing and Improving the Image Quality of StyleGAN") has no bedrooms. Settings are those of the published
code for churches; the length is that of the original StyleGAN on bedrooms.

Hardware: 8 GPUs in the original (6.4 GB of each used). Here any number that splits the batch of 32 into groups of 4
    images, a single one too.
Hours: published for 25,000 kimg at 256 pixels on 8 / 4 / 2 / 1 V100: 114 / 213 / 407 / 781 (README of
    NVlabs/stylegan2). Prediction for the 70,000 kimg here, in proportion: 319 on 8. Not measured with this code.
Result: none is published for bedrooms; for churches FID50k 3.86, for cats 6.93, for horses 3.43 (Table 3 of the paper).
    Not trained with this code.
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
        resolution=256,
        compute_dtype="bfloat16",  # ours, for GPUs and TPUs; the original computes in float32
        data=DataConfig(source="lsun", category="bedroom"),
        generator=GeneratorConfig(block="demod", channel_base=32_768),
        discriminator=DiscriminatorConfig(channel_base=32_768),
        loss=LossConfig(r1_gamma=100.0, r1_interval=16, pl_weight=2.0),
        optimizer=OptimizerConfig(learning_rate=0.002),
        schedule=ScheduleConfig(start_resolution=256, total_kimg=70_000),
        # Ours, for so long a run.
        run=RunConfig(tick_kimg=100, checkpoint_kimg=400, keep_every_kimg=10_000),
    )
