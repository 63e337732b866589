"""Which files hold the images that somebody named, and what their results are called."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hep2gan.data.readers.decoding import SUFFIXES
from hep2gan.errors import Hep2ganError


@dataclass(frozen=True)
class Found:
    """One image file and the name its results get, relative to the output folder."""

    path: Path
    name: Path


def find_images(inputs: Sequence[str]) -> list[Found]:
    """Image files named directly or lying in the folders named; masks (*_Mask) are left out.

    Raises Hep2ganError for inputs that do not exist, for none at all, and for two files whose
    results would get the same name.
    """
    found = [image for text in inputs for image in _of_input(Path(text))]
    if not found:
        raise Hep2ganError(
            f"no images in {', '.join(inputs)}",
            f"images end in {', '.join(sorted(SUFFIXES))}",
            "name image files, or folders that hold some",
        )
    seen: dict[Path, Path] = {}
    for image in found:
        other = seen.setdefault(image.name, image.path)
        if other != image.path:
            raise Hep2ganError(
                f"{other} and {image.path} would both be written as {image.name}",
                "results are named after the files",
                "predict the two folders into two outputs",
            )
    return [Found(path, name) for name, path in seen.items()]


def _of_input(path: Path) -> Iterator[Found]:
    if path.is_file():
        yield Found(path, Path(path.stem))
    elif path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.suffix.lower() in SUFFIXES and not file.stem.endswith("_Mask"):
                yield Found(file, file.relative_to(path).with_suffix(""))
    else:
        raise Hep2ganError(f"{path} does not exist", "", "check the path")
