"""LSUN cars at 512x384 pixels, without bars: the network itself is 4:3.

    python train.py --config configs/lsun_car_512x384.py --run.dir runs/car --data.path DIR

DIR holds car.zip, or the folder unpacked from it, or what prepare.py made of it with --resolution 512x384. The learned
constant has 6x8 pixels in place of 4x4, so the image sizes of the stages are 16x12, 32x24, ... 512x384. A step computes
three quarters of the pixels of lsun_car_512.py, which puts the same images between black bars as the original did.
The schedule, batches and learning rates are those of lsun_car_512.py up to the same number of pixels.

Hardware: as for lsun_car_512.py. On one GPU: --schedule.batch 8:128,16:64,32:32,64:16,128:8,256:4
Hours: not measured.
Result: none yet. FID is not comparable with published numbers, whose reference images are 512x384 between bars.
"""

from stylegen.config import Config, DataConfig, RunConfig, ScheduleConfig


def get_config() -> Config:
    return Config(
        resolution=256,  # 64 times as many rows and columns as the constant has
        const_shape=(6, 8),
        compute_dtype="bfloat16",  # ours, for GPUs and TPUs; the original computes in float32
        # mirror stays off: cars were not mirrored
        data=DataConfig(source="lsun", category="car"),
        schedule=ScheduleConfig(
            total_kimg=46_000,
            batch={8: 128, 16: 64, 32: 32},
            learning_rate={64: 0.0015, 128: 0.002, 256: 0.003},
        ),
        run=RunConfig(tick_kimg=100, checkpoint_kimg=300, keep_every_kimg=10_000),
    )
