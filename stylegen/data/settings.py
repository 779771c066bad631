"""Which settings of the data a source uses."""

from stylegen.config import DataConfig, check, option

# Settings that not every source uses, and the sources that do.
USED_BY: dict[str, tuple[str, ...]] = {
    "path": ("images", "lsun", "cifar10", "tfds", "arrays"),
    "prepared": ("images", "lsun", "cifar10", "arrays"),
    "category": ("lsun",),
    "split": ("lsun", "images", "cifar10", "tfds"),
    "labels": ("images",),
    "tfds_name": ("tfds",),
    "crop": ("lsun", "images", "cifar10", "tfds"),
    "num_images": ("toy_bedrooms",),
}


def check_used(data: DataConfig, name: str) -> None:
    """Raise ConfigError if a setting of the data that was asked for is one that its source ignores.

    Args:
        data: the settings.
        name: of a field of ``DataConfig``.
    """
    value, sources = getattr(data, name), USED_BY.get(name)
    if sources is None or data.source in sources or value is None:
        return
    others = f" (or {', '.join(sources[1:])})" if sources[1:] else ""
    fix = f"leave it out, or add {option('data.source', sources[0])}{others}"
    check(False, f"data.{name}", value, f"data.source {data.source} does not use it; {fix}")
