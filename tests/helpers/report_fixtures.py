"""Made-up test cells of the six patterns: smooth nuclei, plausible masks and probabilities."""

import dataclasses
import io
import json

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from hep2gan.data.patterns import ICPR2016
from hep2gan.reports import build
from hep2gan.reports.build import PAGE, write_report
from hep2gan.reports.figures.catalogue import write_figures
from hep2gan.runs.finished import read_finished_run
from hep2gan.runs.predictions import Predictions

CLASSES = tuple(pattern.name for pattern in ICPR2016)


def _outline(rng, size):
    """Centre, radius by angle and tilt of one nucleus, as a function of (y, x)."""
    y, x = np.mgrid[:size, :size] / size - 0.5
    tilt, ratio = rng.uniform(0, np.pi), rng.uniform(0.75, 0.95)
    u, v = x * np.cos(tilt) + y * np.sin(tilt), (y * np.cos(tilt) - x * np.sin(tilt)) / ratio
    angle = np.arctan2(v, u)
    bumps = sum(rng.normal(0, 0.02) * np.cos(k * angle + rng.uniform(0, 6)) for k in (2, 3, 4))
    return np.hypot(u, v) / (0.36 * (1 + bumps))


def _spots(rng, rho, where, count, sigma):
    spots = np.zeros(rho.shape)
    places = np.argwhere((rho > where[0]) & (rho < where[1]))
    for y, x in places[rng.integers(len(places), size=count)]:
        spots[y, x] = 1
    return gaussian_filter(spots, sigma) * 2 * np.pi * sigma**2


def _cell(rng, label, size):
    rho = _outline(rng, size)
    dome = np.clip(1 - rho**2, 0, None) ** 0.4
    unit = size / 128
    field = gaussian_filter(rng.normal(size=rho.shape), 2.2 * unit) * 2.2 * unit * 3.5
    light = {
        0: dome * (1 + 0.08 * field),
        1: dome * np.clip(1 + 0.45 * field, 0.1, 4),
        2: 0.35 * dome + _spots(rng, rho, (0, 0.7), rng.integers(2, 6), 4 * unit),
        3: 0.3 * dome + 0.9 * _spots(rng, rho, (0, 0.85), rng.integers(20, 45), 1.8 * unit),
        4: 0.45 * (rho < 1) + 0.6 * np.exp(-(((rho - 0.97) / 0.06) ** 2)),
        5: 0.25 * dome + 0.9 * _spots(rng, rho, (1.05, 1.3), rng.integers(8, 20), 2 * unit),
    }[label % 6]
    noisy = rng.poisson(np.clip(gaussian_filter(light, unit), 0, None) * 60 + 6).astype(float)
    image = 255 * (noisy - noisy.min()) / np.ptp(noisy)
    wobble = gaussian_filter(rng.normal(size=rho.shape), 6 * unit) * 6 * unit * 0.12
    probability = 1 / (1 + np.exp(-(1 + rng.normal(0, 0.02) + wobble - rho) * 40))
    return image.astype(np.uint8), (rho < 1).astype(np.uint8), (255 * probability).round()


def make_predictions(counts=(12, 14, 12, 12, 8, 4), size=64, seed=0):
    """Predictions of a fairly good method on sum(counts) cells."""
    rng = np.random.default_rng(seed)
    label = np.repeat(np.arange(len(counts)), counts)
    image, truth, mask = (
        np.array(a) for a in zip(*(_cell(rng, k, size) for k in label), strict=True)
    )
    logits = rng.normal(0, 1.3, (len(label), len(counts)))
    logits[np.arange(len(label)), label] += 3.4
    odds = np.exp(logits)
    centres = rng.normal(0, 1.5, (len(counts), 32))
    return Predictions(
        classes=CLASSES[: len(counts)],
        id=np.array([f"{row + 1:05d}" for row in range(len(label))]),
        specimen=np.full(len(label), -1),
        label=label,
        image=image,
        truth=truth,
        crop_size=np.tile([68, 69], (len(label), 1)),
        mask=mask.astype(np.uint8),
        probabilities=(odds / odds.sum(axis=1, keepdims=True)).astype(np.float32),
        features=(centres[label] + rng.normal(0, 1, (len(label), 32))).astype(np.float32),
        train_counts=np.array(counts) * 9,
    )


