"""LSUN bedrooms at 256 pixels, as the original StyleGAN trained them on 8 GPUs.

    python train.py --config configs/lsun_bedroom_256.py --run.dir runs/bedroom --data.path DIR

DIR holds bedroom_train_lmdb.zip, or the folder unpacked from it, or what prepare.py made of it. The batches are
those of the original on 8 GPUs; fewer devices compute the same from them, given the memory. Its batches on one GPU:

    --schedule.batch 8:128,16:128,32:64,64:32,128:16,256:8

Hardware: 8 GPUs in the original. Here any number that splits the batches into groups of 4 images, a single one too.
Hours: published for 25,000 kimg at 256 pixels on 8 / 4 / 2 / 1 V100: 80 / 117 / 221 / 358 (README of NVlabs/stylegan).
    Prediction for the 70,000 kimg here, in proportion: 224 on 8. Not measured with this code.
Result: published FID50k 2.65 (GenForce's model zoo; Fig. 10 of the paper). Not reproduced with this code.
"""

from stylegen.config import Config, DataConfig, RunConfig, ScheduleConfig


def get_config() -> Config:
    return Config(
        resolution=256,
        compute_dtype="bfloat16",  # ours, for GPUs and TPUs; the original computes in float32
        data=DataConfig(source="lsun", category="bedroom"),  # mirror stays off: bedrooms were not mirrored
        schedule=ScheduleConfig(
            total_kimg=70_000,
            batch={8: 256, 16: 128, 32: 64, 64: 32},
            learning_rate={128: 0.0015, 256: 0.002},
        ),
        # Ours, but for the checkpoints, which the original wrote at 256 pixels every 400 kimg too.
        run=RunConfig(tick_kimg=100, checkpoint_kimg=400, keep_every_kimg=10_000),
    )
