"""Flickr-Faces-HQ at 1024 pixels with StyleGAN2, configuration F of its paper, which does not grow.

    python train.py --config configs/ffhq_1024_sg2.py --run.dir runs/ffhq-sg2 --data.path DIR

DIR holds the aligned 1024x1024 images, in folders or a zip, or is what prepare.py made of them. Settings are those of
Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", appendix B, and of the published code.

Hardware: 8 GPUs of 16 GB in the original (13.3 GB used). Here any number that splits the batch of 32 into groups of 4
    images, a single one too, given the memory.
Hours: published for these 25,000 kimg on 8 / 4 / 2 / 1 V100: 234 / 446 / 868 / 1679 (README of NVlabs/stylegan2). Not
    measured with this code.
Result: published FID50k 2.84, path length 145.0 in w at the ends without crop, precision 0.689, recall 0.492 (README of
    NVlabs/stylegan2; Table 1 of the paper). Not reproduced with this code.
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
        resolution=1024,
        compute_dtype="bfloat16",  # ours, for GPUs and TPUs; the original computes in float32
        data=DataConfig(source="images", mirror=True),
        # Twice the channels of StyleGAN from 64 pixels up: what makes F of E.
        generator=GeneratorConfig(block="demod", channel_base=32_768),
        discriminator=DiscriminatorConfig(channel_base=32_768),
        loss=LossConfig(r1_gamma=10.0, r1_interval=16, pl_weight=2.0),
        optimizer=OptimizerConfig(learning_rate=0.002),
        schedule=ScheduleConfig(start_resolution=1024, total_kimg=25_000),
        # Ours, for so long a run.
        run=RunConfig(tick_kimg=100, checkpoint_kimg=200, keep_every_kimg=5_000),
    )
