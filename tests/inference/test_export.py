"""Exported graphs: what they say against PyTorch, what lies beside them, what is refused."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

from hep2gan.cli import export, predict
from hep2gan.data.patterns import ICPR2016
from hep2gan.data.readers.image import ImageReading
from hep2gan.data.store.store import Store
from hep2gan.data.transforms.normalisation import Normalisation
from hep2gan.errors import Hep2ganError
from hep2gan.inference import export as export_module
from hep2gan.inference.export import export_run
from hep2gan.inference.export_check import CheckCells, sample_cells
from hep2gan.inference.exported import open_export
from hep2gan.inference.load import load_run
from hep2gan.inference.model_card import _reading_step
from hep2gan.inference.onnx_backend import OnnxBackend
from hep2gan.inference.onnx_export import ExportableModel, check_graph, write_graph
from hep2gan.models.guidance import MaskGuidance
from hep2gan.models.output import TestTimeAugmentation
from hep2gan.runs.predictions import Predictions
from hep2gan.training.build import build_task
from tests.helpers import tiny
from tests.helpers.commands import call, inside_copy
from tests.helpers.configs import parsed

RUN = "runs/default/proposed/seed0"
SIZE = 16
ICPR2016_NAMES = [pattern.name for pattern in ICPR2016]
NAMES = ("by_torch", "by_onnx")


@pytest.fixture(scope="module")
def place(tmp_path_factory, trained_run):
    """A folder with a trained run and its export."""
    with inside_copy(tmp_path_factory, trained_run) as folder:
        assert call(export, RUN) == 0
        yield folder


@pytest.fixture
def inside(place, monkeypatch):
    monkeypatch.chdir(place)
    return place


def noise(count):
    g = np.random.default_rng(5)
    image = g.integers(0, 256, (count, SIZE, SIZE), np.uint8)
    return CheckCells(image, g.uniform(0, 200, (count, 2)).astype(np.float32), "noise")


def written(task, folder, kind="min_max"):
    graph = ExportableModel(task, Normalisation(kind=kind)).eval()
    write_graph(graph, SIZE, folder / "model.onnx")
    return graph, folder / "model.onnx"


TASKS = {
    "proposed": ({}, ("mask", "probabilities", "distances")),
    "without a mixture": ({"mixture": False}, ("mask", "probabilities")),
    "hard guidance": (
        {"guidance": MaskGuidance(hard=True)},
        ("mask", "probabilities", "distances"),
    ),
    "image alone": (
        {"segment": False, "adversarial": False, "guidance": MaskGuidance(source="none")},
        ("probabilities", "distances"),
    ),
    "segmentation": ({"classify": False}, ("mask",)),
    "eight views": ({"views": TestTimeAugmentation(8)}, ("mask", "probabilities", "distances")),
}


@pytest.mark.parametrize("name", TASKS)
def test_a_graph_says_what_evaluation_says(name, tmp_path):
    given, outputs = TASKS[name]
    task, cells = tiny.task(**given).eval(), noise(5)
    graph, file = written(task, tmp_path)
    engine = OnnxBackend(file, "cpu")
    for count in (5, 1, 4):
        image, levels = cells.image[:count], cells.levels[:count]
        with torch.inference_mode():
            due = task(Normalisation()(torch.from_numpy(image), torch.from_numpy(levels)))
        found = engine(image, levels)
        assert tuple(n for n in found._fields if getattr(found, n) is not None) == outputs
        if "mask" in outputs:
            assert np.allclose(found.mask, due.mask[:, 0].numpy(), atol=1e-5)
        if "probabilities" in outputs:
            assert np.allclose(found.probabilities, due.probabilities.numpy(), atol=1e-5)
        if "distances" in outputs:
            distances = task.mixture.distances(due.features).detach().numpy()
            assert np.allclose(found.distances, distances, rtol=1e-5, atol=1e-5)
    assert max(check_graph(graph, file, cells).differences.values()) < 1e-5
    # Neither the discriminator nor the losses are part of what is handed on.
    assert not [each.name for each in onnx.load(file).graph.initializer if "discr" in each.name]


@pytest.mark.parametrize("kind", ["min_max", "percentile", "z_score", "none"])
def test_every_normalisation_is_inside(kind, tmp_path):
    task, cells = tiny.task().eval(), noise(3)
    cells.image[1] = 7  # a constant image
    graph, file = written(task, tmp_path, kind)
    assert ("levels" in graph.inputs) == (kind == "none")
    image = Normalisation(kind=kind)(torch.from_numpy(cells.image), torch.from_numpy(cells.levels))
    with torch.inference_mode():
        due = task(image)
    found = OnnxBackend(file, "cpu")(cells.image, cells.levels)
    assert np.allclose(found.mask, due.mask[:, 0].numpy(), atol=1e-5)
    assert np.allclose(found.probabilities, due.probabilities.numpy(), atol=1e-5)


@pytest.mark.slow
def test_attention_pooling_and_its_rings(tmp_path):
    config = parsed("data=phantom", "scale=laptop", "method=attention_pooling", "pretrained=false")
    task = build_task(config, classes="abc", size=64).eval()
    graph = ExportableModel(task, Normalisation()).eval()
    write_graph(graph, 64, tmp_path / "model.onnx")
    cells = sample_cells(tmp_path / "gone", 64)
    assert cells.source.startswith("synthetic cells")
    assert max(check_graph(graph, tmp_path / "model.onnx", cells).differences.values()) < 1e-4


def test_runs_that_need_true_masks_are_refused():
    task = tiny.task(segment=False, adversarial=False, guidance=MaskGuidance(source="ground_truth"))
    with pytest.raises(Hep2ganError, match="trained with true masks"):
        ExportableModel(task, Normalisation())


@pytest.mark.integration
def test_a_graph_that_differs_is_refused(tmp_path):
    task = tiny.task().eval()
    graph, file = written(task, tmp_path)
    with torch.no_grad():
        task.classifier.output.bias[0] += 0.01
    with pytest.raises(Hep2ganError, match=r"differ: mask by .*, probabilities by 0\.00"):
        check_graph(graph, file, noise(3))
    with torch.no_grad():
        task.classifier.output.bias[0] = torch.nan
    with pytest.raises(Hep2ganError, match="probabilities by inf"):
        check_graph(graph, file, noise(3))


@pytest.mark.integration
def test_the_command_writes_graph_card_and_description(inside, capsys):
    folder = inside / RUN / "export"
    assert {p.name for p in folder.iterdir()} == {"model.onnx", "model.json", "README.md"}
    shape = onnxruntime.InferenceSession(folder / "model.onnx").get_inputs()[0].shape
    assert (type(shape[0]), shape[1:]) == (str, [64, 64])
    found = json.loads((folder / "model.json").read_text())
    store = Store.open(load_run(inside / RUN).store)
    assert found["trained_on"]["fingerprint"] == store.fingerprint
    assert found["trained_on"]["split"]["test"] == 24
    assert found["check"]["source"] == f"cells of the store {store.path.name}"
    assert found["test_metrics"] == json.loads((inside / RUN / "metrics.json").read_text())
    card = (folder / "README.md").read_text()
    for words in (
        "synthetic cells",
        "no medical device",
        store.fingerprint,
        "0. Homogeneous",
        "| dice |",
    ):
        assert words in card


@pytest.mark.integration
@pytest.mark.parametrize(
    ("reading", "words"),
    [
        (ImageReading(), ("Read the image as", "; 16-bit values are multiplied by 255/65535.")),
        (
            ImageReading(4095, "green", 2),
            (
                "Read channel green, plane 2 of the image as",
                "; values of more than 8 bits are multiplied by 255/4095.",
            ),
        ),
    ],
)
def test_the_card_reads_images_as_the_training_did(reading, words):
    step, (first, last) = _reading_step(reading), words
    assert (step.startswith(first), step.endswith(last)) == (True, True), step


def test_the_description_is_enough_for_onnxruntime_and_pillow(inside):
    """Written from model.json's words alone."""
    found = json.loads((inside / RUN / "export/model.json").read_text())
    session = onnxruntime.InferenceSession(inside / RUN / "export" / found["weights"])
    size, due = found["size"], Predictions.load(inside / RUN / "predictions.npz")
    for place in range(4):
        with Image.open(inside / f"stores/synthetic_96_0_lab0/{due.id[place]}.png") as image:
            small = np.asarray(
                image.convert("F").resize((size, size), Image.Resampling.BILINEAR), np.float64
            )
        lo, hi = small.min(), small.max()
        stored = np.rint((small - lo) * (255 / (hi - lo))).astype(np.uint8)
        mask, chances, _ = session.run(list(found["outputs"]), {"image": stored[None]})
        assert np.allclose(chances[0], due.probabilities[place], atol=1e-4)
        assert np.abs(mask[0] - due.mask[place] / 255).max() <= 0.5 / 255 + 1e-4
        assert found["classes"] == list(due.classes)


