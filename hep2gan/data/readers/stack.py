"""Which channel and which plane of a file show the cell, and where a TIFF file keeps them."""

import io
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from hep2gan.data.readers.tiff import COLOURS, TiffHeader
from hep2gan.errors import Hep2ganError, pluralize

_IMAGEJ = re.compile(r"^(images|channels|slices|frames)=(\d+)\s*$", re.MULTILINE)
_MAX_FRAMES, _MAX_BYTES = 4096, 256 * 1024 * 1024
_SAVE = "save the plane that shows the cell as 8- or 16-bit grey PNG"


class PlaneChoice(NamedTuple):
    """The channel and the plane that show the cell, counted from 0.

    Attributes:
        channel: Number or name of the channel; None for the only one, or the grey of colours.
        plane: Number of the plane; None for the only one.
    """

    channel: int | str | None = None
    plane: int | None = None


class Frame(NamedTuple):
    """One image of a file, and one sample of its pixels.

    Attributes:
        number: Number of the image in the file.
        sample: Number of the sample; None for all of them, grey or colours.
    """

    number: int = 0
    sample: int | None = None


class Stack(NamedTuple):
    """How the images of one file are arranged in channels and planes.

    Attributes:
        samples: Names of the samples of a pixel, '' where there is none.
        channels: Names of the channels that are images of their own, likewise.
        sizes: Lengths of the axes of the images, the one that runs fastest first.
        order: The axes: C for channels; all others count as planes.
    """

    samples: tuple[str, ...]
    channels: tuple[str, ...] = ("",)
    sizes: tuple[int, ...] = (1,)
    order: str = "C"

    @classmethod
    def read(cls, header: TiffHeader) -> "Stack":
        """Read how the images of a TIFF file are arranged.

        Args:
            header: Its first header; OME-XML and the text of ImageJ are understood.

        Returns:
            The arrangement; without any text all images are planes.

        Raises:
            ValueError: The text does not fit the file.
        """
        text, frames = header.description, max(header.planes, header.images)
        found = cls(header.samples, sizes=(1, frames), order="CZ")
        if "<OME" in text[:4096]:
            found = _read_ome(text, header.samples)
        elif frames > 1 and text.startswith("ImageJ="):
            counts = {key: int(value) for key, value in _IMAGEJ.findall(text)}
            sizes = [counts.get(key, 1) for key in ("channels", "slices", "frames")]
            if math.prod(sizes) == frames:
                found = cls(header.samples, ("",) * sizes[0], tuple(sizes), "CZT")
        if math.prod(found.sizes) != frames or 1 < header.planes != frames:
            raise ValueError(f"it tells of {math.prod(found.sizes)} images and holds {frames}")
        return found

    @property
    def names(self) -> list[str]:
        """Names of all channels: of the images, and of the samples of each."""
        if len(self.samples) == 1:
            return list(self.channels)
        return [" ".join(filter(None, (c, s))) for c in self.channels for s in self.samples]

    @property
    def planes(self) -> int:
        """Number of planes."""
        return math.prod(self.sizes) // len(self.channels)

    @property
    def _is_grey(self) -> bool:
        """Whether there is one channel, or colours, whose grey is read where none is chosen."""
        return self.samples in (("",), COLOURS) and len(self.channels) == 1

    def choose(self, path: Path, choice: PlaneChoice) -> Frame:
        """Find the image and the sample that a choice names.

        Args:
            path: The file, for messages.
            choice: Channel and plane.

        Returns:
            The image and the sample.

        Raises:
            Hep2ganError: There is none such, or several and no choice.
        """
        if (choice.channel is None and not self._is_grey) or (
            choice.plane is None and self.planes > 1
        ):
            raise self.must_choose(path)
        plane = choice.plane or 0
        if plane >= self.planes:
            known = (
                f"its planes are 0 to {self.planes - 1}" if self.planes > 1 else "it has plane 0"
            )
            raise Hep2ganError(
                f"{path} has no plane {plane}", known, f"set data.plane=0{_up_to(self.planes)}"
            )
        channel = 0 if choice.channel is None else find_channel(path, self.names, choice.channel)
        place = dict[str, int]()
        for axis, size in zip(self.order, self.sizes, strict=True):
            if axis != "C":
                plane, place[axis] = divmod(plane, size)
        place["C"], sample = divmod(channel, len(self.samples))
        index, step = 0, 1
        for axis, size in zip(self.order, self.sizes, strict=True):
            index, step = index + place[axis] * step, step * size
        return Frame(index, sample if choice.channel is not None else None)

    def must_choose(self, path: Path) -> Hep2ganError:
        """Explain that a channel or a plane must be chosen.

        Args:
            path: The file.

        Returns:
            The error, with what there is to choose from.
        """
        facts, fixes = [], []
        if len(self.names) > 1 and (self.planes == 1 or not self._is_grey):
            facts.append(f"{len(self.names)} channels ({_list_channels(self.names)})")
            fixes.append(f"data.channel=0{_up_to(len(self.names))}")
        if self.planes > 1:
            facts.append(f"{self.planes} planes")
            fixes.append(f"data.plane=0{_up_to(self.planes)}")
        return Hep2ganError(
            f"{path} is a TIFF of {' and '.join(facts)}",
            "a cell is read from one channel and one plane",
            f"set {' and '.join(fixes)}; or {_SAVE}",
        )


