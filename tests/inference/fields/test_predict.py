"""Fields through a tiny trained-like task: their files, tables, and what is refused."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import skimage.io
import torch
from PIL import Image
from shapely.geometry import shape

from hep2gan.data.fields.labels import LabelFinder
from hep2gan.data.fields.regions import cut_cell, find_regions
from hep2gan.data.readers.image import ImageReading
from hep2gan.data.transforms.normalisation import Normalisation
from hep2gan.errors import Hep2ganError
from hep2gan.inference.ensemble import Ensemble, spread
from hep2gan.inference.explain import explain_model
from hep2gan.inference.fields.cells import CellSource
from hep2gan.inference.fields.predict import FieldOptions, predict_fields
from hep2gan.inference.fields.predictor import FieldPredictor
from hep2gan.inference.fields.specimens import name_specimens
from hep2gan.inference.load import TorchBackend
from hep2gan.inference.predict import (
    BackendOutput,
    Predictor,
    TrainedModel,
    check_output,
    find_images,
)
from hep2gan.statistics.trust_rule import TrustRule
from tests.helpers import tiny

CLASSES, SIZE, MARGIN = ("a", "b", "c"), 16, 3
OUT = Path("out")


@pytest.fixture(autouse=True)
def _inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def backend(**given):
    return TorchBackend(tiny.task(**given), Normalisation(), torch.device("cpu"))


def save_field(name, cells=5, seed=0):
    """A field of square cells in a row, the first at the border, with its label image."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 40, (30, 20 * cells + 10), np.uint8)
    labels = np.zeros(image.shape, np.uint16)
    for at in range(cells):
        place = np.s_[0 if at == 0 else 8 : 22, 20 * at + 5 : 20 * at + 17]
        labels[place] = 2 * at + 1
        image[place] += np.uint8(60 + 20 * at)
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(f"{name}.png")
    Image.fromarray(labels).save(f"{name}_labels.png")
    return image, labels.astype(np.int32)


def predict(*inputs, networks=None, specimens=None, trust=TrustRule(), **given):  # noqa: B008
    fields = find_images(inputs, OUT).images
    check_output(OUT, fields)
    predictor = FieldPredictor(networks or backend(), CLASSES, SIZE, MARGIN, 2, trust)
    seen = []
    report = predict_fields(
        fields,
        predictor,
        CellSource(LabelFinder(), None, None),
        name_specimens(fields, specimens),
        FieldOptions(ImageReading(), None, OUT, **given),
        lambda done, total: seen.append((done, total)),
    )
    return report, seen


def rows(name):
    with (OUT / name).open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_cell_of_a_field_is_predicted_as_the_same_crop_as_a_file():
    image, labels = save_field("f/1")
    predict("f")
    for region in find_regions(labels):
        crop = cut_cell(image.astype(np.float32), labels, region, MARGIN)
        Path("crops").mkdir(exist_ok=True)
        Image.fromarray(crop.image.astype(np.uint8)).save(f"crops/{region.label:02d}.png")
    Predictor(backend(), CLASSES, SIZE).predict(
        find_images(["crops"], Path("single")).images, Path("single"), batch_size=2,
        reading=ImageReading(), overlays=False, progress=lambda *_: None,
    )  # fmt: skip
    with Path("single/predictions.csv").open() as file:
        for cell, alone in zip(rows("cells.csv"), csv.DictReader(file), strict=True):
            assert cell["predicted"] == alone["predicted"]
            for name in CLASSES:
                assert float(cell[f"p_{name}"]) == pytest.approx(float(alone[name]), abs=2e-6)
    # The generated mask of a cell is that of the crop, where no other cell is.
    generated = skimage.io.imread(OUT / "masks/1.png")
    for region in find_regions(labels):
        crop = cut_cell(image.astype(np.float32), labels, region, MARGIN)
        top, left, bottom, right = crop.box
        alone = skimage.io.imread(f"single/masks/{region.label:02d}.png") > 0
        assert np.array_equal(generated[top:bottom, left:right] == region.label, alone)


