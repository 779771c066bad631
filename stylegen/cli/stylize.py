"""The verb ``stylize``: give images or a video the style of others."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from stylegen.cli import arguments, common
from stylegen.io import images
from stylegen.io.files import split_paths
from stylegen.io.image_listing import SUFFIXES, NoImagesError, list_images
from stylegen.io.progress import counted
from stylegen.runtime.memory import keep_freed_memory

DESCRIPTION = """Give an image the style of another (AdaIN, Huang and Belongie 2017). Nothing need be downloaded.

  # An image
  stylize --content room.jpg --style starry_night.jpg --alpha 0.8 --out out.png
  # A folder of images in a mixture of two styles, keeping their colors
  stylize --content DIR --style a.jpg,b.jpg --weights 0.3,0.7 --preserve-color --out DIR2
  # The first style where the mask is white, the second where it is black
  stylize --content room.jpg --style a.jpg,b.jpg --mask mask.png --out out.png
  # The style where the mask is white, the content elsewhere
  stylize --content room.jpg --style a.jpg --mask mask.png --out out.png
  # A video, each frame blended with the one before
  stylize --content in.mp4 --style a.jpg --out out.mp4
  # VGG-16, with a decoder that train_style trained for it
  stylize --network vgg16 --decoder runs/vgg16/style.safetensors --content room.jpg --style a.jpg --out out.png
  # VGG-19: pytorch-AdaIN's two files
  stylize --encoder vgg_normalised.pth --decoder decoder.pth --content room.jpg --style a.jpg --out out.png
"""
File = Annotated[Path | None, tyro.conf.arg(metavar="PATH")]
Text = Annotated[str | None, tyro.conf.arg(metavar="LIST")]
KEEPS_ALPHA = (".png", ".webp", ".tif", ".tiff")
MAX_SIZE = 16_384  # pixels of the shorter side
Pixels = Annotated[int | None, tyro.conf.arg(metavar="PIXELS")]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to transfer."""

    content: File = None  # image, which keeps its transparency, folder of images, or video.
    style: Text = None  # one image, or several separated by commas.
    weights: Text = None  # how much of each style, 1 in sum, such as 0.3,0.7; alike if not given.
    # 0 is the content itself, 1 all of the style. Above 0 the decoder draws the image.
    alpha: float = 1.0
    preserve_color: Literal["coral", "luminance"] | None = None
    """Keep the content's colors: coral recolors the style first, luminance transfers lightness alone. Without a value
    coral."""
    color: Literal["srgb", "as-is"] = "srgb"  # convert images by their ICC profiles, or take their numbers as they are.
    mask: Text = None
    """A gray image of the content's size: white where the style goes, the content being elsewhere; of two styles the
    first, the second where it is black. Or one for each style."""
    out: File = None  # file for one image or a video, folder for a folder.
    size: Annotated[Pixels, arguments.Bounds(most=MAX_SIZE)] = None
    """Shorter side of the content; as it is if not given."""
    style_size: Annotated[Pixels, arguments.Bounds(most=MAX_SIZE)] = 512
    """Shorter side that larger styles are reduced to, which sets how coarse strokes are; 0 leaves them as they are."""
    tile: Annotated[int, arguments.Bounds(64, 8192)] = 512
    """Pixels a side of what is computed at once; smaller needs less memory."""
    blend: float = 0.7  # of a video: share of the moved frame before, where the image goes on; 0 for none.
    network: Literal["small", "vgg16"] = "small"
    """The built-in pair, or VGG-16 up to relu4_1, which needs the extra `perceptual` and --decoder."""
    model: File = None  # networks that train_style wrote, instead of built-in ones.
    encoder: File = None
    """VGG-19 instead: vgg_normalised.pth, torchvision's or Keras' file, or one of ours. Needs --decoder."""
    decoder: File = None  # decoder that was trained for --encoder, or for --network vgg16: decoder.pth, or ours.
    overwrite: bool = False  # replace files that are there.
    download: Annotated[Literal["vgg19"] | None, tyro.conf.arg(metavar="NAME")] = None
    """Fetch torchvision's VGG-19 (575 MB), to train a decoder for, check its hash, and stop."""


INTERRUPTED = "Images that are there are whole; a video appears at the end. --overwrite starts anew."


def main(argv: list[str] | None = None) -> int:
    """Entry point; the exit status is 0, 2 for what the user can fix, or 130 after Ctrl-C."""
    words = _with_mode(sys.argv[1:] if argv is None else argv)
    return common.run(
        lambda: stylize(arguments.parse(Options, words, prog="stylize", description=DESCRIPTION)), INTERRUPTED
    )