def find_channel(path: Path, names: Sequence[str], channel: int | str) -> int:
    """Find a channel by its number or name, without regard to case.

    Args:
        path: The file, for messages.
        names: Names of its channels, '' where there is none.
        channel: The number, from 0, or the name.

    Returns:
        The number.

    Raises:
        Hep2ganError: There is no such channel, or several have the name.
    """
    if isinstance(channel, int):
        found = [channel] if channel < len(names) else []
    else:
        found = [n for n, name in enumerate(names) if name.casefold() == channel.casefold()]
    if len(found) == 1:
        return found[0]
    several = f"its channels are {_list_channels(names)}" if len(names) > 1 else "it has one, 0"
    raise Hep2ganError(
        f"{path} has {'several channels' if found else 'no channel'} {channel!r}",
        several,
        f"set data.channel=0{_up_to(len(names))}" if len(names) > 1 else "set data.channel=0",
    )


def _list_channels(names: Sequence[str]) -> str:
    shown = [f"{n} {name}".strip() for n, name in enumerate(names[:8])]
    return ", ".join(shown) + (", …" if len(names) > 8 else "")


def _up_to(number: int) -> str:
    return "" if number == 1 else " or 1" if number == 2 else f" to {number - 1}"


def _read_ome(text: str, samples: tuple[str, ...]) -> Stack:
    """Read the arrangement from OME-XML.

    Raises:
        ValueError: It cannot be read, or arranges the images in another way than by its axes.
    """
    # Entities, which may grow without end, need a document type; OME-XML has none.
    if "<!" in re.sub(r"<!--.*?-->|<!\[CDATA\[", "", text, flags=re.DOTALL):
        raise ValueError("its OME-XML declares a document type")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValueError(f"its OME-XML cannot be read, {error}") from error
    pixels = [node for node in root.iter() if _tag(node) == "Pixels"]
    if len(pixels) != 1:
        raise ValueError(f"its OME-XML tells of {pluralize(len(pixels), 'series', 'series')}")
    (found,) = pixels
    order = found.get("DimensionOrder", "")[2:]
    channels = [node for node in found if _tag(node) == "Channel"]
    per_channel = int(channels[0].get("SamplesPerPixel", "1")) if channels else 1
    lengths = {axis: int(found.get(f"Size{axis}", "1")) for axis in "CZT"}
    if sorted(order) != ["C", "T", "Z"] or per_channel < 1 or lengths["C"] % per_channel:
        raise ValueError("the axes of its OME-XML are not those of images")
    lengths["C"] //= per_channel
    sizes = tuple(lengths[axis] for axis in order)
    if min(sizes) < 1 or math.prod(sizes) > _MAX_FRAMES:
        raise ValueError(f"its OME-XML tells of {sizes} images")
    for number, node in enumerate(n for n in found if _tag(n) == "TiffData"):
        _check_place(node, number, order, sizes)
    names = [node.get("Name", "").strip() for node in channels] + [""] * lengths["C"]
    return Stack(samples, tuple(names[: lengths["C"]]), sizes, order)


def _check_place(node: ElementTree.Element, number: int, order: str, sizes: Sequence[int]) -> None:
    """Refuse an image that does not lie where the order of the axes puts it."""
    firsts = [int(node.get(f"First{axis}", "0")) for axis in order]
    steps = [math.prod(sizes[:axis]) for axis in range(len(sizes))]
    expected = sum(first * step for first, step in zip(firsts, steps, strict=True))
    is_one_by_one = int(node.get("PlaneCount", "1")) == 1 and number == 0
    if int(node.get("IFD", "0" if is_one_by_one else str(expected))) != expected:
        raise ValueError("its OME-XML puts the images in another order than its axes")


def _tag(node: ElementTree.Element) -> str:
    return str(node.tag).rpartition("}")[2]


def read_sample(path: Path, data: bytes, sample: int) -> npt.NDArray[Any]:
    """Read one of many samples of each pixel with tifffile.

    Args:
        path: The file, for messages.
        data: Content of a file with one image.
        sample: Number of the sample.

    Returns:
        (h, w) values.

    Raises:
        Hep2ganError: tifffile is not installed.
        ValueError: The file is damaged, or of a kind that is not read.
    """
    try:
        import imagecodecs  # noqa: F401, tifffile decompresses with it
        import tifffile
    except ImportError as error:
        raise Hep2ganError(
            f"{path} has several channels in each pixel, and {error.name} is not installed",
            "such files are read with the optional extra microscopy",
            f'pip install "hep2gan[microscopy]", or {_SAVE}',
        ) from error
    # Its readers of metadata open other files and trust what the text says; here none is needed.
    with tifffile.TiffFile(io.BytesIO(data), is_ome=False, is_shaped=False) as file:
        page = file.pages.first
        piece = math.prod(page.chunks) * (page.dtype.itemsize if page.dtype else 0)
        if not 0 < piece <= _MAX_BYTES or page.nbytes > _MAX_BYTES:
            raise ValueError("its size is not one of an image")
        for values, _, shape in page.segments(maxworkers=1):
            if values is None or values.shape != shape:
                raise ValueError("pixels are missing")
        image = page.asarray(maxworkers=1)
    axes = page.axes
    if sorted(axes) != ["S", "X", "Y"]:
        raise ValueError(f"its axes are {axes}")
    return np.ascontiguousarray(np.take(image, sample, axes.index("S")))