def test_the_tables_by_hand():
    save_field("f/1_p0", 4)
    save_field("f/1_p1", 3, seed=1)
    save_field("f/2_p0", 2, seed=2)
    report, seen = predict("f")
    cells, fields, specimens = (rows(f"{name}.csv") for name in ("cells", "fields", "specimens"))
    assert [(c["field"], c["id"]) for c in cells[:5]] == [
        *(("f/1_p0.png", str(number)) for number in (1, 3, 5, 7)), ("f/1_p1.png", "1"),
    ]  # fmt: skip
    second = cells[1]
    place = ("top", "left", "bottom", "right", "centroid_y", "centroid_x", "area", "at_border")
    assert [second[name] for name in place] == [
        "8", "25", "22", "37", "14.50", "30.50", "168", "0",
    ]  # fmt: skip
    assert [cell["at_border"] for cell in cells] == list("100010010")
    p = np.array([float(second[f"p_{name}"]) for name in CLASSES])
    assert p.sum() == pytest.approx(1, abs=1e-5)
    assert second["predicted"] == CLASSES[p.argmax()]
    entropy = -(p * np.log(p)).sum() / np.log(len(CLASSES))
    assert float(second["entropy"]) == pytest.approx(entropy, abs=1e-3)
    # The first cell of each field is cut by the border: it does not count.
    assert [(f["cells"], f["counted"], f["at_border"]) for f in fields] == [
        ("4", "3", "1"), ("3", "2", "1"), ("2", "1", "1"),
    ]  # fmt: skip
    assert [(s["specimen"], s["fields"], s["cells"], s["counted"]) for s in specimens] == [
        ("1", "2", "7", "5"), ("2", "1", "2", "1"),
    ]  # fmt: skip
    counted = [cell for cell in cells if cell["specimen"] == "1" and cell["at_border"] == "0"]
    for name in CLASSES:
        votes = sum(cell["predicted"] == name for cell in counted)
        assert int(specimens[0][f"votes_{name}"]) == votes
        mean = np.mean([float(cell[f"p_{name}"]) for cell in counted])
        assert float(specimens[0][f"mean_p_{name}"]) == pytest.approx(mean, abs=1e-4)
    assert report.specimens["1"].counted == 5
    assert (report.done, report.cells, report.clear, report.found) == (3, 9, 6, 0)
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_cells_of_an_ensemble_have_a_spread():
    save_field("f/1")
    members = [backend(), backend(mixture=False)]
    members[1]._task.classifier.output.weight.data *= -1
    predict("f", networks=Ensemble(members))
    together = [float(cell["spread"]) for cell in rows("cells.csv")]
    assert min(together) >= 0
    assert max(together) > 0
    chances = [[float(cell[f"p_{name}"]) for name in CLASSES] for cell in rows("cells.csv")]
    cells = json.loads((OUT / "geojson/1.geojson").read_text())["features"]
    measured = [cell["properties"]["measurements"]["Spread"] for cell in cells]
    assert measured == pytest.approx(together, abs=1e-6)
    singles = []
    for member in members:
        predict("f", networks=member)
        assert "spread" not in rows("cells.csv")[0]
        singles.append([[float(c[f"p_{name}"]) for name in CLASSES] for c in rows("cells.csv")])
    assert np.mean(singles, axis=0) == pytest.approx(np.array(chances), abs=2e-6)
    assert spread(np.array(singles)) == pytest.approx(together, abs=1e-4)


def test_maps_are_drawn_into_the_cells():
    _, labels = save_field("f/1")
    size, reading = SIZE, ImageReading()
    explained = explain_model(TrainedModel(backend(), CLASSES, size, None, reading)).backend
    predict("f", networks=explained)
    mapped = skimage.io.imread(OUT / "overlays/1.png")[: len(labels)]
    table = rows("cells.csv")
    predict("f")
    plain = skimage.io.imread(OUT / "overlays/1.png")[: len(labels)]
    assert table == rows("cells.csv")
    differs = (mapped != plain).any(axis=2)
    boxes = np.zeros(labels.shape, np.bool_)
    for region in find_regions(labels):
        top, left, bottom, right = cut_cell(labels.astype("f4"), labels, region, MARGIN).box
        boxes[top:bottom, left:right] = True
    assert differs.any()
    assert not differs[~boxes].any()


