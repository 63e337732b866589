"""What an exported graph is and how to use it: as JSON for programs, as a model card for people."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hep2gan.errors import Hep2ganError
from hep2gan.inference.load import LoadedRun
from hep2gan.inference.onnx_backend import DESCRIPTION, FORMAT, GRAPH, VERSION
from hep2gan.metrics.baselines import BASELINES
from hep2gan.metrics.evaluation import metrics_table
from hep2gan.runs.checkpoints import BEST, list_checkpoints
from hep2gan.runs.provenance import revision, versions

THRESHOLD = 0.5
_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
_MASK = (
    f"Resize the (S, S) mask to the image's own size (Pillow: mode F, BILINEAR) and take pixels of"
    f" {THRESHOLD} and more for the nucleus."
)
_CLASS = "The predicted class is the one of the largest probability."
_PREPARING = (
    "Read the image as grey levels 0..255 in float32, colour as ITU-R 601 luma; 16-bit values are"
    " multiplied by 255/65535.",
    "Resize it to S × S pixels in float32 (Pillow: mode F, BILINEAR, which is antialiased).",
    "Stretch it: stored = round((grey − lo) · 255/(hi − lo)) as uint8, in float64, half to even,"
    " where lo and hi are its darkest and brightest pixel after resizing; zeros if they are equal.",
)
_LEVELS = "Give lo and hi of each image as `levels`, float32."
_MEANINGS: dict[str, tuple[str, list[str | int], str]] = {
    "image": ("uint8", ["batch", "S", "S"], "stored pixels, see preprocessing"),
    "levels": ("float32", ["batch", 2], "grey levels (0..255) that stored 0 and 255 stand for"),
    "mask": ("float32", ["batch", "S", "S"], "probability that a pixel belongs to the nucleus"),
    "probabilities": ("float32", ["batch", "K"], "one for each class, in order; they sum to 1"),
}


@dataclass(frozen=True)
class ExportCheck:
    """How a graph was held against PyTorch.

    cells: whose, in words. differences: the largest, by output.
    """

    cells: str
    count: int
    batch_sizes: tuple[int, ...]
    tolerance: float
    differences: Mapping[str, float]

    def __str__(self) -> str:
        sizes = " and ".join(map(str, self.batch_sizes))
        found = ", ".join(f"{name} {apart:.1e}" for name, apart in self.differences.items())
        return (
            f"ONNX Runtime against PyTorch on {self.count} {self.cells}, in batches of {sizes}:"
            f" largest difference {found}"
        )


def describe_export(
    trained: LoadedRun, inputs: Sequence[str], outputs: Sequence[str], check: ExportCheck
) -> dict[str, Any]:
    """All that model.json holds, but the checksum of the graph.

    It is enough for predictions like those of hep2gan-predict, with ONNX Runtime and Pillow alone.
    """
    config, classifies = trained.config, "probabilities" in outputs
    classes = list(trained.classes) if classifies else []
    after = (["mask"] if "mask" in outputs else []) + (["class"] if classifies else [])
    return {
        "format": FORMAT,
        "version": VERSION,
        "graph": GRAPH,
        "method": config["name"],
        "size": trained.size,
        "classes": classes,
        "threshold": THRESHOLD,
        "inputs": _ports(inputs, trained.size, len(classes)),
        "outputs": _ports(outputs, trained.size, len(classes)),
        "preprocessing": [*_PREPARING, *([_LEVELS] if "levels" in inputs else [])],
        "inside_the_graph": _inside(config, outputs),
        "postprocessing": [{"mask": _MASK, "class": _CLASS}[part] for part in after],
        "trained_on": _trained_on(trained),
        "test_metrics": _metrics(trained),
        "check": asdict(check),
        "checkpoint": trained.checkpoint.name,
        "revision": revision(),
        "versions": versions(_PACKAGES),
        "licence": "Apache-2.0",
    }


def _ports(names: Sequence[str], size: int, classes: int) -> dict[str, Any]:
    known = {"S": size, "K": classes}
    return {
        name: {"type": kind, "shape": [known.get(str(side), side) for side in shape], "is": words}
        for name, (kind, shape, words) in ((name, _MEANINGS[name]) for name in names)
    }


def _inside(config: Mapping[str, Any], outputs: Sequence[str]) -> list[str]:
    kind = config["normalisation"]["kind"]
    found = [f"normalisation `{kind}` of each image"]
    if config.get("test_time_views", 1) > 1:
        found.append(f"means over {config['test_time_views']} views, turned and mirrored")
    if "mask" in outputs:
        found.append("generator, sigmoid")
    if "probabilities" in outputs:
        found.append("classifier, softmax")
    return found


def _trained_on(trained: LoadedRun) -> dict[str, Any]:
    data, split = trained.config["data"], trained.config["split"]
    about = trained.run.provenance()
    return {
        "data": data["name"],
        "drawn_cells": data["reader"] == "phantom",
        "fingerprint": about.get("data", {}).get("fingerprint"),
        "cells": about.get("data", {}).get("cells"),
        "split": {"kind": split["kind"], "seed": split["seed"]} | about.get("split", {}),
        "run_versions": about.get("versions", {}),
    }


def _metrics(trained: LoadedRun) -> dict[str, float]:
    # Those of other weights would be worse than none.
    if not trained.run.done or not _tested(trained):
        return {}
    try:
        found = trained.run.metrics()
    except Hep2ganError:
        return {}
    return {name: value for name, value in found.items() if value == value}


def _tested(trained: LoadedRun) -> bool:
    """Whether these are the weights that a run's own rule tests."""
    best = trained.run.checkpoints / BEST
    due = best if best.is_file() else next(iter(list_checkpoints(trained.run.checkpoints)), None)
    return due is not None and due.resolve() == trained.checkpoint.resolve()


