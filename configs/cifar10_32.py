"""CIFAR-10 at 32 pixels, conditional on its ten classes. The settings are ours: the original did not train on it.

    python train.py --config configs/cifar10_32.py --run.dir runs/cifar10 --data.path DIR

DIR holds cifar-10-binary.tar.gz, or is what prepare.py made of it. Then, the classes in the archive's order (3 is cat):

    python sample.py --run runs/cifar10 --seeds 0-9 --labels 0-9 --out out

Hardware: one GPU or TPU.
Hours: unknown, not run to the end.
Result: untested. 50,000 images are few for a discriminator of this size, and there is no augmentation here. Expect the
    best images in the middle of the run; a checkpoint is kept every 1,000 kimg for that reason.
"""

from stylegen.config import Config, DataConfig, LossConfig, RunConfig, ScheduleConfig


def get_config() -> Config:
    return Config(
        resolution=32,
        num_classes=10,
        data=DataConfig(source="cifar10", mirror=True),
        # Weaker than the original's 10, which is for pictures of 64 to 1024 times as many pixels.
        loss=LossConfig(r1_gamma=1.0),
        # Short phases, because little is learned at 8 and 16 pixels that 32 does not soon teach again.
        schedule=ScheduleConfig(total_kimg=10_000, stable_kimg=300, fade_kimg=300, batch={8: 128, 16: 128, 32: 64}),
        run=RunConfig(tick_kimg=50, checkpoint_kimg=200, keep_every_kimg=1_000, grid=(10, 10)),
    )
