"""The same command in another place gives the same bits, on the CPU."""

import csv
import re

import numpy as np
import pytest

from hep2gan.cli.app import config_folder
from tests.helpers.started import SMALL, assert_same_training, final, train

# The real networks in small, everything random switched on.
NETWORKS = (
    *SMALL, "trainer.max_epochs=2", "split.validation_fraction=0.2", "augmentation.rotation=180",
    "training.ema=0.9", "method=proposed",
)  # fmt: skip
FOREST = (*SMALL, "method=prasath", "model.baseline.trees=50")


def trained(place, *overrides, threads=1):
    """A run and its report, each from a process of its own."""
    place.mkdir()
    env = {"OMP_NUM_THREADS": str(threads)}
    train(place, *overrides, env=env)
    (run,) = place.glob("runs/default/*/seed*")
    assert (run / "DONE").exists()
    arguments = (str(run.relative_to(place)), "output=report.html")
    train(place, *arguments, command=("-m", "hep2gan.cli.report"), env=env)
    return run


def arrays(run):
    """Name, type, shape and bytes of each array of the predictions."""
    with np.load(run / "predictions.npz") as found:
        return {name: (v.dtype, v.shape, v.tobytes()) for name, v in found.items()}


def curves(run):
    """metrics.csv without what the clock says."""
    if not (run / "metrics.csv").exists():
        return []
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{k: v for k, v in row.items() if not k.startswith("speed/")} for row in rows]


def tables(run):
    """The report's tables, as they are printed."""
    text = (run.parents[3] / "report.html").read_text()
    found = re.findall(r"<table.*?</table>", text, re.S)
    assert found
    return found


def assert_bits(one, other):
    assert arrays(one) == arrays(other)
    for name in ("metrics.json", "split.csv", "split.json"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    assert curves(one) == curves(other)
    assert tables(one) == tables(other)
    if (one / "checkpoints").exists():
        assert_same_training(final(one), final(other))


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("one") / "a", *NETWORKS)


@pytest.mark.integration
def test_adversarial_networks_and_the_mixture(first, tmp_path):
    assert_bits(first, trained(tmp_path / "b", *NETWORKS))


@pytest.mark.integration
@pytest.mark.slow
def test_the_comparison_sees_another_seed(first, tmp_path):
    other = trained(tmp_path / "b", *NETWORKS, "seed=1")
    assert arrays(first) != arrays(other)
    assert curves(first) != curves(other)
    assert tables(first) != tables(other)


@pytest.mark.integration
@pytest.mark.slow
def test_loader_processes_change_nothing(first, tmp_path):
    assert_bits(first, trained(tmp_path / "b", *NETWORKS, "trainer.num_workers=2"))


@pytest.mark.integration
@pytest.mark.slow
def test_several_threads_repeat_themselves(tmp_path):
    runs = [trained(tmp_path / name, *NETWORKS, threads=2) for name in "ab"]
    assert_bits(*runs)


@pytest.mark.integration
@pytest.mark.slow
def test_a_forest_whatever_its_threads(tmp_path):
    one, again, threads = (
        trained(tmp_path / name, *FOREST, threads=n) for name, n in (("a", 1), ("b", 1), ("c", 2))
    )
    assert_bits(one, again)
    assert_bits(one, threads)


def test_what_a_gpu_leaves_open_is_said_where_it_is_switched_on():
    said = {
        "true": "warn where a GPU operation has no deterministic form",
        "false": "atomic adds make last bits vary from run to run",
    }
    found = {
        path.stem: value
        for path in config_folder().glob("trainer/*.yaml")
        for value, words in re.findall(r"^deterministic: (\w+) +# (.*)", path.read_text(), re.M)
        if words == said[value]
    }
    assert found == {"default": "true", "gpu": "false"}  # All others inherit the default.