def write_curves(path, epochs=40):
    """A metrics.csv as training leaves it: batch rows, then sparse rows at each epoch's end."""
    rng = np.random.default_rng(0)
    network = {
        "train/generator/adversarial": (0.7, 1.1),
        "train/generator/pixel": (0.3, 0.02),
        "train/generator/total": (3.4, 0.6),
        "train/discriminator/real": (0.7, 0.5),
        "train/discriminator/fake": (0.7, 0.45),
        "train/discriminator/total": (0.7, 0.47),
        "train/discriminator/p_real": (0.5, 0.63),
        "train/discriminator/p_fake": (0.5, 0.36),
        "train/classifier/cross_entropy": (1.8, 0.06),
        "train/classifier/gaussian_mixture": (1.8, 0.1),
        "train/classifier/likelihood": (16, 9),
        "train/classifier/total": (3.7, 0.25),
    }
    val = {
        "val/accuracy": (0.3, 0.96),
        "val/f1": (0.2, 0.955),
        "val/dice": (0.6, 0.957),
        "val/jaccard": (0.5, 0.92),
        "val/hd95": (14, 2.8),
    }
    names = ["epoch", "step", "step/generator/total", *network, *val]
    names += ["lr/generator", "lr/classifier"]
    lines = [",".join(names)]

    def add(**row):
        lines.append(",".join(str(row.get(name, "")) for name in names))

    for epoch in range(epochs):
        share = np.exp(-epoch / 8)
        add(epoch=epoch, step=epoch * 10 + 5, **{"step/generator/total": 99.0})
        for names_of in (val, network):
            row = {
                n: b + (a - b) * share * (1 + rng.normal(0, 0.04)) for n, (a, b) in names_of.items()
            }
            if names_of is network:
                row |= {"lr/generator": 1e-4, "lr/classifier": 1e-3 * 0.1 ** (epoch // 20)}
            add(epoch=epoch, step=epoch * 10 + 9, **row)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def predictions():
    return make_predictions()


def another(predictions, seed, certain=1.0):
    """Another method on the same cells in another order: its own masks, readings and features."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(predictions.label))
    logits = certain * np.log(predictions.probabilities[order]) + rng.normal(0, 1, (len(order), 1))
    logits += rng.normal(0, 0.8, logits.shape)
    odds = np.exp(logits)
    each = ("id", "specimen", "label", "image", "truth", "crop_size", "mask", "features")
    arrays = {name: getattr(predictions, name)[order] for name in each}
    arrays["mask"] = np.roll(arrays["mask"], seed % 3 + 1, axis=2)
    arrays["features"] = arrays["features"] + rng.normal(0, 1, arrays["features"].shape)
    return dataclasses.replace(
        predictions,
        **arrays | {"features": arrays["features"].astype(np.float32)},
        probabilities=(odds / odds.sum(axis=1, keepdims=True)).astype(np.float32),
    )


def some_rows(predictions, chosen):
    """Predictions of some of the cells."""
    arrays = {
        field.name: getattr(predictions, field.name)[chosen]
        for field in dataclasses.fields(Predictions)
        if field.name not in ("classes", "mean_mask", "train_counts")
        and getattr(predictions, field.name) is not None
    }
    return dataclasses.replace(predictions, **arrays)


@pytest.fixture(scope="session")
def methods(predictions):
    """Three methods by name, the third without a generator."""
    third = dataclasses.replace(another(predictions, 2, 1.5), mask=None)
    return {"ResNet-50": predictions, "Proposed": another(predictions, 1), "VGG-16": third}


@pytest.fixture
def replace():
    """Copy of predictions with other arrays."""
    return dataclasses.replace


SOURCES = (
    "hep2gan.data.readers.icpr2016.Icpr2016Source",
    "hep2gan.data.phantom.generate.PhantomSource",
)
CONFIG = """\
name: {method}
study: default
seed: {seed}
model: {{segment: {segment}, classify: true, guidance: {{source: generated}}}}
data: {{_target_: {source}, name: {data}, root: /data/cells, count: 1360, seed: 0, size: 128}}
split: {{kind: random, seed: {seed}, test_fraction: 0.1, validation_fraction: 0.1, folds: null}}
normalisation: {{_target_: hep2gan.data.transforms.normalisation.MinMax}}
augmentation: {{horizontal_flip: 0.5, vertical_flip: 0.5, rotation: 0.0}}
generator:
  _target_: hep2gan.models.generator.DeepLabV3PlusGenerator
  encoder: tu-xception65
  pretrained: true
  weights: null
  atrous_rates: [2, 4, 6]
discriminator: {{_target_: hep2gan.models.discriminator.PatchGAN, n_layers: 3, ndf: 64}}
classifier: {{_target_: hep2gan.models.classifier.TimmClassifier, backbone: resnet50}}
loss:
  {{adversarial: vanilla, alpha: 0.5, beta: 10.0, gaussian_mixture: {{enabled: true, gamma: 0.01}}}}
optimizer:
  generator: {{_target_: torch.optim.SGD, lr: 0.0001, momentum: 0.9, weight_decay: 0.0001}}
  classifier: {{_target_: torch.optim.Adam, lr: 0.001, betas: [0.5, 0.999]}}
trainer: {{max_epochs: 40, batch_size: 16, precision: 32-true, accelerator: auto, devices: 1}}
run_dir: runs/default/{method}/seed{seed}
"""


_ENDS = {"low": -0.09, "high": 0.05}


def made_up_metrics(predictions):
    """Plausible metrics.json; accuracy and Dice are those of the predictions."""
    metrics = {"test/cells": float(len(predictions.label))}
    if predictions.mask is not None:
        a, b = predictions.mask >= 128, predictions.truth == 1
        both, one = (a & b).sum(axis=(1, 2)), a.sum(axis=(1, 2)) + b.sum(axis=(1, 2))
        metrics |= {"test/dice": float((2 * both / one).mean()), "baseline/ellipse_dice": 0.945}
        metrics |= {"test/jaccard": float((both / (one - both)).mean()), "test/hd95": 2.84}
        metrics |= {"baseline/mean_mask_dice": 0.937, "baseline/mean_mask_hd95": 4.9}
        metrics |= {"baseline/ellipse_jaccard": 0.898, "baseline/mean_mask_jaccard": 0.882}
    if predictions.probabilities is not None:
        right = float((predictions.predicted == predictions.label).mean())
        metrics |= {"test/accuracy": right, "baseline/majority_accuracy": 0.2258}
        metrics |= {f"test/accuracy_cells_{end}": right + by for end, by in _ENDS.items()}
        metrics |= {"test/accuracy_true_mask": 0.9194, "test/precision": 0.8971}
        metrics |= {"test/recall": 0.9137, "test/f1": 0.9034, "test/auroc": 0.9936}
    return metrics


def write_run(path, predictions, method="proposed", seed=0, *, data="phantom", leaks=True):
    """A finished run folder."""
    path.mkdir(parents=True, exist_ok=True)
    segment = str(predictions.mask is not None).lower()
    text = CONFIG.format(
        method=method, seed=seed, segment=segment, data=data, source=SOURCES[data == "phantom"]
    )
    (path / "config.yaml").write_text(text, encoding="utf-8")
    predictions.save(path / "predictions.npz")
    metrics = made_up_metrics(predictions)
    tested = np.bincount(predictions.label, minlength=len(predictions.classes))
    counts = {
        part: {name: int(n * share) for name, n in zip(predictions.classes, tested, strict=True)}
        for part, share in (("train", 9), ("validation", 1), ("test", 1))
    }
    split = {"settings": {"kind": "random", "seed": seed}, "counts": counts}
    if leaks:
        metrics |= {"leakage/duplicate_test_cells": 35.0, "leakage/shared_specimens": 11.0}
    (path / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    (path / "split.json").write_text(json.dumps(split), encoding="utf-8")
    write_curves(path / "metrics.csv")
    (path / "DONE").write_text("", encoding="utf-8")
    return path


def small_png(shade=0, size=(40, 20)):
    """A PNG of one colour, which nothing has to lay out."""
    buffer = io.BytesIO()
    Image.new("RGB", size, (shade, 90, 90)).save(buffer, "PNG")
    return buffer.getvalue()


def add_stand_ins(run, size=(40, 20)):
    """Put plain pictures where a run's figures lie, so that a page has none to plot."""
    (run / "figures").mkdir(exist_ok=True)
    names = "contours confusion tsne roc calibration trust worst_segmented worst_classified curves"
    for number, name in enumerate(names.split()):
        (run / "figures" / f"{name}.png").write_bytes(small_png(number, size))
    return run


def write_page(runs, path, **words):
    """The page alone, without tables and figures beside it."""
    (written,) = write_report(runs, path.parent, only=[PAGE], page=path.name, **words)
    return written


@pytest.fixture
def unrendered(monkeypatch):
    """The figures of reports are plotted, but neither laid out nor rendered."""
    monkeypatch.setattr(build, "render_figure", lambda figure, form="png": small_png())


@pytest.fixture
def metrics_csv(tmp_path):
    """Curves of a whole training."""
    return write_curves(tmp_path / "metrics.csv")


@pytest.fixture(scope="session")
def make_run(predictions):
    """Writes a finished run folder of the made-up predictions."""

    def make(path, **keywords):
        return write_run(path, predictions, **keywords)

    return make


@pytest.fixture(scope="session")
def finished(tmp_path_factory, make_run, predictions):
    """A finished run with its figures."""
    run = make_run(tmp_path_factory.mktemp("runs") / "default" / "proposed" / "seed0")
    write_figures(predictions, run / "figures", run / "metrics.csv")
    return run


@pytest.fixture(scope="module")
def run(make_run, tmp_path_factory):
    """A finished run as it is read."""
    return read_finished_run(
        make_run(tmp_path_factory.mktemp("study") / "default" / "proposed" / "seed0")
    )


@pytest.fixture(scope="module")
def grid(run):
    """Three methods of two seeds, seeds apart."""
    return [
        dataclasses.replace(run, method=method, seed=seed)
        for seed in ("0", "1")
        for method in ("a", "b", "c")
    ]
