"""Panels for a team: python experiments/dashboards/dashboard.py ENTITY/PROJECT [--print].

Needs pip install "hep2gan[dashboard]" and a wandb key; --print shows the panels without either.
"""

import json
import sys
from collections.abc import Sequence

from hep2gan.data.patterns import ICPR2016
from hep2gan.errors import Hep2ganError

EPOCH = "epoch"
SECTIONS: dict[str, list[tuple[str, str, list[str]]]] = {
    "Validation": [
        ("Dice and Jaccard", EPOCH, ["val/dice", "val/jaccard"]),
        ("Accuracy and F1", EPOCH, ["val/accuracy", "val/mean_class_accuracy", "val/f1"]),
        ("Precision and recall", EPOCH, ["val/precision", "val/recall"]),
    ],
    "By pattern": [
        ("Dice", EPOCH, [f"val/dice/{pattern.name}" for pattern in ICPR2016]),
        ("Accuracy", EPOCH, [f"val/accuracy/{pattern.name}" for pattern in ICPR2016]),
    ],
    "Generator and discriminator": [
        ("D(real), D(fake)", EPOCH, ["train/discriminator/p_real", "train/discriminator/p_fake"]),
        ("Discriminator's loss", EPOCH, ["train/discriminator/real", "train/discriminator/fake"]),
        ("Generator's loss", EPOCH, ["train/generator/adversarial", "train/generator/l1"]),
    ],
    "Classifier": [
        ("Cross-entropy", EPOCH, ["train/classifier/cross_entropy"]),
        ("Gaussian mixture", EPOCH, ["train/classifier/gaussian_mixture"]),
        ("Likelihood", EPOCH, ["train/classifier/likelihood"]),
        ("Distances to means", EPOCH, ["gm/val/own_distance", "gm/val/other_distance"]),
    ],
    "Course and cost": [
        ("Learning rates", EPOCH, ["lr/generator", "lr/discriminator", "lr/classifier"]),
        ("Cells per second", EPOCH, ["speed/cells_per_second"]),
        ("Waiting for data", EPOCH, ["speed/share_waiting_for_data"]),
        ("Memory, GiB", EPOCH, ["speed/memory_gib"]),
    ],
}
"""Sections, their panels' titles, axes and metrics."""

PICTURES = ["test/worst_pictures", "figure/contours", "figure/confusion", "figure/roc"]
"""Pictures of the test."""


def metrics() -> list[str]:
    """Every metric and picture that a panel shows."""
    panels = [panel for section in SECTIONS.values() for panel in section]
    return [name for _, _, names in panels for name in names] + PICTURES


def main(arguments: Sequence[str]) -> None:
    """Build the workspace and save it, or print its panels."""
    if "--print" in arguments:
        print(json.dumps(SECTIONS | {"Test": PICTURES}, indent=1))
        return
    if len(arguments) != 1 or arguments[0].count("/") != 1:
        raise Hep2ganError("the project is not named", "", "give ENTITY/PROJECT, or --print")
    workspace = built(*arguments[0].split("/"))
    try:
        workspace.save()
    except Exception as error:
        raise Hep2ganError(
            f"the dashboard cannot be saved ({error})",
            "it is kept by wandb's server",
            "check wandb login, the network and that the project exists",
        ) from error


def built(entity: str, project: str):  # noqa: ANN201 (of an optional package)
    """The workspace, not saved yet; raises Hep2ganError without wandb-workspaces."""
    try:
        import wandb_workspaces.reports.v2 as reports
        import wandb_workspaces.workspaces as workspaces
    except ModuleNotFoundError as error:
        raise Hep2ganError(
            "wandb-workspaces is not installed", "", 'pip install "hep2gan[dashboard]"'
        ) from error
    sections = [
        workspaces.Section(
            name=name,
            panels=[reports.LinePlot(title=t, x=axis, y=list(y)) for t, axis, y in panels],
            is_open=True,
        )
        for name, panels in SECTIONS.items()
    ]
    pictures = [reports.MediaBrowser(media_keys=[name]) for name in PICTURES]
    sections.append(workspaces.Section(name="Test", panels=pictures, is_open=True))
    return workspaces.Workspace(entity=entity, project=project, name="hep2gan", sections=sections)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Hep2ganError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
