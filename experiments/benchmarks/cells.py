"""How many cells of labelled fields are found: AP at IoU 0.5 and 0.75, F1; by group and over all.

`python -m experiments.benchmarks.cells FOLDER [DIAMETER]` reads a folder in the layout of labelled
fields. Fields are grouped by the column group of its fields.csv, or label where there is none.
"""

import csv
import sys
import time
from collections import defaultdict
from pathlib import Path

from hep2gan.data.fields.finder import CellFinder
from hep2gan.data.fields.labels import LabelFinder, read_labels
from hep2gan.data.fields.threshold import ThresholdFinder
from hep2gan.data.readers.image import read_image
from hep2gan.metrics.instances import Matches, average_precision, f1_score, match_instances

THRESHOLDS = (0.5, 0.75)


def score_fields(
    folder: Path, finder: CellFinder, diameter: float | None
) -> dict[str, dict[float, list[Matches]]]:
    """Find the cells of all fields of a folder, and match them with the true ones.

    Args:
        folder: Folder in the layout of labelled fields, with its fields.csv.
        finder: What finds the cells.
        diameter: Usual diameter of a cell in px; None if it is not known.

    Returns:
        Matches of each field by IoU threshold, by group; "all" has those of all fields.
    """
    matches: dict[str, dict[float, list[Matches]]] = defaultdict(lambda: defaultdict(list))
    beside = LabelFinder()
    with (folder / "fields.csv").open(newline="", encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    for row in rows:
        path = folder / row["image"]
        labels = folder / row["labels"] if row.get("labels") else beside.find(path)
        if labels is None:
            continue
        image = read_image(path)
        found = finder.find(image, diameter)
        truth = read_labels(labels, image.shape)
        for threshold in THRESHOLDS:
            one = match_instances(truth, found, threshold)
            for group in (row.get("group") or row.get("label") or "", "all"):
                matches[group][threshold].append(one)
    return matches


def main(folder: str, diameter: str = "") -> None:
    """Print a row for each group.

    Args:
        folder: Folder of labelled fields.
        diameter: Usual diameter of a cell in px; '' if it is not known.
    """
    start = time.perf_counter()
    scores = score_fields(Path(folder), ThresholdFinder(), float(diameter) if diameter else None)
    print("| group | fields | AP at 0.5 | AP at 0.75 | F1 at 0.5 |\n|---|---|---|---|---|")
    for group in sorted(scores, key=lambda name: (name == "all", name)):
        at, strict = (scores[group][threshold] for threshold in THRESHOLDS)
        values = (average_precision(*at), average_precision(*strict), f1_score(*at))
        print(f"| {group} | {len(at)} | " + " | ".join(f"{value:.3f}" for value in values) + " |")
    print(f"{(time.perf_counter() - start) / max(len(scores['all'][0.5]), 1):.2f} s a field")


if __name__ == "__main__":
    main(*sys.argv[1:])