def _with_mode(argv: list[str]) -> list[str]:
    """``--preserve-color`` alone means coral; tyro wants a value."""
    result = []
    for i, word in enumerate(argv):
        result.append(word)
        following = argv[i + 1 : i + 2]
        if word.replace("_", "-") == "--preserve-color" and (not following or following[0].startswith("-")):
            result.append("coral")
    return result


def stylize(options: Options) -> None:
    """Do what was asked; an error of our own says why it cannot be done."""
    if options.download is not None:
        _download(options.download)
        return
    _check(options)
    from stylegen.io import video

    assert options.content is not None
    if options.content.is_dir():
        jobs = _folder(options)
    elif options.content.suffix.lower() in video.READABLE:
        _stylize_video(options)
        return
    else:
        jobs = [(options.content, _out_file(options))]
    _stylize_images(options, jobs)


def _check(options: Options) -> None:
    for name, example in (("content", "room.jpg"), ("style", "a.jpg"), ("out", "out.png")):
        if getattr(options, name) is None:
            raise common.UsageError(f"--{name} is missing, for example --{name} {example}.")
    assert options.content is not None
    if not options.content.exists():
        raise common.UsageError(f"--content {options.content}: there is no such file or folder.")
    if options.weights is not None and options.mask is not None:
        raise common.UsageError("--weights and --mask exclude each other: a mask says how much of each style is where.")
    if not (0 <= options.alpha <= 1):
        raise common.UsageError(f"--alpha {options.alpha:g}: must be from 0 (content) to 1 (style).")
    if not (0 <= options.blend < 1):
        raise common.UsageError(f"--blend {options.blend:g}: must be at least 0 and less than 1.")
    for name in ("size", "style_size"):
        value = getattr(options, name)
        if value is not None and value != 0 and value < 16:
            raise common.UsageError(f"--{name.replace('_', '-')} {value}: must be at least 16 pixels, or 0 for none.")
    if options.model is not None and (options.encoder is not None or options.decoder is not None):
        raise common.UsageError("--model holds both networks; it excludes --encoder and --decoder.")
    if options.network == "vgg16" and (options.model is not None or options.encoder is not None):
        raise common.UsageError("--network vgg16 is an encoder itself; it excludes --model and --encoder.")
    if options.network == "small" and (options.encoder is None) != (options.decoder is None):
        missing = "decoder" if options.decoder is None else "encoder"
        raise common.UsageError(
            f"--{missing} is missing: a decoder fits the encoder that it was trained for alone. pytorch-AdaIN's "
            "vgg_normalised.pth and decoder.pth go together; train_style trains a decoder for another encoder; without "
            "both options the built-in networks are used."
        )


def _folder(options: Options) -> list[tuple[Path, Path]]:
    assert options.content is not None and options.out is not None
    out = options.out.resolve()
    try:
        # The results may go into a folder of the content, and are no content.
        listing = list_images(options.content, recursive=True, skip=lambda folder: folder.resolve() == out)
    except NoImagesError as error:
        raise common.UsageError(f"--content {error}") from error
    if options.out.exists() and not options.out.is_dir():
        raise common.UsageError(f"--out {options.out}: is a file; a folder of images goes to a folder.")
    if options.out.suffix.lower() in SUFFIXES and not options.out.exists():
        raise common.UsageError(f"--out {options.out}: names one image; a folder of images goes to a folder.")
    jobs = [(path, options.out / path.relative_to(options.content).with_suffix(".png")) for path in listing.files]
    if len({str(out).casefold() for _, out in jobs}) < len(jobs):
        raise common.UsageError(f"--content {options.content}: two images differ in their extensions alone.")
    names = [str(out.relative_to(options.out)) for _, out in jobs]
    common.check_outputs(options.out, names, options.overwrite)
    if listing.note:
        print(listing.note)
    return jobs


def _out_file(options: Options) -> Path:
    assert options.content is not None and options.out is not None
    out = options.out
    if out.is_dir() or not out.suffix:
        out = out / f"{options.content.stem}.png"
    elif out.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"):
        raise common.UsageError(f"--out {out}: cannot write {out.suffix}; use .png, .jpg or .webp.")
    common.check_outputs(out.parent, [out.name], options.overwrite)
    return out


