"""Panels for a team: python experiments/dashboards/dashboard.py ENTITY/PROJECT.

Needs pip install "hep2gan[dashboard]" and a wandb key; --print shows the panels without either.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from hep2gan.data.patterns import ICPR2016
from hep2gan.errors import Hep2ganError
from hep2gan.runs.folder import RunFolder
from hep2gan.runs.metrics_csv import read_metrics_csv


class Panel(NamedTuple):
    """A panel: its title, what it shows, and how: "curve", "bars", "media", "table" or "compare".

    Curves run over epochs; bars compare the runs; "compare" shows configuration and summary.
    """

    title: str
    names: list[str]
    kind: str = "curve"


RESULTS = ["test/accuracy", "test/mean_class_accuracy", "test/f1", "test/auroc"]
FIGURES = ["contours", "confusion", "roc", "worst_classified", "worst_segmented", "curves"]
TRAINING: dict[str, list[Panel]] = {
    "Pictures": [Panel("Outlines by epoch", ["pictures/epochs"], "media")],
    "Generator and discriminator": [
        Panel("D(real), D(fake)", ["train/discriminator/p_real", "train/discriminator/p_fake"]),
        Panel("Discriminator's loss", ["train/discriminator/real", "train/discriminator/fake"]),
        Panel("Generator's loss", ["train/generator/adversarial", "train/generator/l1"]),
    ],
    "Classifier": [
        Panel("Cross-entropy", ["train/classifier/cross_entropy"]),
        Panel("Gaussian mixture", ["train/classifier/gaussian_mixture"]),
        Panel("Likelihood", ["train/classifier/likelihood"]),
    ],
    "Course and cost": [
        Panel("Learning rates", ["lr/generator", "lr/discriminator", "lr/classifier"]),
        Panel("Cells per second", ["speed/cells_per_second"]),
        Panel("Waiting for data", ["speed/share_waiting_for_data"]),
        Panel("Memory, GiB", ["speed/memory_gib"]),
    ],
}
VALIDATION: dict[str, list[Panel]] = {
    "Validation": [
        Panel("Of the chosen epoch", ["best/val/f1", "best/val/dice", "best/epoch"], "bars"),
        Panel("Dice and Jaccard", ["val/dice", "val/jaccard"]),
        Panel("Accuracy and F1", ["val/accuracy", "val/mean_class_accuracy", "val/f1"]),
        Panel("Precision and recall", ["val/precision", "val/recall"]),
        Panel("Distances to means", ["gm/val/own_distance", "gm/val/other_distance"]),
    ],
}


def panels(
    classes: Sequence[str], validation: bool, logged: set[str] | None = None
) -> dict[str, list[Panel]]:
    """Choose the sections; none is empty.

    Args:
        classes: Names of the classes.
        validation: Whether the runs have a validation part.
        logged: What a run has logged; None for all that the paper's method logs.

    Returns:
        Panels by section.
    """
    sections = _of_the_test(classes) | {"Alarms": _alarms(validation)}
    if validation:
        sections |= VALIDATION | {
            "Validation by class": [
                Panel("Dice", [f"val/dice/{name}" for name in classes]),
                Panel("Accuracy", [f"val/accuracy/{name}" for name in classes]),
            ]
        }
    sections |= TRAINING
    if logged is not None:
        sections = {
            section: [
                panel._replace(names=[name for name in panel.names if name in logged])
                for panel in members
            ]
            for section, members in sections.items()
        }
    kept = {
        section: [panel for panel in members if panel.names or panel.kind == "compare"]
        for section, members in sections.items()
    }
    return {section: members for section, members in kept.items() if members}


def _of_the_test(classes: Sequence[str]) -> dict[str, list[Panel]]:
    return {
        "Test": [
            Panel("Classification", RESULTS, "bars"),
            Panel("Segmentation", ["test/dice", "test/jaccard", "test/boundary_f1"], "bars"),
            Panel("Recall by class", [f"test/class/{name}/recall" for name in classes], "bars"),
            Panel("Dice by class", [f"test/class/{name}/dice" for name in classes], "bars"),
            Panel("Data, weights and settings of each run", [], "compare"),
        ],
        "Cells of the test": [
            Panel("Worst cells", ["test/worst_pictures"], "media"),
            Panel("Worst cells, table", ["test/worst_cells"], "table"),
            Panel("Predictions", ["test/predictions"], "table"),
            *(Panel(name.replace("_", " "), [f"figure/{name}"], "media") for name in FIGURES),
        ],
    }


def _alarms(validation: bool) -> list[Panel]:
    """Values above 0 are alarms; their sentences are alarm/* of the comparison of runs."""
    masks = ["health/constant_masks"] if validation else []
    return [
        Panel("The discriminator has won (1)", ["health/discriminator_won"]),
        *([Panel("All validation masks alike (1)", masks)] if masks else []),
        Panel("All test masks alike (1)", ["test/constant_masks"], "bars"),
    ]


def names_of(sections: dict[str, list[Panel]]) -> list[str]:
    """Every metric, picture and table that a panel shows."""
    return [name for members in sections.values() for panel in members for name in panel.names]


def logged_by(folder: Path) -> tuple[list[str], bool, set[str]]:
    """Classes, validation part and logged names of a finished run."""
    run = RunFolder.open(folder)
    columns = set(read_metrics_csv(run.curves_file).columns)
    validation = any(name.startswith("val/") for name in columns)
    names = columns | set(run.metrics()) | {f"best/{name}" for name in columns} | {"best/epoch"}
    names |= {f"figure/{path.stem}" for path in run.figures.glob("*.png")}
    names |= {"test/worst_pictures", "test/worst_cells", "test/predictions"}
    if any(name.startswith("train/generator/") for name in columns):
        names.add("pictures/epochs")
    return list(run.store_info().classes), validation, names


def main(arguments: Sequence[str] | None = None) -> None:
    """Build the workspace and save it, or print its panels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Text)
    parser.add_argument("project", nargs="?", metavar="ENTITY/PROJECT", help="where runs are")
    parser.add_argument("--like", type=Path, metavar="RUN", help="panels of what this run logged")
    parser.add_argument("--validation", action="store_true", help="panels of a validation part too")
    parser.add_argument("--print", action="store_true", help="print the panels, save nothing")
    given = parser.parse_args(arguments)
    if given.like:
        sections = panels(*logged_by(given.like))
    else:
        sections = panels([pattern.name for pattern in ICPR2016], given.validation)
    if given.print:
        shown = {
            section: {panel.title: panel.names for panel in members}
            for section, members in sections.items()
        }
        print(json.dumps(shown, indent=1))
        return
    if (given.project or "").count("/") != 1:
        raise Hep2ganError("the project is not named", "", "give ENTITY/PROJECT, or --print")
    workspace = built(*given.project.split("/"), sections)
    try:
        workspace.save()
    except Exception as error:
        raise Hep2ganError(
            f"the dashboard cannot be saved ({error})",
            "it is kept by wandb's server",
            "check wandb login, the network and that the project exists",
        ) from error


class _Text(argparse.RawDescriptionHelpFormatter):
    """The description as it is written."""


def built(entity: str, project: str, sections: dict[str, list[Panel]]):  # noqa: ANN201 (optional)
    """The workspace, not saved yet; raises Hep2ganError without wandb-workspaces."""
    try:
        import wandb_workspaces.reports.v2 as reports
        import wandb_workspaces.workspaces as workspaces
    except ModuleNotFoundError as error:
        raise Hep2ganError(
            "wandb-workspaces is not installed", "", 'pip install "hep2gan[dashboard]"'
        ) from error
    kinds = {
        "curve": lambda p: reports.LinePlot(title=p.title, x="epoch", y=p.names),
        "bars": lambda p: reports.BarPlot(title=p.title, metrics=p.names),
        "media": lambda p: reports.MediaBrowser(title=p.title, media_keys=p.names),
        "table": lambda p: reports.WeavePanelSummaryTable(table_name=p.names[0]),
        "compare": lambda p: reports.RunComparer(diff_only="split"),
    }
    made = [
        workspaces.Section(
            name=name, panels=[kinds[panel.kind](panel) for panel in members], is_open=True
        )
        for name, members in sections.items()
    ]
    return workspaces.Workspace(entity=entity, project=project, name="hep2gan", sections=made)


if __name__ == "__main__":
    try:
        main()
    except Hep2ganError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
