"""What trust per cell is worth: a class and cells of another kind that the training never saw.

`python -m experiments.trust FOLDER [cells=N] [spread=X] [foreign=CLASS] [others=FOLDER]
[KEY=VALUE …]` writes N synthetic cells (1,500) whose specimens differ X times as usual (3.5, as
those of the real set do), trains on all classes but one (Golgi) with whole specimens kept apart,
and predicts the test cells, those of the class left out, and at most 500 images of another folder.
The further words are as for hep2gan-train; method=resnet50_t_gm unless another is named. Prints a
table with 95 % bootstrap intervals over specimens.
"""

import csv
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score

import hep2gan
from hep2gan.api.predictions import CellPredictions
from hep2gan.data.phantom.generate import write_phantom
from hep2gan.runs.predictions import Predictions
from hep2gan.runs.trust import Trust
from hep2gan.statistics.calibration import (
    expected_calibration_error,
    normalized_entropy,
    reliability,
)
from hep2gan.statistics.risk_coverage import risk_coverage
from hep2gan.statistics.trust import limit_cells, scale_test

OTHERS, RESAMPLES = 500, 1000
DEFAULTS = ("method=resnet50_t_gm", "scale=laptop", "split=specimen", "split.test_fraction=0.3")
Array = npt.NDArray[np.float64]


class Cells(NamedTuple):
    """Some cells: their specimens, and what is higher the less they are like the training."""

    specimen: npt.NDArray[np.int64]
    scores: dict[str, Array]
    unlike: npt.NDArray[np.bool_]


def write_cells(
    folder: Path, count: int, spread: float, foreign: str
) -> tuple[Path, list[Path], list[int]]:
    """Write synthetic cells and a manifest of all classes but one.

    Returns:
        The manifest, and images and specimens of the class left out.
    """
    root = write_phantom(folder / "cells", count, 0, spread=spread)
    with (root / "specimens.csv").open(encoding="utf-8") as file:
        specimen = {row["image"]: int(row["specimen"]) for row in csv.DictReader(file)}
    with (root / "gt_training.csv").open(encoding="utf-8") as file:
        rows = [(image, mask, label) for image, mask, label, _ in csv.reader(file)]
    lines = [f"{image},{mask},{label},{specimen[image]}" for image, mask, label in rows
             if label != foreign]  # fmt: skip
    # In the folder of the images, which a manifest may not leave.
    manifest = folder / "manifest"
    manifest.mkdir(exist_ok=True)
    for image, mask, label in rows:
        for name in (image, mask) if label != foreign else ():
            link = manifest / name
            if not link.exists():
                link.hardlink_to(root / name)
    text = "\n".join(["image,mask,label,specimen", *lines, ""])
    (manifest / "manifest.csv").write_text(text, encoding="utf-8")
    left_out = [image for image, _, label in rows if label == foreign]
    return manifest, [root / image for image in left_out], [specimen[one] for one in left_out]


def of_test(found: Predictions) -> Cells:
    """The test cells, scaled and limited without their own help."""
    scaled, limited = scale_test(found), limit_cells(found)
    if scaled is None or limited is None or limited.beyond is None or limited.squared is None:
        sys.exit("the test has too few specimens, or the method has no mixture: raise cells=")
    return Cells(found.specimen, _scores(scaled.probabilities, limited.squared), limited.beyond)


def of_images(found: CellPredictions, specimen: Sequence[int]) -> Cells:
    """Cells of files, as hep2gan-predict has them."""
    probabilities = np.array([list((cell.probabilities or {}).values()) for cell in found])
    distance = np.array([cell.distance for cell in found], np.float64)
    unlike = np.array([cell.unlike_training for cell in found], np.bool_)
    return Cells(np.asarray(specimen), _scores(probabilities, distance**2), unlike)


def _scores(probabilities: Array, squared: Array) -> dict[str, Array]:
    return {
        "distance": squared,
        "1 - probability": 1 - probabilities.max(axis=1),
        "entropy": normalized_entropy(probabilities),
    }


