"""What views and ensembles are worth on specimens that no run has seen.

`python -m experiments.ensembles FOLDER RUN RUN … [calibrated=false]` predicts the cells of a folder
in the layout of the synthetic cells (`hep2gan-pack data=phantom data.seed=1` makes one of other
specimens) by each run alone, by each over eight views, and by all together. It prints a table in
Markdown: accuracy, calibration error and area under the risk–coverage curve, with 95 % intervals by
bootstrap over whole specimens, and the difference of each to one run alone on the same cells.
"""

import csv
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

import hep2gan
from hep2gan.inference.ensemble import spread
from hep2gan.statistics.calibration import expected_calibration_error, reliability
from hep2gan.statistics.risk_coverage import risk_coverage

Floats = npt.NDArray[np.float64]
RESAMPLES = 1000
_MEASURES = ("accuracy", "calibration error", "AURC", "AURC by spread")
_HEAD = (
    "| predicted by | accuracy | calibration error | AURC | AURC by spread |\n|---|---|---|---|---|"
)


class LabelledImages(NamedTuple):
    """Images of single cells that are named and grouped.

    Attributes:
        files: N image files.
        label: (N,) their classes, by number.
        specimen: (N,) their specimens, by number.
    """

    files: list[Path]
    label: npt.NDArray[np.int64]
    specimen: npt.NDArray[np.int64]


class Answers(NamedTuple):
    """What one way of predicting says of N cells; of several runs alone, each.

    Attributes:
        name: The way, in words.
        probabilities: (M, N, K), one row of answers for each of M runs or for all together.
        spread: (M, N) how far members or views disagree; None of one run that looks once.
    """

    name: str
    probabilities: Floats
    spread: Floats | None


def read_images(folder: Path, classes: tuple[str, ...]) -> LabelledImages:
    """Read gt_training.csv and specimens.csv of a folder of synthetic cells.

    Args:
        folder: The folder.
        classes: Names of the classes, in the order of the runs' probabilities.
    """
    with (folder / "gt_training.csv").open(newline="", encoding="utf-8") as table:
        named = {row[0]: classes.index(row[2]) for row in csv.reader(table)}
    with (folder / "specimens.csv").open(newline="", encoding="utf-8") as table:
        specimens = {row["image"]: int(row["specimen"]) for row in csv.DictReader(table)}
    return LabelledImages(
        [folder / name for name in named],
        np.array(list(named.values())),
        np.array([specimens[name] for name in named]),
    )


def answer(runs: list[hep2gan.Run], files: list[Path], *, calibrated: bool = True) -> list[Answers]:
    """Predict by each run alone, over eight views, by all together, and by all over views.

    Args:
        runs: Two or more runs.
        files: The images.
        calibrated: Whether the probabilities of each are scaled by its own temperature.
    """
    once, views, of_views = [], [], []
    for run in runs:
        once.append(_probabilities(run.predict(files, calibrated=calibrated)))
        found = run.predict(files, views=True, calibrated=calibrated)
        views.append(_probabilities(found))
        of_views.append([cell.spread for cell in found])
    alone, turned = np.array(once), np.array(views)
    own, others = np.array(of_views, np.float64), spread(turned).astype(np.float64)
    # The spread over all is that of the runs' means, and the mean of their own: entropies add up.
    everything = own.mean(axis=0) + others
    return [
        Answers("one run", alone, None),
        Answers("one run, eight views", turned, own),
        Answers(f"{len(runs)} runs", alone.mean(axis=0)[None], spread(alone).astype("f8")[None]),
        Answers(f"{len(runs)} runs, eight views", turned.mean(axis=0)[None], everything[None]),
    ]


def _probabilities(found: hep2gan.CellPredictions) -> list[list[float]]:
    return [list((cell.probabilities or {}).values()) for cell in found]


def measure(
    given: Answers, label: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]
) -> list[float]:
    """Measure a way of predicting on some cells, averaged over its runs.

    Args:
        given: What it says of all cells.
        label: (N,) the true classes.
        rows: The cells to measure it on; a cell may occur several times.

    Returns:
        Accuracy, calibration error, AURC by the largest probability, and by the spread; NaN without
        a spread.
    """
    values = []
    for at, each in enumerate(given.probabilities):
        p, true = each[rows], label[rows]
        right = p.argmax(axis=1) == true
        by_spread = np.nan
        if given.spread is not None:
            by_spread = risk_coverage(-given.spread[at][rows], right).area
        error = expected_calibration_error(reliability(p, true))
        values.append([right.mean(), error, risk_coverage(p.max(axis=1), right).area, by_spread])
    return [float(value) for value in np.mean(values, axis=0)]


def compare(answers: list[Answers], images: LabelledImages, resamples: int = RESAMPLES) -> str:
    """Write the table.

    Args:
        answers: The ways of predicting; the others are compared with the first.
        images: The cells.
        resamples: Samples of specimens with replacement.

    Returns:
        Markdown; each value with its interval, and in the second line the difference to the first.
    """
    units = [np.flatnonzero(images.specimen == number) for number in np.unique(images.specimen)]
    rng = np.random.default_rng(0)
    samples = [
        np.concatenate([units[at] for at in rng.integers(len(units), size=len(units))])
        for _ in range(resamples)
    ]
    everything = np.arange(len(images.label))
    lines, first, first_resampled = [_HEAD], None, None
    for given in answers:
        value = np.array(measure(given, images.label, everything))
        resampled = np.array([measure(given, images.label, rows) for rows in samples])
        first = value if first is None else first
        first_resampled = resampled if first_resampled is None else first_resampled
        cells = []
        for at in range(len(_MEASURES)):
            text = _with_interval(value[at], resampled[:, at])
            if given is not answers[0] and not np.isnan(first[at]):
                gain = _with_interval(
                    value[at] - first[at], resampled[:, at] - first_resampled[:, at], sign="+"
                )
                text += f"<br>{gain}"
            cells.append(text)
        lines.append(f"| {given.name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _with_interval(value: float, resampled: Floats, sign: str = "-") -> str:
    if np.isnan(value):
        return ""
    low, high = np.percentile(resampled, [2.5, 97.5])
    kind = f"{sign}.1f"
    return f"{100 * value:{kind}} ({100 * low:{kind}} to {100 * high:{kind}})".replace("-", "−")


def main(folder: str, *words: str) -> None:
    """Predict, measure and print.

    Args:
        folder: Folder of the synthetic cells.
        *words: Run folders, or one folder of a method; and calibrated=false.
    """
    paths = [word for word in words if word != "calibrated=false"]
    runs = hep2gan.load_ensemble(paths).members
    images = read_images(Path(folder), runs[0].classes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        answers = answer(runs, images.files, calibrated=len(paths) == len(words))
    specimens = len(np.unique(images.specimen))
    print(f"{len(images.label)} cells of {specimens} specimens that no run has seen; in %\n")
    print(compare(answers, images))


if __name__ == "__main__":
    main(*sys.argv[1:])
