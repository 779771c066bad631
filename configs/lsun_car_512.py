"""LSUN cars at 512x384 pixels, on black bars in 512x512, as the original StyleGAN trained them on 8 GPUs.

    python train.py --config configs/lsun_car_512.py --run.dir runs/car --data.path DIR

DIR holds car.zip, or the folder unpacked from it, or what prepare.py made of it with --crop center-crop-wide. The
batches are those of the original on 8 GPUs; fewer devices compute the same from them, given the memory. Its batches on
one GPU:

    --schedule.batch 8:128,16:128,32:64,64:32,128:16,256:8,512:4

Hardware: 8 GPUs in the original. Here any number that splits the batches into groups of 4 images, a single one too.
Hours: published for 25,000 kimg at 512 pixels on 8 / 4 / 2 / 1 V100: 106 / 168 / 319 / 597 (README of NVlabs/stylegan).
    Prediction for the 46,000 kimg here, in proportion: 195 on 8. Not measured with this code.
Result: published FID50k 3.27, of the 512x384 pixels between the bars (GenForce's model zoo). Not reproduced with this
    code.
"""

from stylegen.config import Config, DataConfig, RunConfig, ScheduleConfig


def get_config() -> Config:
    return Config(
        resolution=512,
        compute_dtype="bfloat16",  # ours, for GPUs and TPUs; the original computes in float32
        # mirror stays off: cars were not mirrored
        data=DataConfig(source="lsun", category="car", crop="center-crop-wide"),
        schedule=ScheduleConfig(
            total_kimg=46_000,
            batch={8: 256, 16: 128, 32: 64, 64: 32},
            learning_rate={128: 0.0015, 256: 0.002, 512: 0.003},
        ),
        # Ours, but for the checkpoints, which the original wrote at 512 pixels every 300 kimg too.
        run=RunConfig(tick_kimg=100, checkpoint_kimg=300, keep_every_kimg=10_000),
    )