def write_model_card(description: Mapping[str, Any]) -> str:
    """The model card as Markdown, from what model.json holds."""
    sections = {
        f"{description['method']}: HEp-2 cells{_what(description)}": _summary(description),
        "Intended use and limits": _LIMITS,
        "Trained on": _data(description["trained_on"]),
        "Results on the test cells": _results(description),
        "Classes": _classes(description["classes"]),
        "How to use it": _use(description),
        "How it was checked": _check(description["check"]),
        "Versions and licence": _versions(description),
    }
    level = {title: "#" if place == 0 else "##" for place, title in enumerate(sections)}
    return (
        "\n\n".join(f"{level[title]} {title}\n\n{text}" for title, text in sections.items()) + "\n"
    )


def _what(description: Mapping[str, Any]) -> str:
    does = {"mask": " segmented", "probabilities": " named by their staining pattern"}
    return " and".join(does[name] for name in description["outputs"])


_LIMITS = """\
For research on the segmentation and classification of HEp-2 cells in indirect immunofluorescence.
**This is no medical device**: it must not be used for diagnosis or treatment.

- It takes crops of single cells, cut around the nucleus, never whole fields of view.
- It knows the classes below and no other: every image, of whatever it is, gets one of them.
- Images of other microscopes, stains and exposures than those of the training may be read wrongly;
  specimens that were not in the training are harder than those of the test below, if its split
  shares specimens."""


def _summary(description: Mapping[str, Any]) -> str:
    inside = "; ".join(description["inside_the_graph"])
    return (
        "After *Segmentation Guided HEp-2 Cell Classification with Adversarial Networks* (Xie et"
        f" al. 2019), independently implemented; method `{description['method']}` of hep2gan,"
        f" weights of `{description['checkpoint']}`.\n\nInside `{GRAPH}`: {inside}."
    )


def _data(data: Mapping[str, Any]) -> str:
    split = ", ".join(f"{key} {value}" for key, value in data["split"].items())
    lines = [
        f"- data: {data['data']}, {data['cells'] or 'unknown number of'} cells",
        f"- fingerprint: `{data['fingerprint'] or 'unknown'}`",
        f"- split: {split}",
    ]
    if data["drawn_cells"]:
        drawn = (
            "**These are drawn cells**, no patients': what is read below says nothing of real ones."
        )
        lines.insert(0, f"{drawn}\n")
    return "\n".join(lines)


def _results(description: Mapping[str, Any]) -> str:
    metrics = description["test_metrics"]
    if not metrics:
        return "There are none: the run was not tested."
    cells = f"{metrics.get('test/cells', 0):.0f} cells; shares of 1, distances in pixels.\n"
    lines = [cells, "| metric | this run | trivial baselines on the same cells |", "|---|---|---|"]
    for row in (row for row in metrics_table(metrics) if row.metric != "cells"):
        scores = (f"{BASELINES[name]} {value:.3f}" for name, value in row.baselines.items())
        beside = ", ".join(scores)
        lines.append(f"| {row.metric} | {row.value:.3f} | {beside} |")
    shared = metrics.get("leakage/shared_specimens", 0)
    if shared:
        lines.append(
            f"\n{shared:.0f} specimens of the test also have cells in the training: on unseen"
            " specimens expect less."
        )
    return "\n".join(lines)


def _classes(classes: Sequence[str]) -> str:
    if not classes:
        return "None: this graph segments."
    return "In the order of the probabilities:\n\n" + "\n".join(
        f"{place}. {name}" for place, name in enumerate(classes)
    )


def _use(description: Mapping[str, Any]) -> str:
    ports = [
        f"- {way} `{name}`: {port['type']} {tuple(port['shape'])}, {port['is']}".replace("'", "")
        for way, side in (("input", "inputs"), ("output", "outputs"))
        for name, port in description[side].items()
    ]
    steps = [*description["preprocessing"], f"Run `{GRAPH}`.", *description["postprocessing"]]
    numbered = [f"{place}. {text}" for place, text in enumerate(steps, 1)]
    return (
        "`hep2gan-predict THIS_FOLDER IMAGES` does all of it. By hand, with ONNX Runtime and Pillow"
        f" (S = {description['size']}; the same words for programs: `{DESCRIPTION}`):\n\n"
        + "\n".join([*ports, "", *numbered])
    )


def _check(check: Mapping[str, Any]) -> str:
    return f"{ExportCheck(**check)}. More than {check['tolerance']:g} would have been refused."


def _versions(description: Mapping[str, Any]) -> str:
    def told(found: Mapping[str, str]) -> str:
        return ", ".join(f"{name} {number}" for name, number in found.items()) or "unknown"

    return (
        f"- exported with: {told(description['versions'])}\n"
        f"- trained with: {told(description['trained_on']['run_versions'])}\n"
        f"- revision of hep2gan: {description['revision'] or 'unknown'}\n"
        f"- licence of hep2gan and of this graph's form: {description['licence']}; weights may"
        " carry the terms of the data and of the pretrained weights that they were made from"
    )
