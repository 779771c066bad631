"""Flickr-Faces-HQ at 1024 pixels, as the original StyleGAN trained it on 8 GPUs.

    python train.py --config configs/ffhq_1024.py --run.dir runs/ffhq --data.path DIR

DIR holds the aligned 1024x1024 images, in folders or a zip, or is what prepare.py made of them. The batches
are those of the original on 8 GPUs; fewer devices compute the same from them, given the memory. Its batches on one GPU:

    --schedule.batch 8:128,16:128,32:64,64:32,128:16,256:8,512:4,1024:4

Hardware: 8 GPUs in the original. Here any number that splits the batches into groups of 4 images, a single one too.
Hours: published for these 25,000 kimg on 8 / 4 / 2 / 1 V100: 158 / 272 / 526 / 988 (README of NVlabs/stylegan). Not
    measured with this code.
Result: published FID50k 4.40 (the paper; 4.4159 in the README of NVlabs/stylegan). Not reproduced with this code.
"""

from stylegen.config import Config, DataConfig, RunConfig, ScheduleConfig


def get_config() -> Config:
    return Config(
        resolution=1024,
        compute_dtype="bfloat16",  # ours, for GPUs and TPUs; the original computes in float32
        data=DataConfig(source="images", mirror=True),
        schedule=ScheduleConfig(
            total_kimg=25_000,
            batch={8: 256, 16: 128, 32: 64, 64: 32},
            learning_rate={128: 0.0015, 256: 0.002, 512: 0.003, 1024: 0.003},
        ),
        # Ours, but for the checkpoints, which the original wrote at 1024 pixels every 200 kimg too.
        run=RunConfig(tick_kimg=100, checkpoint_kimg=200, keep_every_kimg=5_000),
    )