def interval(specimens: Sequence[npt.NDArray[np.int64]], statistic: Callable[..., float]) -> str:
    """A statistic of the rows of several sets of cells, with its interval over specimens."""
    rng = np.random.default_rng(0)
    groups = [[np.flatnonzero(one == unit) for unit in np.unique(one)] for one in specimens]

    def resampled(units: list[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
        return np.concatenate([units[at] for at in rng.integers(len(units), size=len(units))])

    values = [statistic(*map(resampled, groups)) for _ in range(RESAMPLES)]
    low, high = np.quantile(values, [0.025, 0.975])
    return f"{statistic(*map(np.concatenate, groups)):.3f} ({low:.3f}–{high:.3f})"


def rows_of_test(found: Predictions, test: Cells) -> Iterator[tuple[str, str]]:
    """Calibration, AURC and false alarms of the test cells, which are of unseen specimens."""
    scaled = scale_test(found)
    assert scaled is not None
    before, after, label = found.require_probabilities(), scaled.probabilities, found.label
    right = found.predicted == label

    def error(p: Array) -> Callable[..., float]:
        return lambda rows: expected_calibration_error(reliability(p[rows], label[rows]))

    own = [found.specimen]
    yield "accuracy", interval(own, lambda rows: float(right[rows].mean()))
    yield "calibration error as trained", interval(own, error(before.astype(np.float64)))
    yield "calibration error after temperature", interval(own, error(after))
    order = after.max(axis=1)
    yield "AURC", interval(own, lambda rows: risk_coverage(order[rows], right[rows]).area)
    yield "AURC by chance", interval(own, lambda rows: float((~right[rows]).mean()))
    yield "called unlike: test cells", interval(own, lambda rows: float(test.unlike[rows].mean()))


def rows_of_foreign(name: str, foreign: Cells, test: Cells) -> Iterator[tuple[str, str]]:
    """How many foreign cells are called unlike, and how well each score tells them."""
    share = interval([foreign.specimen], lambda rows: float(foreign.unlike[rows].mean()))
    yield f"called unlike: {name}", share
    for score in test.scores:
        ours, theirs = test.scores[score], foreign.scores[score]

        def area(a: Array, b: Array, ours: Array = ours, theirs: Array = theirs) -> float:
            truth = np.repeat([0, 1], [len(a), len(b)])
            return float(roc_auc_score(truth, np.concatenate([ours[a], theirs[b]])))

        both = [test.specimen, foreign.specimen]
        yield f"AUROC of {score}: {name}", interval(both, area)


def main(arguments: Sequence[str]) -> int:
    """Train, predict and print the table; the exit status."""
    if not arguments or "=" in arguments[0]:
        print(__doc__, file=sys.stderr)
        return 2
    words = dict(word.partition("=")[::2] for word in arguments[1:])
    count, foreign = int(words.pop("cells", 1500)), words.pop("foreign", "Golgi")
    spread, others = float(words.pop("spread", 3.5)), words.pop("others", "")
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    manifest, images, specimens = write_cells(folder, count, spread, foreign)
    places = [f"data.root={manifest.absolute()}", "data.name=trust", "data.crop_margin=10"]
    places.append(f"stores={folder / 'stores'}")
    given = [f"{key}={value}" for key, value in words.items()]
    hep2gan.pack("data=manifest", *places, f"data.size={words.get('data.size', 64)}")
    run = hep2gan.train(
        "data=manifest", *places, f"runs={folder / 'runs'}", "study=trust", *DEFAULTS, *given
    )
    found = Predictions.load(run.path / "predictions.npz")
    trust, test = Trust.load(run.path / "trust.json"), of_test(found)
    rows = list(rows_of_test(found, test))
    rows += rows_of_foreign(foreign, of_images(run.predict(images), specimens), test)
    if others:
        files = [one for one in sorted(Path(others).glob("*.png")) if "_Mask" not in one.name]
        files = files[:: max(1, len(files) // OTHERS)][:OTHERS]
        predicted = run.predict(files)
        rows += rows_of_foreign("other", of_images(predicted, range(len(predicted))), test)
    assert trust is not None
    print(
        f"\n{len(found.id):,} test cells of {trust.specimens} specimens not in training,"
        f" {len(images):,} of {foreign}; temperature {trust.temperature:.2f}\n"
    )
    print("| on synthetic cells | value (95 % interval over specimens) |\n|---|---|")
    print("\n".join(f"| {name} | {value} |" for name, value in rows))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