def test_what_is_written_for_each_field():
    _, labels = save_field("f/deep/1")
    predict("f")
    files = sorted(str(path.relative_to(OUT)) for path in OUT.rglob("*") if path.is_file())
    assert files == [
        "cells.csv", "fields.csv", "geojson/deep/1.geojson", "labels/deep/1.png",
        "masks/deep/1.png", "overlays/deep/1.png", "specimens.csv",
    ]  # fmt: skip
    assert np.array_equal(skimage.io.imread(OUT / "labels/deep/1.png"), labels)
    found = json.loads((OUT / "geojson/deep/1.geojson").read_text())
    for feature, cell in zip(found["features"], rows("cells.csv"), strict=True):
        assert feature["properties"]["name"] == cell["id"]
        assert feature["properties"]["classification"]["name"] == cell["predicted"]
        numbers = feature["properties"]["measurements"]
        assert numbers["Area px"] == shape(feature["geometry"]).area == int(cell["area"])
        assert numbers["Probability b"] == pytest.approx(float(cell["p_b"]), abs=1e-6)
        assert numbers["At border"] == int(cell["at_border"])
    assert skimage.io.imread(OUT / "overlays/deep/1.png").shape[1:] == (labels.shape[1], 3)


def test_a_damaged_field_is_listed_and_the_rest_is_done():
    for name in ("f/1", "f/2", "f/3", "f/4"):
        save_field(name)
    Path("f/2.png").write_bytes(b"nothing")
    Image.fromarray(np.zeros((5, 5), np.uint16)).save("f/3_labels.png")
    report, seen = predict("f")
    listed = {row["field"]: row["problem"] for row in rows("fields.csv")}
    assert [name for name, problem in listed.items() if not problem] == ["f/1.png", "f/4.png"]
    assert [listed["f/2.png"], listed["f/3.png"]] == report.problems
    assert [(s["fields"], s["fields_left_out"]) for s in rows("specimens.csv")] == [
        ("1", "0"), ("0", "1"), ("0", "1"), ("1", "0"),
    ]  # fmt: skip
    assert rows("specimens.csv")[1]["cells"] == ""
    assert [problem.split(" ")[0] for problem in report.problems] == ["f/2.png", "f/3_labels.png"]
    assert seen[-1] == (4, 4)


def test_specimens_whose_fields_differ_are_told():
    def by_side(image, _levels):
        """Class b where the nucleus is brighter than its surroundings, else a."""
        b = (image[:, 8, 8] > image[:, 8, -1]).astype(np.float32)
        return BackendOutput(None, np.stack([1 - b, b, 0 * b], axis=1))

    image, _ = save_field("f/1_p0", 2)
    save_field("f/1_p1", 2)
    Image.fromarray(255 - image).save("f/1_p1.png")
    save_field("f/2_p0", 2)
    report, _ = predict("f", networks=by_side, masks=False)
    assert [row["predicted"] for row in rows("fields.csv")] == ["b", "a", "b"]
    assert report.divided == ["1"]


def test_a_field_without_cells_has_no_answer():
    save_field("f/1")
    Image.fromarray(np.zeros((30, 110), np.uint16)).save("f/1_labels.png")
    report, _ = predict("f")
    assert report.without_cells == ["f/1.png"]
    assert rows("cells.csv") == []
    (field,) = rows("fields.csv")
    assert (field["cells"], field["counted"], field["predicted"], field["share_a"]) == (
        "0", "0", "", "",
    )  # fmt: skip