@pytest.mark.integration
def test_nothing_is_left_of_an_export_that_fails(inside, tmp_path, monkeypatch, capsys):
    before = export_module.write_graph

    def another(graph, size, file):
        before(graph, size, file)
        with torch.no_grad():
            graph.classifier.output.bias[0] += 1

    with monkeypatch.context() as patch:
        patch.setattr(export_module, "write_graph", another)
        assert call(export, RUN, f"output={tmp_path / 'new'}") == 2
    assert "nothing was written" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.integration
def test_without_the_store_synthetic_cells_are_taken_and_named(inside, tmp_path):
    trained = load_run(inside / RUN)
    # Quick, since the graph itself is written in other tests.
    assert sample_cells(tmp_path / "gone", 64).source.startswith("synthetic cells")
    with pytest.raises(Hep2ganError, match="gone does not exist"):
        export_run(trained, tmp_path / "new", store=tmp_path / "gone")
    assert not (tmp_path / "new").exists()


@pytest.mark.integration
def test_a_missing_package_is_told_with_its_extra(inside, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert call(export, RUN, "output=new") == 2
    assert 'pip install "hep2gan[onnx]"' in capsys.readouterr().err
    assert not (inside / "new").exists()


@pytest.mark.integration
@pytest.mark.parametrize("damage", ["graph", "version", "no json"])
def test_damaged_exports_are_refused(damage, inside, tmp_path):
    for file in (inside / RUN / "export").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    whole = open_export(tmp_path)
    assert (whole.size, whole.reading, whole.views) == (64, ImageReading(), 1)
    described = tmp_path / "model.json"
    if damage == "graph":
        content = bytearray((tmp_path / "model.onnx").read_bytes())
        content[-100] ^= 1
        (tmp_path / "model.onnx").write_bytes(content)
    elif damage == "version":
        described.write_text(described.read_text().replace('"version": 4', '"version": 5', 1))
    else:
        described.write_text(described.read_text()[:50])
    with pytest.raises(Hep2ganError, match=r"cannot be used.*hep2gan-export"):
        open_export(tmp_path)


@pytest.mark.integration
def test_predicting_with_the_export_gives_what_pytorch_gives(inside, capsys):
    raw = [
        str(path) for path in sorted((inside / "stores/synthetic_96_0_lab0").glob("000[12]?.png"))
    ]
    assert call(predict, RUN, *raw, "output=by_torch", "batch_size=7", "accelerator=cpu") == 0
    assert call(predict, f"{RUN}/export", *raw, "output=by_onnx", "batch_size=3") == 0
    tables = []
    for name in NAMES:
        with (inside / name / "predictions.csv").open() as file:
            tables.append(list(csv.DictReader(file)))
    assert len(tables[0]) == len(raw) == 20
    for ours, theirs in zip(*tables, strict=True):
        assert list(ours) == list(theirs)
        numbers = {*ICPR2016_NAMES, "entropy", "distance"}
        for key in ours.keys() - numbers:
            assert ours[key] == theirs[key], key
        for key in numbers & ours.keys():
            assert float(ours[key]) == pytest.approx(float(theirs[key]), abs=1e-4)
    files = [sorted(p.relative_to(name) for p in Path(name).rglob("*.png")) for name in NAMES]
    assert files[0] == files[1]
    assert len(files[0]) == 2 * len(raw)
    for file in files[0]:
        one, other = (np.asarray(Image.open(Path(name) / file)) for name in NAMES)
        assert np.array_equal(one, other), file


@pytest.mark.integration
def test_an_export_takes_no_checkpoint(inside, capsys):
    raw = "stores/synthetic_96_0_lab0/00001.png"
    assert call(predict, f"{RUN}/export", raw, "checkpoint=x.ckpt") == 2
    assert "is an export" in capsys.readouterr().err


@pytest.mark.integration
def test_an_export_is_run_without_torch(inside):
    command = [
        sys.executable, "-c",
        "import sys; from hep2gan.cli.predict import main; main();"
        "sys.exit('torch' in sys.modules)",
        f"{RUN}/export", "stores/synthetic_96_0_lab0/00001.png", "output=without_torch",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 of 1 image done" in done.stdout
