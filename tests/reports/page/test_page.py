import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from hep2gan.errors import Hep2ganError
from hep2gan.reports.page import elements
from tests.helpers.report_fixtures import add_stand_ins, write_page


class Page(HTMLParser):
    """Text, ids, links, images and table rows of a report."""

    VOID = frozenset({"meta", "link", "img", "br"})

    def __init__(self, html):
        super().__init__()
        self.text, self.ids, self.links, self.images, self.rows = "", [], [], [], []
        self.open, self.tags = [], []
        self.feed(html)
        self.text = " ".join(self.text.split())
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append((tag, found))
        if tag not in self.VOID:
            self.open.append(tag)
        if "id" in found:
            self.ids.append(found["id"])
        if tag == "a":
            self.links.append(found["href"])
        if tag == "img":
            self.images.append(found)
        if tag == "tr":
            self.rows.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text += data
            if "tr" in self.open:
                self.rows[-1] += data + " "
        if self.open and self.open[-1] in ("dt", "dd", "p", "div", "li", "span", "th", "td"):
            self.text += " "


@pytest.fixture(scope="module")
def html(finished, tmp_path_factory):
    path = tmp_path_factory.mktemp("one") / "report.html"
    assert write_page([finished], path) == path
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


@pytest.fixture
def plain(finished, tmp_path):
    """The same run with small stand-ins for its figures."""
    from shutil import copytree

    place = tmp_path / "default" / "proposed" / "seed0"
    return add_stand_ins(copytree(finished, place, ignore=lambda *_: ["figures"]))


def reported(*runs):
    path = write_page(list(runs), runs[0] / "report.html")
    return Page(path.read_text(encoding="utf-8"))


@pytest.mark.integration
def test_nothing_is_asked_of_the_network(html):
    pattern = r"https?:|//[a-z]|@import|<script|url\(|javascript:"
    assert not re.search(pattern, re.sub('src="data:[^"]*"', "", html), re.IGNORECASE)


def test_every_link_leads_to_a_place_in_the_page(page):
    assert len(page.ids) == len(set(page.ids))
    assert page.links
    assert all(link[0] == "#" and link[1:] in page.ids for link in page.links)


def test_images_are_embedded_decode_and_have_words(page):
    titles = ["Calibration", "Errors by coverage, and limits"]
    titles += ["Contours", "Confusion matrix", "Features, by t-SNE", "ROC curves"]
    titles += ["Training curves", "Lowest Dice", "Most confident errors"]
    assert [image["alt"].split(" of run ")[0] for image in page.images] == titles
    for image in page.images:
        kind, _, content = image["src"].partition(",")
        assert kind == "data:image/png;base64"
        with Image.open(io.BytesIO(base64.b64decode(content))) as decoded:
            decoded.load()
            shape = int(image["width"]) / int(image["height"])
            assert decoded.width / decoded.height == pytest.approx(shape, abs=0.02)
        assert "default/proposed/seed0" in image["alt"]
        assert len(image["alt"]) > 60


def test_headlines_stand_beside_their_baselines(page, finished):
    metrics = json.loads((finished / "metrics.json").read_text())
    assert f"Dice {metrics['test/dice']:.3f} inscribed ellipse 0.945 mean mask 0.937" in page.text
    assert re.search(
        r"Accuracy 90\.3\s% 81\.3–95\.3\s% over cells with true masks 91\.9\s%", page.text
    )
    assert re.search(r"majority class 22\.6\s%", page.text)
    assert "no better than" not in page.text


def test_numbers_lead_to_the_key_they_come_from(html, page, finished):
    metrics = json.loads((finished / "metrics.json").read_text())
    place, text = re.search(r'<a href="#([\w-]+)" title="test/dice">([\d.]+)</a>', html).groups()
    row = re.search(rf'<tr id="{place}">.*?</tr>', html, re.DOTALL).group()
    assert "test/dice" in row
    assert f"{metrics['test/dice']:.6g}" in row
    assert text == f"{metrics['test/dice']:.3f}"


def test_leakage_is_told_before_the_first_number(page):
    leak = page.text.index("35 test cells have a byte-identical twin in training")
    specimens = page.text.index("11 of the test specimens also have cells in training")
    assert max(leak, specimens) < page.text.index("inscribed ellipse 0.945")
    assert page.text.count("byte-identical twin") == 1


def test_synthetic_cells_are_called_so(page):
    assert "tested on 62 synthetic cells of 6 classes" in page.text
    assert "These are synthetic cells, not micrographs." in page.text


def test_cells_by_class_and_part(page):
    rows = [row.split() for row in page.rows]
    assert ["Speckled", "126", "14", "14"] in rows
    assert ["All", "558", "62", "62"] in rows


