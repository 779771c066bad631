"""Generators that NVIDIA publishes, by short names: where they are, what they were trained on, and their licenses.

Addresses are those of NVIDIA's own repositories (stylegan, stylegan2, stylegan2-ada-pytorch). None of these files has
been fetched by this project's tests. Their sizes and hashes are not published: the size is what the server states, and
the hash is kept with the first download.
"""

from dataclasses import dataclass

PREFIX = "nvidia:"
# All three allow research and forbid commercial use.
STYLEGAN1 = "CC BY-NC 4.0"
STYLEGAN2 = "Nvidia Source Code License-NC"
ADA = "NVIDIA Source Code License (non-commercial)"

_DRIVE = "https://drive.usercontent.google.com/download?export=download&confirm=t&id="
_CDN = "https://nvlabs-fi-cdn.nvidia.com"


@dataclass(frozen=True)
class Published:
    """One file."""

    url: str
    filename: str
    license: str
    what: str  # a few words: network, data, resolution


def _first(drive_id: str, name: str, what: str) -> Published:
    return Published(_DRIVE + drive_id, f"karras2019stylegan-{name}.pkl", STYLEGAN1, f"StyleGAN, {what}")


def _second(name: str, what: str) -> Published:
    filename = f"stylegan2-{name}-config-f.pkl"
    return Published(f"{_CDN}/stylegan2/networks/{filename}", filename, STYLEGAN2, f"StyleGAN2, {what}")


def _ada(name: str, what: str) -> Published:
    filename = f"{name}.pkl"
    url = f"{_CDN}/stylegan2-ada-pytorch/pretrained/{filename}"
    return Published(url, filename, ADA, f"StyleGAN2-ADA, {what}")


NVIDIA: dict[str, Published] = {
    "bedroom-256": _first("1MOSKeGF0FJcivpBI7s63V9YHloUTORiF", "bedrooms-256x256", "LSUN bedrooms"),
    "cat-256": _first("1MQywl0FNt6lHu8E_EUqnRbviagS7fbiJ", "cats-256x256", "LSUN cats"),
    "car-512": _first("1MJ6iCfNtMIRicihwRorsM3b7mmtmK9c3", "cars-512x384", "LSUN cars"),
    "celebahq-1024": _first("1MGqJl28pN4t7SAtSrPdSRJSQJqahkzUf", "celebahq-1024x1024", "CelebA-HQ"),
    "ffhq-1024": _first("1MEGjdvVpUsu1jB4zrXZN7Y4kBBOzizDQ", "ffhq-1024x1024", "FFHQ"),
    "sg2-car-512": _second("car", "LSUN cars"),
    "sg2-cat-256": _second("cat", "LSUN cats"),
    "sg2-church-256": _second("church", "LSUN churches"),
    "sg2-horse-256": _second("horse", "LSUN horses"),
    "sg2-ffhq-1024": _second("ffhq", "FFHQ"),
    "ada-afhqcat-512": _ada("afhqcat", "cats of AFHQ"),
    "ada-afhqdog-512": _ada("afhqdog", "dogs of AFHQ"),
    "ada-afhqwild-512": _ada("afhqwild", "wild animals of AFHQ"),
    "ada-brecahad-512": _ada("brecahad", "BreCaHAD"),
    "ada-ffhq-1024": _ada("ffhq", "FFHQ"),
    "ada-metfaces-1024": _ada("metfaces", "MetFaces"),
}