def test_cells_unlike_the_training_are_counted_and_vote_all_the_same():
    for number in range(3):
        save_field(f"f/{number // 2}_p{number}", 5, seed=number)
    before, _ = predict("f")
    cells = rows("cells.csv")
    assert "unlike_training" not in rows("specimens.csv")[0]
    squared = np.array([float(cell["distance"]) for cell in cells]) ** 2
    limit = float(np.sort(squared)[9:11].mean())
    report, _ = predict("f", trust=TrustRule(2.0, limit))
    scaled = rows("cells.csv")
    unlike = np.array([int(cell["unlike_training"]) for cell in scaled])
    assert unlike.tolist() == (squared > limit).astype(int).tolist()
    assert unlike.sum() == report.flags["unlike_training"] == 5
    fields, specimens = rows("fields.csv"), rows("specimens.csv")
    assert [int(f["unlike_training"]) for f in fields] == unlike.reshape(3, 5).sum(1).tolist()
    assert [int(s["unlike_training"]) for s in specimens] == [unlike[:10].sum(), unlike[10:].sum()]
    votes = [one.votes.tolist() for one in report.specimens.values()]
    assert votes == [one.votes.tolist() for one in before.specimens.values()]
    # At temperature 2 odds become their square root.
    raw, own = ([float(cell[f"p_{n}"]) for n in CLASSES[:2]] for cell in (cells[3], scaled[3]))
    assert own[0] / own[1] == pytest.approx((raw[0] / raw[1]) ** 0.5, rel=1e-4)
    features = json.loads((OUT / "geojson/0_p0.geojson").read_text())["features"]
    shown = [one["properties"]["measurements"]["Unlike training"] for one in features]
    assert shown == unlike[:5].tolist()


def test_methods_without_mixture_generator_or_classifier():
    save_field("f/1")
    predict("f", networks=backend(mixture=False))
    assert not {"distance", "nearest_class"} & rows("cells.csv")[0].keys()
    assert "entropy" in rows("cells.csv")[0]
    segmenting = FieldPredictor(backend(classify=False), (), SIZE, MARGIN)
    image, labels = save_field("f/1")
    result = segmenting.predict_field(image.astype(np.float32), labels)
    assert (result.probabilities, result.predicted) == (None, None)


def test_masks_alone_are_label_images_of_the_layout_of_labelled_fields():
    save_field("f/1")
    predict("f", masks="only")
    assert [str(path.relative_to(OUT)) for path in OUT.rglob("*")] == ["1_labels.png"]
    assert set(np.unique(skimage.io.imread(OUT / "1_labels.png"))) <= {0, 1, 3, 5, 7, 9}


def test_masks_of_a_method_without_any_are_refused():
    save_field("f/1")
    with pytest.raises(Hep2ganError, match="makes no masks"):
        predict("f", networks=lambda *_: backend()(*_)._replace(mask=None), masks="only")
    assert not OUT.exists()


def test_the_results_of_other_fields_are_not_mixed_with_these():
    save_field("f/1")
    save_field("g/1")
    predict("f")
    predict("f")
    with pytest.raises(Hep2ganError, match=r"fields\.csv lists 1 other image, e\.g\. f/1\.png"):
        predict("g")


def test_cells_that_nothing_finds_are_explained():
    save_field("f/1")
    Path("f/1_labels.png").unlink()
    report, _ = predict("f")
    assert "has no label image beside it" in report.problems[0]
    save_field("f/1")
    assert predict("f")[0].problems == []


def test_only_a_few_fields_are_in_memory():
    for number in range(12):
        save_field(f"f/{number:02d}", cells=2, seed=number)
    fields = find_images(["f"], OUT).images
    source, started, done = CellSource(LabelFinder(), None, None), [], []
    plain = source.of
    source.of = lambda path, image: (started.append(path), plain(path, image))[1]
    most = []

    def progress(count, _):
        done.append(count)
        most.append(len(started) - count)

    predict_fields(
        fields, FieldPredictor(backend(), CLASSES, SIZE, MARGIN), source,
        name_specimens(fields, None), FieldOptions(ImageReading(), None, OUT), progress,
    )  # fmt: skip
    assert done == list(range(1, 13))
    assert max(most) <= 4