def test_class_by_class(page, predictions):
    own, called = predictions.label == 1, predictions.predicted == 1
    precision, recall = (own & called).sum() / called.sum(), (own & called).sum() / own.sum()
    dice = [
        2 * (a & b).sum() / (a.sum() + b.sum())
        for a, b in zip(predictions.mask[own] >= 128, predictions.truth[own] == 1, strict=True)
    ]
    f1 = 2 * precision * recall / (precision + recall)
    wanted = ["14", *(f"{100 * x:.1f}%" for x in (precision, recall, f1))]
    assert "Class Test cells Precision Recall F1 AUC Dice" in [
        " ".join(r.split()) for r in page.rows
    ]
    row = next(r for r in page.rows if re.match(r"Speckled\s+14\s+1?\d\d\.", r))
    found = re.sub(r"\N{NARROW NO-BREAK SPACE}", "", row).split()
    assert found[1:5] == wanted
    assert found[6] == f"{np.mean(dice):.3f}"


def test_what_was_run_in_words_and_in_full(page, finished):
    assert "Losses adversarial vanilla, alpha 0.5, beta 10.0" in page.text
    assert "DeepLabV3PlusGenerator (encoder tu-xception65, pretrained on, atrous" in page.text
    assert "batch size 16" in page.text
    assert "hep2gan.models.generator.DeepLabV3PlusGenerator" in page.text


def test_a_run_worse_than_its_baselines_is_told_so(plain):
    metrics = {"test/dice": 0.94, "baseline/ellipse_dice": 0.945, "baseline/mean_mask_dice": 0.941}
    metrics |= {
        "baseline/otsu_dice": 0.95,
        "test/hd95": 5.0,
        "baseline/mean_mask_hd95": 4.9,
        "test/accuracy": 0.2,
    }
    metrics |= {"baseline/majority_accuracy": 0.2}
    (plain / "metrics.json").write_text(json.dumps(metrics))
    text = reported(plain).text
    assert text.count("no better than") == 3
    assert "no better than the inscribed ellipse, the mean mask and Otsu's threshold" in text
    assert "no better than the mean mask" in text
    assert "no better than the majority class" in text


def test_figures_of_the_run_are_taken_and_damaged_or_old_ones_plotted_anew(plain):
    import os

    roc = plain / "figures" / "roc.png"
    noise = np.random.default_rng(0).integers(0, 255, (40, 40), np.uint8)
    Image.fromarray(noise).save(roc)
    roc.write_bytes(roc.read_bytes()[:900])
    os.utime(plain / "figures" / "confusion.png", (1, 1))
    sizes = {}
    for image in reported(plain).images:
        content = base64.b64decode(image["src"].partition(",")[2])
        sizes[image["alt"].split(" of run ")[0]] = Image.open(io.BytesIO(content)).size
    assert sizes["Contours"] == sizes["Training curves"] == (40, 20)
    assert sizes["ROC curves"] == (358, 194)
    assert sizes["Confusion matrix"][0] > 150


def test_whatever_the_config_holds_is_escaped(plain):
    from shutil import copytree

    attack = "<script>alert(1)</script>"
    quoted = '" onload="x'
    config = {"name": attack, "study": quoted, "seed": 0, "data": {"name": attack}, attack: attack}
    (plain / "config.yaml").write_text(json.dumps(config))
    split = {"counts": {attack: {"Golgi": 1}}}
    (plain / "split.json").write_text(json.dumps(split))
    (plain / "metrics.json").write_text(json.dumps({attack: 0.5, "test/dice": 0.9}))
    again = copytree(plain, plain.parent / "again")
    (again / "config.yaml").write_text(json.dumps(config | {"seed": 1}))
    page = reported(plain, again)
    assert "script" not in [tag for tag, _ in page.tags]
    assert not any("onload" in attributes for _, attributes in page.tags)
    assert attack in page.text


def test_class_names_and_ids_are_escaped(plain, predictions, replace, monkeypatch):
    monkeypatch.setattr(elements, "RUN_FIGURES", elements.RUN_FIGURES[1:4])
    names = ("<b>Hom</b>", "a$\\frac$", "_hidden", "Cen", "Num", "Gol")
    (plain / "predictions.npz").unlink()
    replace(predictions, classes=names, features=None).save(plain / "predictions.npz")
    page = reported(plain)
    assert "b" not in [tag for tag, _ in page.tags]
    assert "<b>Hom</b>" in page.text