def _stylize_images(options: Options, jobs: list[tuple[Path, Path]]) -> None:
    from stylegen.style_transfer import StyleError

    stylizer = _Stylizer(options)
    if len(jobs) == 1:
        print(stylizer.model)
    broken: list[str] = []

    def results() -> Iterator[list[Path]]:
        for path, out in jobs:
            try:
                content, alpha = _read_content(path, options.color)
            except StyleError as error:
                if len(jobs) == 1:
                    raise
                broken.append(str(error))
            else:
                content, masks = stylizer.sized(content)
                result = stylizer.transfer(content, masks)
                if alpha is not None:
                    result = _with_alpha(result, _resized(alpha, options.size or 0), out)
                images.save_image(result, out)
            yield [path]

    for _ in common.with_progress(results(), len(jobs), "images"):
        pass
    if len(broken) == len(jobs):
        raise common.UsageError(f"--content {options.content}: none of its images can be used; the first: {broken[0]}")
    where = jobs[0][1] if len(jobs) == 1 else f"{options.out}: {counted(len(jobs) - len(broken), 'image')}"
    print(f"{where}: {stylizer.description()}")
    common.print_left_out(broken)


def _stylize_video(options: Options) -> None:
    from stylegen.io import video
    from stylegen.style_transfer import video as style_video

    assert options.content is not None and options.out is not None
    source = video.open_video(options.content)
    common.check_video(options.out, options.overwrite)
    width, height = _resized_size(source.height, source.width, options.size or 0)
    video.check(options.out, source.fps, frames=source.frames, height=height, width=width, scale=1)
    stylizer = _Stylizer(options)
    rate = f"{source.fps:g} a second" + (", recorded without a fixed rate" if source.is_variable else "")
    print(f"{source.path}: {source.width}x{source.height}, {counted(source.frames, 'frame')}, {rate}")
    consistency = style_video.Consistency()
    sized = (stylizer.sized(frame) for frame in video.read_frames(source))
    masks: list[Any] = [None]

    def frames() -> Iterator[np.ndarray]:
        for frame, regions in sized:
            masks[0] = regions
            stylizer.fix_colors(frame)
            yield frame

    blend = options.blend if options.alpha else 0.0  # at alpha 0 each frame is the content's
    done = style_video.blended(frames(), lambda frame: stylizer.transfer(frame, masks[0]), blend, consistency)
    shown = (batch[0] for batch in common.with_progress(((x,) for x in done), source.frames, "frames"))
    count = video.save_video(shown, options.out, source.fps, scale=1)
    print(f"{options.out}: {counted(count, 'frame')} without sound, {stylizer.description()}")
    print(f"consistency: {consistency}")


class _Stylizer:
    """Networks, styles and masks of a command, read and checked once."""

    def __init__(self, options: Options):
        from stylegen.style_transfer import model as models
        from stylegen.style_transfer import stylize as transfer
        from stylegen.style_transfer import training_images

        keep_freed_memory()
        common.use_compiled_programs()
        self.options = options
        paths = [Path(path) for path in split_paths(options.style or "") if path]
        self.weights = transfer.check_weights(_numbers(options.weights), len(paths)) if options.weights else None
        self.styles: list[Any] = [
            _resized(
                training_images.read(path, transfer.SMALLEST, color=options.color), options.style_size or 0, grow=False
            )
            for path in paths
        ]
        transfer.check_weights(self.weights, len(paths))
        self.masks = [_read_mask(Path(path)) for path in split_paths(options.mask)] if options.mask else None
        if options.encoder is not None and options.decoder is not None:
            self.model = models.load_pair(options.encoder, options.decoder)
        elif options.model is not None:
            self.model = models.load_model(options.model)
        else:
            self.model = models.load_network(options.network, options.decoder)
        if options.preserve_color != "coral":
            self._measure()

    def _measure(self) -> None:
        from stylegen.style_transfer import stylize as transfer

        self.styles = [transfer.style_of(self.model, style, self.options.tile) for style in self.styles]

    def fix_colors(self, first: np.ndarray) -> None:
        """Give the styles the colors of a video's first frame: those of each frame by itself would flicker."""
        from stylegen.style_transfer import color

        if self.options.preserve_color == "coral" and isinstance(self.styles[0], np.ndarray):
            self.styles = [color.coral(style, first) for style in self.styles]
            self._measure()

    def sized(self, content: np.ndarray) -> tuple[np.ndarray, list[np.ndarray] | None]:
        """Content and masks, checked to be alike, at the size that was asked for."""
        from stylegen.style_transfer import stylize as transfer

        if self.masks is not None:  # before resizing: a mask is drawn over the image as it is
            transfer.feature_masks(self.masks, len(self.styles), content.shape[:2], self.model.scale)
        size = self.options.size or 0
        masks = None if self.masks is None else [_resized(mask, size) for mask in self.masks]
        return _resized(content, size), masks

    def transfer(self, content: np.ndarray, masks: list[np.ndarray] | None) -> np.ndarray:
        """One image."""
        from stylegen.style_transfer import stylize as transfer

        keep = self.options.preserve_color
        if keep == "coral" and not isinstance(self.styles[0], np.ndarray):
            keep = None  # the styles have the colors already
        return transfer.stylize(
            self.model,
            content,
            self.styles,
            weights=self.weights,
            alpha=self.options.alpha,
            masks=masks,
            preserve_color=keep,
            tile=self.options.tile,
        )

    def description(self) -> str:
        """What was done, for the last line."""
        return f"{counted(len(self.styles), 'style')}, alpha {self.options.alpha:g}."


