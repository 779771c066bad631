"""A folder or zip of your own images at 256 pixels, on one GPU: a starting point to copy.

    python train.py --config configs/folder_256.py --run.dir runs/mine --data.path FOLDER_OR_ZIP

Add --data.mirror if a mirrored picture is as good as the other (faces, animals; not text). If the top folders are
classes, say how many, here 3:

    python train.py --config configs/folder_256.py --run.dir runs/mine --data.path FOLDER_OR_ZIP --num-classes 3

The schedule is the original's for one GPU; that it suits your images is for you to find out. Some thousands of images
are few: then add --augment.mode ada, and --data.mirror where left and right do not matter.
Hardware: one GPU.
Hours: published for these 25,000 kimg on one V100: 358 (README of NVlabs/stylegan). Not measured with this code.
Result: depends on the images; untested.
"""

from stylegen.config import Config, DataConfig, LossConfig, RunConfig, ScheduleConfig


def get_config() -> Config:
    return Config(
        resolution=256,
        compute_dtype="bfloat16",  # for GPUs and TPUs
        data=DataConfig(source="images"),
        loss=LossConfig(r1_gamma=10.0),  # the original's; NVIDIA's rule for StyleGAN2-ADA, see --auto, gives 1.6
        schedule=ScheduleConfig(
            batch={8: 128, 16: 128, 32: 64, 64: 32, 128: 16, 256: 8},
            learning_rate={128: 0.0015, 256: 0.002},
        ),
        run=RunConfig(tick_kimg=50, checkpoint_kimg=200, keep_every_kimg=5_000),  # ours
    )