def test_several_runs_are_compared_after_table_one(
    plain, tmp_path, predictions, replace, unrendered
):
    from shutil import copytree

    second = copytree(plain, tmp_path / "default" / "proposed" / "seed1")
    wrong = predictions.probabilities.copy()
    right = np.flatnonzero(predictions.predicted == predictions.label)[:6]
    wrong[right] = np.roll(wrong[right], 1, axis=1)
    (second / "predictions.npz").unlink()
    replace(predictions, probabilities=wrong).save(second / "predictions.npz")
    add_stand_ins(second)
    config = (second / "config.yaml").read_text().replace("seed: 0", "seed: 1")
    config = config.replace("proposed/seed0", "elsewhere")
    (second / "config.yaml").write_text(config.replace("beta: 10.0", "beta: 100.0"))
    metrics = json.loads((second / "metrics.json").read_text()) | {"test/dice": 0.95}
    (second / "metrics.json").write_text(json.dumps(metrics | {"test/accuracy": 50 / 62}))
    third = copytree(plain, tmp_path / "default" / "other" / "seed0")
    (third / "config.yaml").write_text(config.replace("name: proposed", "name: other"))
    page = reported(plain, third, second)
    rows = [" ".join(row.split()) for row in page.rows]
    order = [
        "proposed/seed0 90.32 81.32–95.32 89.71 91.37 90.34",
        "proposed/seed1 80.65 81.32–95.32 89.71 91.37 90.34 95.00",
        "proposed, mean ± sd of 2 runs seeds 0 , 1 85.48 ± 6.84",
        "Paper: Proposed (w/ GANs and GM) 98.16 98.24 98.06 98.15 96.40 93.07",
        "Against other: −9.68 points of accuracy, −8.33 of mean class accuracy, on 62 same cells"
        " (0 correct only here, 6 only there), these two trainings differ ( p = 0.013 ); one"
        " seed: no verdict on methods",
        "other/seed1 90.32",
    ]
    places = [next(p for p, row in enumerate(rows) if row.startswith(text)) for text in order]
    assert places == list(range(places[0], places[0] + 6))
    assert "they cannot be compared with runs on synthetic cells" in page.text
    assert "loss.beta 10.0 proposed/seed0 , other/seed1" in rows
    assert "loss.beta 100.0 proposed/seed1" in rows
    assert "loss.alpha" not in page.text.split("tested on")[0]
    assert "run_dir" not in page.text.split("tested on")[0]
    assert page.ids.count("run-3") == 1
    assert page.links.count("#run-3") >= 7
    assert len(page.images) == 27 + 8
    assert len(page.ids) == len(set(page.ids))
    assert all(link[1:] in page.ids for link in page.links)


def test_clean_splits_say_so_and_unknown_ones_too(plain):
    metrics = json.loads((plain / "metrics.json").read_text())
    clean = metrics | {"leakage/duplicate_test_cells": 0.0, "leakage/shared_specimens": 0.0}
    (plain / "metrics.json").write_text(json.dumps(clean))
    (plain / "split.json").write_text("{}")
    page = reported(plain)
    assert "Leakage between" not in page.text
    assert "No specimen and no byte-identical cell is in both" in page.text
    assert "Speckled 126 14" in " ".join(" ".join(page.rows).split())
    assert "Every generated mask" not in page.text
    clean["test/constant_masks"] = 1.0
    del clean["leakage/shared_specimens"]
    (plain / "metrics.json").write_text(json.dumps(clean))
    page = reported(plain)
    assert "Not every cell names its specimen: whether any is shared cannot be known." in page.text
    assert "Leakage between" not in page.text
    alike = page.text.index("Every generated mask of the test is empty, full or the same: the gen")
    assert alike < page.text.index("inscribed ellipse")


def test_parts_that_did_not_take_part_are_not_listed(plain):
    config = (plain / "config.yaml").read_text().replace("segment: true", "segment: false")
    (plain / "config.yaml").write_text(config)
    page = reported(plain)
    facts = page.text.split("What was run")[1].split("Full configuration")[0]
    assert "Classifier" in facts
    assert "Discriminator" not in facts


def test_a_report_without_runs(tmp_path):
    with pytest.raises(Hep2ganError, match="no runs"):
        write_page([], tmp_path / "report.html")


def test_a_damaged_run_leaves_no_report(plain, finished, tmp_path):
    (plain / "predictions.npz").write_bytes(b"")
    with pytest.raises(Hep2ganError, match=r"seed0/predictions.npz cannot be read"):
        write_page([plain], tmp_path / "new" / "report.html")
    assert not (tmp_path / "new").exists()


def test_the_same_runs_give_the_same_bytes(plain, tmp_path):
    first = write_page([plain], tmp_path / "a.html").read_bytes()
    assert write_page([plain], tmp_path / "b.html").read_bytes() == first
