"""fast_dev_run: the whole way with a few cells, and nothing is left of it."""

from pathlib import Path

import numpy as np
import pytest

from hep2gan.cli import train
from hep2gan.data.splits import Split
from tests.helpers.commands import call, inside_copy
from tests.helpers.started import NETS, SMALL

RUN = Path("runs/default/proposed/seed0")
LONG = (*SMALL, *NETS, "split.validation_fraction=0.2", "trainer.max_epochs=90")


@pytest.fixture(scope="module")
def here(tmp_path_factory, packed_store):
    with inside_copy(tmp_path_factory, packed_store) as folder:
        yield folder


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    "more",
    [
        [],
        pytest.param(["training.two_stage=true"], marks=pytest.mark.integration),
        pytest.param(["callbacks.collapse=null"], marks=pytest.mark.integration),
    ],
)
def test_every_part_runs_and_nothing_is_kept(here, more, capsys):
    before = files(here)
    assert call(train, *LONG, *more, "fast_dev_run=true") == 0
    said = capsys.readouterr()
    assert "1 batch of each part went the whole way; nothing is kept" in said.out + said.err
    assert "on the test cells" in said.out + said.err
    assert files(here) == before


@pytest.mark.integration
def test_a_run_of_that_name_is_left_alone(here):
    RUN.mkdir(parents=True)
    (RUN / "config.yaml").write_text("name: another\n")
    assert call(train, *LONG, "fast_dev_run=2") == 0
    assert [path.name for path in files(RUN)] == ["config.yaml"]


@pytest.mark.integration
def test_what_fails_stays_to_be_read_until_the_next(here, capsys):
    folder = RUN.with_name("seed0.fast_dev_run")
    assert call(train, *LONG, "optimizer.classifier.lr=1e38", "fast_dev_run=3") == 2
    assert "the loss is not finite" in capsys.readouterr().err
    assert (folder / "nonfinite.json").is_file()
    assert call(train, *LONG, "fast_dev_run=true") == 0
    assert not folder.exists()


def test_wrong_settings_are_told_as_ever(here, capsys):
    assert call(train, *LONG, "trainer.batch_size=0", "fast_dev_run=true") == 2
    said = capsys.readouterr()
    assert "trainer.batch_size is 0" in said.out + said.err


def test_a_forest_has_no_batches(here, capsys):
    assert call(train, *SMALL, "method=prasath", "fast_dev_run=true") == 2
    assert "leave fast_dev_run out, or set doctor=true" in capsys.readouterr().err


def test_a_short_split_keeps_cells_from_all_over_each_part():
    part = np.repeat([0, 1, 2, 0, 1, 2], 10)
    short = Split.from_parts(part, {}).shorten(3)
    assert (short.validation[[0, -1]].tolist(), short.test[[0, -1]].tolist()) == (
        [10, 49],
        [20, 59],
    )
    assert (len(short.validation), len(short.test), len(short.train)) == (3, 3, 54)
    assert sorted([*short.train, *short.validation, *short.test]) == list(range(60))
    assert np.array_equal(Split.from_parts(part, {}).shorten(50).part, part)
