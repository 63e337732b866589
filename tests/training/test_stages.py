"""A run in two stages: its checkpoints, its curves, the epoch that is chosen, and a resume."""

from pathlib import Path

import pytest
import torch

from hep2gan.cli import evaluate, predict, train
from hep2gan.runs.finished import read_finished_run
from hep2gan.runs.metrics_csv import read_metrics_csv, read_series
from tests.helpers.commands import call, inside_copy
from tests.helpers.started import NETS, SMALL, assert_same_training, final

RUN = Path("runs/default/two_stage/seed0")
OPTIONS = (
    *(*SMALL, *NETS, "method=two_stage", "trainer.max_epochs=2", "split.validation_fraction=0.2"),
    *("optimizer.schedule.classifier.step_size=1", "optimizer.schedule.generator.step_size=1"),
)


@pytest.mark.integration
def test_a_run_in_two_stages_is_whole_and_resumes(tmp_path_factory, packed_store, capsys):
    with inside_copy(tmp_path_factory, packed_store):
        assert call(train, *OPTIONS) == 0
        assert "epoch 4/4" in capsys.readouterr().out
        assert [p.name for p in sorted(RUN.glob("checkpoints/epoch*"))] == [
            "epoch0003.ckpt",
            "epoch0004.ckpt",
        ]
        rows = read_metrics_csv(RUN / "metrics.csv").rows
        scored = {int(row["epoch"]) for row in rows if row["val/f1"]}
        assert ({int(row["epoch"]) for row in rows if row["val/dice"]}, scored) == (
            {0, 1, 2, 3},
            {2, 3},
        )
        run = read_finished_run(RUN)
        series = read_series(RUN / "metrics.csv", run.epochs)
        assert series["lr/generator"].value[:2].tolist() == pytest.approx([1e-3, 1e-4])
        assert series["lr/classifier"].value[2:].tolist() == pytest.approx([1e-3, 1e-4])
        best = torch.load(RUN / "checkpoints/best.ckpt", weights_only=True)
        assert best["epoch"] in (2, 3)
        # Killed within the second stage, it ends with the same bits.
        once = final(RUN)
        for name in ("checkpoints/epoch0004.ckpt", "DONE"):
            (RUN / name).unlink()
        assert call(train, *OPTIONS) == 0
        assert_same_training(final(RUN), once)
        assert call(train, *OPTIONS, "trainer.max_epochs=3") == 2
        assert call(train, *OPTIONS, "study=once", "fast_dev_run=true") == 0


@pytest.mark.integration
@pytest.mark.parametrize("method", ["other_mask", "ellipse_mask", "no_mask", "cross_fitted_mask"])
def test_controls_of_guidance_go_the_whole_way(tmp_path_factory, packed_store, method):
    run, short = Path(f"runs/default/{method}/seed0"), ["trainer.max_epochs=1"]
    short.append("trainer.eval_batch_size=4")
    with inside_copy(tmp_path_factory, packed_store):
        assert call(train, *SMALL, *NETS, f"method={method}", *short) == 0
        metrics = read_finished_run(run).metrics
        assert ("test/dice" in metrics) == (method in ("other_mask", "cross_fitted_mask"))
        assert 0 <= metrics["test/accuracy"] <= 1
        before = (run / "predictions.npz").read_bytes()
        options = ("trusted=[tests.integration.nets]", "figures=false")
        assert call(evaluate, str(run), *options) == 0
        assert (run / "predictions.npz").read_bytes() == before
        status = call(predict, str(run), "stores", "trusted=[tests.integration.nets]")
        assert (status == 0) == (method != "other_mask")
