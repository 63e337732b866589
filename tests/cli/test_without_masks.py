"""The whole way of a set without masks; and the way to masks, by a run of another set."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from hep2gan.cli import evaluate, export, pack, predict, report, train
from hep2gan.data.store.store import Store
from hep2gan.runs.predictions import Predictions
from tests.helpers.commands import call, folder_after

SIZE = ("data.size=64",)
BARE = ("data=phantom", "data.count=96", "data.name=bare", "data.masks=false")
QUICK = ("scale=laptop", "split.test_fraction=0.25", "trainer.accelerator=cpu")
CLASSIFIED = Path("runs/default/resnet50/seed0")
COMPARED = re.compile("dice|jaccard|hd95|boundary|mask|ellipse|otsu")


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory):
    """A folder with a store without masks, and a classifier that was trained on it."""
    validated = ("split.validation_fraction=0.1", "trainer.max_epochs=2")
    fit = (train, *BARE, *QUICK, *validated, "method=resnet50")
    with folder_after(tmp_path_factory, (pack, *BARE, *SIZE), fit) as folder:
        yield folder


def test_a_classifier_is_trained_and_tested():
    metrics = json.loads((CLASSIFIED / "metrics.json").read_text())
    assert not [key for key in metrics if COMPARED.search(key)]
    assert {"test/accuracy", "test/auroc", "baseline/majority_accuracy"} <= metrics.keys()
    predictions = Predictions.load(CLASSIFIED / "predictions.npz")
    assert (
        predictions.truth is predictions.mask is predictions.mean_mask is predictions.dice is None
    )
    header = (CLASSIFIED / "metrics.csv").read_text().splitlines()[0]
    assert "val/accuracy" in header
    assert not COMPARED.search(header)
    figures = {path.stem for path in (CLASSIFIED / "figures").iterdir()}
    assert "confusion" in figures
    assert not figures & {"contours", "worst_segmented"}


def test_testing_again_gives_the_same():
    before = (CLASSIFIED / "metrics.json").read_bytes()
    assert call(evaluate, str(CLASSIFIED), "accelerator=cpu") == 0
    assert (CLASSIFIED / "metrics.json").read_bytes() == before


def test_a_forest_too():
    assert call(train, *BARE, *QUICK, "method=intensity", "model.baseline.trees=10") == 0
    found = Predictions.load(Path("runs/default/intensity/seed0/predictions.npz"))
    assert found.truth is found.mean_mask is None


def test_the_report_says_nothing_of_masks():
    Path("page").mkdir()
    assert call(report, str(CLASSIFIED), "output=page") == 0
    page = Path("page/report.html").read_text()
    text = re.sub("<style.*?</style>|<script.*?</script>|<[^>]+>", " ", page, flags=re.DOTALL)
    assert "Accuracy" in text
    assert "Lowest Dice" not in text
    assert not re.search(r"\bnan\b", text)
    (row,) = csv.DictReader(Path("page/table_1.csv").read_text().splitlines())
    assert row["accuracy"]
    assert {row[key] for key in row if key.startswith(("dice", "jaccard"))} == {""}
    assert not list(Path("page").glob("baselines*"))


def test_the_network_is_exported():
    assert call(export, str(CLASSIFIED), "output=exported") == 0


def test_a_classifier_writes_no_masks(capsys):
    assert (
        call(predict, str(CLASSIFIED), "stores/synthetic_96_0_lab0", "masks=only", "output=none")
        == 2
    )
    assert "this method makes no masks" in capsys.readouterr().err
    assert not Path("none").exists()


@pytest.mark.integration
def test_masks_of_another_set_s_run_make_it_a_set_with_masks(capsys):
    """Refused; then segmented by a run of other cells, packed with its masks, and trained."""
    assert call(train, *BARE, *QUICK, "method=ground_truth") == 2
    fix = capsys.readouterr().err
    assert "hep2gan-predict RUN FOLDER masks=only" in fix
    assert "hep2gan-pack data.masks=FOLDER" in fix
    other = ("data=phantom", "data.count=96", "data.seed=1", *QUICK, "trainer.max_epochs=12")
    assert call(train, *other, "method=without_adversarial", "model.classify=false") == 0
    run, raw = "runs/default/without_adversarial/seed0", "stores/synthetic_96_0_lab0"
    assert call(predict, run, raw, "masks=only", "output=drawn", "accelerator=cpu") == 0
    written = sorted(path.name for path in Path("drawn").iterdir())
    assert len(written) == 96
    assert {name.removesuffix("_Mask.png") for name in written} == {
        path.stem for path in Path(raw).glob("*.png") if "Mask" not in path.name
    }
    drawn = ("data=phantom", "data.count=96", "data.name=drawn", "data.masks=drawn")
    assert call(pack, *drawn, *SIZE) == 0
    bare, store = (
        Store.open(Path("stores/bare_96_0_lab0_64")),
        Store.open(Path("stores/drawn_96_0_lab0_64")),
    )
    np.testing.assert_array_equal(store.image, bare.image)
    assert store.mask.any(axis=(1, 2)).all()
    for method in ("ground_truth", "proposed"):
        assert call(train, *drawn, *QUICK, f"method={method}", "trainer.max_epochs=1") == 0
        metrics = json.loads(Path(f"runs/default/{method}/seed0/metrics.json").read_text())
        assert ("test/dice" in metrics) == (method == "proposed")
