"""Early stopping: when it ends a training, and that a resumed run ends where it would have."""

import lightning as L
import pytest
from torch.utils.data import DataLoader

from hep2gan.models.guidance import TrainingStages
from hep2gan.runs.checkpoints import latest_readable, list_checkpoints, load_best_or_latest
from hep2gan.training.callbacks.checkpoint import AtomicCheckpointIO, EpochCheckpoint
from hep2gan.training.callbacks.early_stopping import EarlyStopping
from tests.helpers import tiny


class Report(L.Callback):
    def __init__(self, values, name):
        self.values, self.name, self.epochs = values, name, []

    def on_train_epoch_end(self, trainer, task):
        self.epochs.append(trainer.current_epoch)
        task.log(self.name, self.values[trainer.current_epoch])


def fit(folder, values, epochs=10, name="val/f1", parts=None, **options):
    report = Report(values, name)
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        callbacks=[report, EarlyStopping(**options), EpochCheckpoint(folder, name)],
        plugins=[AtomicCheckpointIO()],
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    task = tiny.task(**(parts or {}))
    batches = DataLoader([tiny.batch()], batch_size=None)
    trainer.fit(task, batches, ckpt_path=latest_readable(folder), weights_only=True)
    return report.epochs


RISING_THEN_NOT = [0.1, 0.5, 0.4, 0.5, 0.3, 0.9, 0.9, 0.9, 0.9, 0.9]


@pytest.mark.parametrize(
    ("options", "last"),
    [
        ({"patience": 2}, 3),
        ({"patience": 3}, 4),
        ({"patience": 4}, 9),
        ({"patience": 1}, 2),
        ({"patience": 2, "min_delta": 0.45}, 2),
        ({"patience": 3, "mode": "min"}, 3),
    ],
)
def test_it_ends_after_so_many_epochs_that_are_no_better(tmp_path, options, last):
    assert fit(tmp_path, RISING_THEN_NOT, **options) == list(range(last + 1))
    assert list_checkpoints(tmp_path)[0].name == f"epoch{last + 1:04d}.ckpt"


def test_the_best_epoch_is_kept_and_not_the_last(tmp_path):
    fit(tmp_path, RISING_THEN_NOT, patience=2)
    chosen, content = load_best_or_latest(tmp_path)
    assert (chosen.name, content["epoch"]) == ("best.ckpt", 1)


def test_the_metric_is_that_of_the_method_unless_one_is_named(tmp_path):
    parts = {"classify": False}
    assert fit(tmp_path / "a", RISING_THEN_NOT, name="val/dice", parts=parts, patience=2)[-1] == 3
    worse = fit(tmp_path / "b", RISING_THEN_NOT, name="val/mine", monitor="val/mine", patience=2)
    assert worse[-1] == 3


def test_epochs_of_the_gan_alone_do_not_count(tmp_path):
    parts = {"stages": TrainingStages(4)}
    assert fit(tmp_path, [0.9] * 10, parts=parts, patience=2)[-1] == 6


def test_a_run_killed_after_the_end_was_decided_does_not_train_again(tmp_path):
    assert fit(tmp_path, RISING_THEN_NOT, patience=2)[-1] == 3
    assert fit(tmp_path, RISING_THEN_NOT, patience=2) == []


def test_an_interrupted_run_ends_where_an_unbroken_one_does(tmp_path):
    fit(tmp_path, RISING_THEN_NOT, epochs=3, patience=2)
    assert fit(tmp_path, RISING_THEN_NOT, patience=2) == [3]


def test_it_says_why(tmp_path, caplog):
    caplog.set_level("INFO", "hep2gan")
    fit(tmp_path, RISING_THEN_NOT, patience=2)
    said = "Stopped early after epoch 4: val/f1 has not been better than 0.5000 in 2 validations."
    assert said in caplog.messages
