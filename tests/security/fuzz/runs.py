"""The text files of a run folder, as a report and as a command read them; training curves."""

import datetime
import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from hep2gan.reports.page.run_section import (
    configuration_differences,
    counts_table,
    headlines,
    highlights,
    leaks_of,
    notes_of,
)
from hep2gan.runs.finished import FinishedRun, read_finished_run
from hep2gan.runs.folder import RunFolder
from hep2gan.runs.metrics_csv import read_series
from tests.helpers.report_fixtures import made_up_metrics, make_predictions, write_curves, write_run
from tests.security.fuzz.judge import Door
from tests.security.fuzz.mutations import mutated, mutated_json

PREDICTIONS = make_predictions((2, 2, 2), size=16)


def _files() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as place:
        run = write_run(Path(place) / "run", PREDICTIONS)
        return {
            name: (run / name).read_bytes()
            for name in ("config.yaml", "metrics.json", "split.json", "metrics.csv")
        }


FILES = _files()
CURVES = FILES.pop("metrics.csv")


@st.composite
def _inputs(draw: Any) -> tuple[str, bytes]:
    name = draw(st.sampled_from(sorted(FILES)))
    if name.endswith(".json") and draw(st.booleans()):
        tree = json.dumps(draw(mutated_json(json.loads(FILES[name]))))
        return name, tree.encode("utf-8", "surrogatepass")
    return name, draw(mutated([FILES[name]]))


def _read(
    given: tuple[str, bytes], folder: Path
) -> tuple[FinishedRun, dict[str, Any], dict[str, float]]:
    for name, data in FILES.items():
        (folder / name).write_bytes(given[1] if name == given[0] else data)
    (folder / "DONE").touch()
    run = read_finished_run(folder)
    # What a page makes of them, without the pictures.
    leaks_of(run), notes_of(run), headlines(run.metrics), highlights(run.config)
    counts_table(run, PREDICTIONS)
    configuration_differences([run.config, run.config]), run.name, run.is_synthetic
    own = RunFolder.open(folder)
    return run, own.config(), own.metrics()


def _is_whole(found: tuple[FinishedRun, dict[str, Any], dict[str, float]], given: object) -> None:
    run, config, metrics = found
    assert all(type(value) is float for value in run.metrics.values())
    assert all(type(value) is float for value in metrics.values())
    assert _plain(config)
    assert _plain(run.config)
    if given[0] != "metrics.json":
        assert run.metrics == made_up_metrics(PREDICTIONS) | LEAKS
    if given[0] != "config.yaml":
        assert run.name == "default/proposed/seed0"


LEAKS = {"leakage/duplicate_test_cells": 35.0, "leakage/shared_specimens": 11.0}


def _plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_plain(member) for member in value.values())
    if isinstance(value, list):
        return all(map(_plain, value))
    return value is None or isinstance(value, str | int | float | bytes | datetime.date)


def _series(data: bytes, folder: Path) -> dict[str, Any]:
    (folder / "metrics.csv").write_bytes(data)
    return read_series(folder / "metrics.csv")


def _are_series(found: dict[str, Any], _: bytes) -> None:
    for one in found.values():
        assert one.epoch.shape == one.value.shape
        assert (one.epoch[1:] > one.epoch[:-1]).all()


with tempfile.TemporaryDirectory() as _place:
    SHORT = write_curves(Path(_place) / "m.csv", epochs=2).read_bytes()
DOORS = (
    Door("run", _inputs(), _read, _is_whole),
    Door("curves", mutated([SHORT]), _series, _are_series),
)