def _numbers(text: str | None) -> list[float]:
    try:
        return [float(part) for part in (text or "").split(",")]
    except ValueError:
        raise common.UsageError(f"--weights {text}: must be numbers such as 0.3,0.7, 1 in sum.") from None


def _resized(image: np.ndarray, shorter: int, grow: bool = True) -> np.ndarray:
    """An image or mask with so many pixels along its shorter side, 0 for as it is; antialiased."""
    from PIL import Image

    height, width = image.shape[:2]
    if not grow and min(height, width) < shorter:
        return image
    size = _resized_size(height, width, shorter)
    if size == (width, height):
        return image
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def _resized_size(height: int, width: int, shorter: int) -> tuple[int, int]:
    """Width and height with so many pixels along the shorter side, 0 for as it is.

    Raises:
        UsageError: they are more pixels than an image may have.
    """
    if shorter == 0 or min(height, width) == shorter:
        return width, height
    factor = shorter / min(height, width)
    size = (max(16, round(width * factor)), max(16, round(height * factor)))
    if size[0] * size[1] > images.MAX_PIXELS:
        raise common.UsageError(
            f"--size {shorter}: the content would have {size[0]:,}x{size[1]:,} pixels, and an image has at most "
            f"{images.MAX_PIXELS:,}; give a smaller one."
        )
    return size


def _read_content(path: Path, color: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """An image as uint8 [h, w, 3] and, unless it is opaque, its alpha, uint8 [h, w].

    Where nothing shows the color is white, so that no hidden one has a part in the content's statistics.
    """
    from stylegen.style_transfer import training_images
    from stylegen.style_transfer.stylize import SMALLEST

    image = training_images.read(path, SMALLEST, channels=4, color=color)
    rgb, alpha = np.ascontiguousarray(image[..., :3]), image[..., 3]
    if alpha.min() == 255:
        return rgb, None
    rgb[alpha == 0] = 255
    return rgb, alpha


def _with_alpha(result: np.ndarray, alpha: np.ndarray, out: Path) -> np.ndarray:
    """The result with the content's alpha, or laid on white where the file's format keeps none."""
    image = np.concatenate([result, alpha[..., None]], axis=-1)
    return image if out.suffix.lower() in KEEPS_ALPHA else images.on_white(image)


def _read_mask(path: Path) -> np.ndarray:
    """A mask as uint8 [h, w]: its gray values; or its alpha, where it is of one color and drawn in alpha alone."""
    from stylegen.data import imaging
    from stylegen.style_transfer import training_images

    image = training_images.read(path, smallest=1, channels=4, color="as-is")
    alpha = image[..., 3]
    colors = image[alpha > 0][:, :3] if alpha.min() < alpha.max() else image[:0, 0, :3]
    drawn_in_alpha = len(colors) and (colors == colors[0]).all()
    return alpha if drawn_in_alpha else np.asarray(imaging.from_array(image, 1))


def _download(name: str) -> None:
    from stylegen.pretrained import weights

    def progress(chunks: Iterator[bytes], total: int, unit: str) -> Iterator[bytes]:
        return iter(common.with_progress(chunks, total, unit))

    path = weights.download(name, progress)
    print(
        f"{path}: {weights.PUBLISHED[name].what}; the published digits of its SHA-256 are right.\n"
        f"Train a decoder for it with: train_style --config style_transfer --encoder.weights {path} --run.dir runs/vgg"
    )
