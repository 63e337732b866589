"""What an export is and how to use it: JSON for programs, a model card for people."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from hep2gan.config import ALLOWED_CLASSES, TrainConfig
from hep2gan.data.readers.image import HOT, ImageReading
from hep2gan.errors import Hep2ganError
from hep2gan.inference.export_check import ExportCheck
from hep2gan.inference.exported import DESCRIPTION, KIND, VERSION, WEIGHTS, Format
from hep2gan.inference.load import LoadedRun
from hep2gan.inference.trust import describe_false_alarms
from hep2gan.io import to_yaml
from hep2gan.metrics.baselines import BASELINES
from hep2gan.metrics.evaluation import metrics_table
from hep2gan.runs.checkpoints import BEST, list_checkpoints
from hep2gan.runs.folder import flatten
from hep2gan.runs.provenance import EVALUATION_PRECISION, revision, versions
from hep2gan.runs.trust import Trust

THRESHOLD = 0.5
_PACKAGES: Mapping[Format, tuple[str, ...]] = {
    "onnx": ("onnx", "onnxruntime", "onnxscript"),
    "safetensors": ("safetensors",),
}
_HOT_PIXELS = (
    f"While the brightest pixel is more than {HOT:g} times as bright as the second brightest of its"
    " 8 neighbours, give it that neighbour's value."
)
_PREPROCESSING = (
    "Resize it to S × S pixels in float32 (Pillow: mode F, BILINEAR, which is antialiased).",
    "Stretch it: stored = round((grey − lo) · 255/(hi − lo)) as uint8, in float64, half to even,"
    " where lo and hi are its darkest and brightest pixel after resizing; zeros if they are equal.",
)
_POSTPROCESSING = {
    "mask": "Resize the (S, S) mask to the image's own size (Pillow: mode F, BILINEAR) and take"
    f" pixels of {THRESHOLD} and more for the nucleus.",
    "probabilities": "The predicted class is the one of the largest probability.",
    "distances": "The nearest mean is the one of the smallest distance.",
}
_LEVELS = "Give lo and hi of each image as `levels`, float32."
_NETWORKS = {
    "mask": "generator, sigmoid",
    "probabilities": "classifier, softmax",
    "distances": "squared Mahalanobis distances of the classifier's features to the class means",
}
_MEANINGS: dict[str, tuple[str, list[str | int], str]] = {
    "image": ("uint8", ["batch", "S", "S"], "stored pixels, see preprocessing"),
    "levels": ("float32", ["batch", 2], "grey levels (0..255) that stored 0 and 255 stand for"),
    "mask": ("float32", ["batch", "S", "S"], "probability that a pixel belongs to the nucleus"),
    "probabilities": ("float32", ["batch", "K"], "one for each class, in order; they sum to 1"),
    "distances": ("float32", ["batch", "K"], "squared distance to the mean of each class"),
}


def describe_export(
    trained: LoadedRun,
    configuration: Mapping[str, Any],
    file_format: Format,
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> dict[str, Any]:
    """Collect the content of model.json, without the checksum of the weights and the check.

    Of a graph it is enough for predictions like those of hep2gan-predict, with ONNX Runtime and
    Pillow alone.

    Args:
        trained: The run that was exported.
        configuration: What its networks are built from.
        file_format: In which its networks are written.
        inputs: What the networks take.
        outputs: What they compute.

    Returns:
        Plain containers for JSON.
    """
    config = trained.config
    classes = list(trained.classes) if "probabilities" in outputs else []
    trust = trained.trust()
    return {
        "format": KIND,
        "version": VERSION,
        "weights": WEIGHTS[file_format],
        "method": config.name,
        "target": config.target,
        "size": trained.size,
        "crops": trained.crops._asdict() if trained.crops else None,
        **trained.reading._asdict(),
        "classes": classes,
        "trust": trust.to_plain() if trust else None,
        "threshold": THRESHOLD,
        "views": config.evaluation.tta,
        "inputs": _ports(inputs, trained.size, len(classes)),
        "outputs": _ports(outputs, trained.size, len(classes)),
        "preprocessing": [
            _reading_step(trained.reading),
            _HOT_PIXELS,
            *_PREPROCESSING,
            *([_LEVELS] if "levels" in inputs else []),
        ],
        "computes": _steps(config, outputs),
        "postprocessing": [*(_POSTPROCESSING[name] for name in outputs), *_trust_steps(trust)],
        "configuration": dict(configuration),
        "precision": {"trained": config.trainer.precision, "evaluated": EVALUATION_PRECISION},
        "trained_on": _trained_on(trained),
        "test_metrics": _metrics(trained),
        "checkpoint": trained.checkpoint.name,
        "revision": revision(),
        "versions": versions(_PACKAGES[file_format]),
        "licence": "Apache-2.0",
    }


def _trust_steps(trust: Trust | None) -> list[str]:
    """How probabilities are scaled and cells unlike the training are told, in words."""
    if trust is None:
        return []
    steps = [f"Calibrate: p becomes softmax(log p / {trust.temperature:.6g})."]
    if (limits := trust.unlike) is not None:
        far = "" if limits.squared is None else f"smallest distance is above {limits.squared:.6g}"
        undecided = f"calibrated entropy, over log K, is above {limits.entropy:.6g}"
        steps.append(
            f"A cell whose {' or whose '.join(filter(None, (far, undecided)))} is unlike those of"
            f" the training; {describe_false_alarms(limits)}."
        )
    return steps


def _ports(names: Sequence[str], size: int, classes: int) -> dict[str, Any]:
    sizes = {"S": size, "K": classes}
    return {
        name: {
            "type": kind,
            "shape": [sizes.get(str(axis), axis) for axis in axes],
            "meaning": meaning,
        }
        for name, (kind, axes, meaning) in _MEANINGS.items()
        if name in names
    }


def _reading_step(reading: ImageReading) -> str:
    """Say how a file becomes grey levels, as the images of the training did."""
    white, channel, plane = reading
    part = ", ".join(
        f"{name} {value}"
        for name, value in (("channel", channel), ("plane", plane))
        if value is not None
    )
    deep = "values of more than 8 bits" if white else "16-bit values"
    return (
        f"Read {f'{part} of the image' if part else 'the image'} as grey levels 0..255 in float32,"
        f" colour as ITU-R 601 luma; {deep} are multiplied by 255/{white or 65535}."
    )


def _steps(config: TrainConfig, outputs: Sequence[str]) -> list[str]:
    steps = [f"normalisation `{config.normalisation.kind}` of each image"]
    if config.evaluation.tta > 1:
        steps.append(f"means over {config.evaluation.tta} views, turned and mirrored")
    return [*steps, *(_NETWORKS[name] for name in outputs)]


def _trained_on(trained: LoadedRun) -> dict[str, Any]:
    data, split = trained.config.source, trained.config.split
    origin = trained.run.provenance()
    return {
        "data": data.name,
        "synthetic_cells": data.is_generated,
        "fingerprint": origin.get("data", {}).get("fingerprint"),
        "cells": origin.get("data", {}).get("cells"),
        "split": {"kind": split.kind, "seed": split.seed} | origin.get("split", {}),
        "run_versions": origin.get("versions", {}),
    }


def _metrics(trained: LoadedRun) -> dict[str, float]:
    best = trained.run.checkpoints / BEST
    tested = best if best.is_file() else next(iter(list_checkpoints(best.parent)), None)
    # Metrics of other weights would be worse than none.
    if not trained.run.done or not tested or tested.resolve() != trained.checkpoint.resolve():
        return {}
    try:
        metrics = trained.run.metrics()
    except Hep2ganError:
        return {}
    # JSON has no NaN.
    return {name: value for name, value in metrics.items() if not math.isnan(value)}


def render_model_card(description: Mapping[str, Any], address: str = "") -> str:
    """Render the model card.

    Args:
        description: The content of model.json.
        address: hf://USER/NAME where the export will lie; '' for a folder.

    Returns:
        The card as Markdown, headed by what the hub of Hugging Face reads.
    """
    environment = Environment(
        loader=PackageLoader("hep2gan.inference"),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    metrics = metrics_table(description["test_metrics"])
    return environment.get_template("MODEL_CARD.md.j2").render(
        description,
        front_matter=to_yaml(_front_matter(description)),
        address=address or "THIS_FOLDER",
        rows=[row for row in metrics if row.metric.rpartition("/")[2] != "cells"],
        baselines=BASELINES,
        check_sentence=ExportCheck(**description["check"]),
        description_file=DESCRIPTION,
        is_graph=description["weights"] == WEIGHTS["onnx"],
        own_classes=_own_classes(description["configuration"]),
    )


def _own_classes(configuration: Mapping[str, Any]) -> list[str]:
    """Classes of packages of the user's own, which others must have and trust."""
    values = (value for key, value in flatten(configuration) if key.endswith("_target_"))
    return sorted(set(values) - ALLOWED_CLASSES)


def _front_matter(description: Mapping[str, Any]) -> dict[str, Any]:
    """What the hub sorts models by."""
    synthetic = description["trained_on"]["synthetic_cells"]
    segments = "mask" in description["outputs"]
    tags = ["HEp-2", "immunofluorescence", "microscopy", "medical-imaging"]
    return {
        "library_name": "hep2gan",
        # Only their owner knows what the data and the pretrained weights allow.
        "license": "other",
        "license_name": "terms-of-data-and-pretrained-weights",
        "pipeline_tag": "image-segmentation" if segments else "image-classification",
        "tags": [*tags, *(["synthetic-data"] if synthetic else [])],
    }
