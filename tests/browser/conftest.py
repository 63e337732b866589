"""Reports of made-up runs, opened in Debian's Chromium without a network."""

import dataclasses
import json
import shutil
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import yaml

from hep2gan.reports.figures.catalogue import write_figures
from tests.helpers.report_fixtures import (
    add_stand_ins,
    make_predictions,
    some_rows,
    write_page,
    write_run,
)

SWITCHES = (
    "--no-sandbox",  # which Chromium needs as root, in containers
    "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run",
)  # fmt: skip
ATTACK = "<script>document.title = 'attacked'</script>"
LONG = "averylongname" * 12
METHODS = [
    "proposed",
    "without_gm",
    "resnet50_t",
    "resnet50",
    "segmentation",
    "ground_truth",
    "two_stage",
]


@pytest.fixture(scope="session")
def chromium():
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("not installed: chromium; `make test-browser` installs it")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(SWITCHES))
        yield browser
        browser.close()


def stand_ins(run):
    return add_stand_ins(run, (900, 300))


def segmentation_only(predictions):
    return dataclasses.replace(predictions, probabilities=None, features=None)


def hostile_run(folder, predictions):
    """Ids, class names and a configuration that are long, and that would run if they could."""
    classes = (ATTACK, "W" * 90, "Nucleolar in a name of many words " * 4, "Cen", "Num", "Gol")
    ids = np.array([f"{ATTACK}{number}{LONG}" for number in range(len(predictions.label))])
    named = dataclasses.replace(predictions, classes=classes, id=ids)
    run = write_run(folder / "seed0", named)
    write_figures(named, run / "figures", run / "metrics.csv")
    name = ATTACK + LONG
    config = {"name": name, "study": name, "seed": 0, "data": {"name": "phantom"}, name: name}
    (run / "config.yaml").write_text(json.dumps(config), encoding="utf-8")
    return run


def study(folder, predictions):
    """Seven methods of three seeds."""
    kinds = {"segmentation": segmentation_only(predictions)}
    kinds |= {m: dataclasses.replace(predictions, mask=None) for m in METHODS[2:4]}
    return [
        stand_ins(write_run(folder / method / f"seed{seed}", kinds.get(method, predictions),
                            method=method, seed=seed, leaks=seed != 1))
        for method in METHODS for seed in range(3)
    ]  # fmt: skip


def splits(folder, predictions):
    """Two methods under two kinds of split, in two folds each: every table that a page may have."""
    known = dataclasses.replace(predictions, specimen=3 * predictions.label + 1)
    found = []
    for method, kind, fold in product(("proposed", "resnet50_t"), ("random", "specimen"), (0, 1)):
        name = f"{method},split={kind},split.fold={fold}"
        tested = some_rows(known, np.arange(fold, 62, 2))
        run = write_run(folder / name / "seed0", tested, f"'{name}'")
        config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
        config["split"] |= {"kind": kind, "folds": 2, "fold": fold}
        (run / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        found.append(stand_ins(run))
    return found


@pytest.fixture(scope="session")
def reports(tmp_path_factory) -> dict[str, Path]:
    """Name to report."""
    place, predictions = tmp_path_factory.mktemp("browser"), make_predictions()
    one = write_run(place / "default" / "proposed" / "seed0", predictions)
    write_figures(predictions, one / "figures", one / "metrics.csv")
    alone = write_run(place / "seg" / "seed0", segmentation_only(predictions), "segmentation")
    hostile = hostile_run(place / "hostile", predictions)
    many = study(place / "study", predictions)
    groups = {
        "one": [one],
        "several": [one, *many[3:5], alone],
        "segmentation": [stand_ins(alone)],
        "hostile": [hostile],
        "hostile among others": [hostile, one],
        "study": many,
        "splits": splits(place / "splits", predictions),
    }
    return {
        name: write_page(runs, place / f"{number}.html", question="Do masks help?" * (number % 2))
        for number, (name, runs) in enumerate(groups.items())
    }


@pytest.fixture
def opened(chromium, reports):
    """Opens a report by name and width; fails at whatever it says or asks for."""

    @contextmanager
    def open_report(name, width, **options):
        context = chromium.new_context(viewport={"width": width, "height": 800}, **options)
        context.set_offline(True)
        page = context.new_page()
        told, asked = [], []
        page.on("console", lambda message: told.append(message.text))
        page.on("pageerror", lambda error: told.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        address = reports[name].as_uri()
        page.goto(address, wait_until="load")
        try:
            yield page
            assert told == []
            assert [url for url in asked if not url.startswith(("data:", address))] == []
            assert asked[0] == address
        finally:
            context.close()

    return open_report
