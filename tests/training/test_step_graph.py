"""A training whose step is recorded and replayed is the training step by step.

The recorder here needs no GPU. It is as strict as a CUDA graph in what can go wrong unseen: its
replay reads the tensors of the recording, not those of the new batch, computes with the plain
numbers that the recording found, and overwrites its result.
"""

import logging
import warnings
from contextlib import contextmanager

import lightning as L
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from hep2gan.errors import Hep2ganError
from hep2gan.io import read_json
from hep2gan.losses.classification import ClassificationLoss, GaussianMixtureLoss
from hep2gan.models.cross_fitting import CrossFittedNetwork
from hep2gan.models.guidance import MaskGuidance, TrainingStages
from hep2gan.runs.checkpoints import latest_readable
from hep2gan.runs.folder import RunFolder
from hep2gan.training.build import build_optimizer
from hep2gan.training.callbacks.checkpoint import AtomicCheckpointIO, EpochCheckpoint
from hep2gan.training.callbacks.cuda_graph import ReplayStep, _updates
from hep2gan.training.callbacks.metrics import LogLosses
from hep2gan.training.callbacks.networks import ExponentialMovingAverage
from hep2gan.training.module import SegmentationGuidedClassification
from hep2gan.training.nonfinite import SkipNonfinite, StopAtNonfinite
from hep2gan.training.profiler import StepProfiler
from hep2gan.training.step_graph import REPLAYED, StepGraph, can_be_recorded, places_of_waits
from tests.helpers import tiny
from tests.training.test_module import Rows

BATCHES = 5


class Recorder:
    """Replays with the margin and the learning rates of the recording, unseen by Lightning."""

    def __init__(self, task=None, waits=()):
        self.task, self.waits = task, list(waits)
        self.warmed, self.recorded, self.replayed = 0, 0, 0

    def run(self, work):
        self.warmed += 1
        return work()

    def find_waits(self, work):
        return self.run(work), self.waits

    def record(self, work):
        self.recorded += 1
        frozen, result = self.plain(), None

        def replay():
            nonlocal result
            self.replayed += 1
            with self.as_recorded(frozen):
                values = work()
            result = values if result is None else result.copy_(values)
            return result

        return replay

    def plain(self):
        if self.task is None:
            return [], None
        groups = [g for o in self.task.trainer.optimizers for g in o.param_groups]
        mixture = self.task.mixture
        return [g["lr"] for g in groups], mixture.margin if mixture else None

    @contextmanager
    def as_recorded(self, frozen):
        now, counted = self.plain(), self.counted()
        self.use(frozen)
        yield
        self.use(now)
        if self.task is not None:
            _updates(self.task.trainer).load_state_dict(counted)

    def counted(self):
        return None if self.task is None else _updates(self.task.trainer).state_dict()

    def use(self, values):
        if self.task is None:
            return
        groups = [g for o in self.task.trainer.optimizers for g in o.param_groups]
        for group, rate in zip(groups, values[0], strict=True):
            group["lr"] = rate
        if self.task.mixture:
            self.task.mixture.margin = values[1]


def made(kind="joint"):
    if kind == "two stages":
        return tiny.task(stages=TrainingStages(2))
    if kind == "clipped":
        return tiny.task(clip_norms={"generator": 0.1, "classifier": 0.1})
    if kind == "gradient into G":
        return tiny.task(guidance=MaskGuidance(gradient=0.5))
    task = tiny.task()
    if kind == "ramp":
        mixture = GaussianMixtureLoss(
            tiny.CLASSES, tiny.Classifier.feature_dim, margin=[0.0, 0.6], margin_epochs=4
        )
        task.classification_loss = ClassificationLoss(gaussian_mixture=mixture)
        task.optimized_modules["classifier"].loss = task.classification_loss
    if kind == "halves":
        torch.manual_seed(4)
        for name, network in (("generator", tiny.Generator), ("discriminator", tiny.Discriminator)):
            setattr(task, name, CrossFittedNetwork(network(), network()))
            task.optimized_modules[name] = getattr(task, name)
        task.guidance = MaskGuidance(source="cross_fitted")
    return task


def fit(kind="joint", recorder=None, epochs=4, folder=None, callbacks=(), task=None, **given):
    """Train; returns the task, the logged rows, Lightning's count of updates and the recorder."""
    task, rows = task or made(kind), Rows()
    replay = []
    if recorder is not None:
        recorder.task = task
        replay = [ReplayStep(recorder)]
    saved = [EpochCheckpoint(folder)] if folder else []
    trainer = L.Trainer(
        accelerator="cpu", max_epochs=epochs, logger=rows, num_sanity_val_steps=0,
        callbacks=[*callbacks, LogLosses(2), *replay, ExponentialMovingAverage(0.7), *saved],
        plugins=[AtomicCheckpointIO()], enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=bool(saved), **given,
    )  # fmt: skip
    batches = DataLoader([tiny.batch(seed=s) for s in range(BATCHES)], batch_size=None)
    validation = DataLoader([tiny.batch(seed=9)], batch_size=None)
    resumed = latest_readable(folder) if folder else None
    trainer.fit(task, batches, validation, ckpt_path=resumed, weights_only=True)
    return task, rows.rows, trainer.global_step, replay[0].graph if replay else None


def assert_same(one, other):
    for name, value in one.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name


KINDS = ["joint", "two stages", "halves", "ramp", "clipped", "gradient into G"]


@pytest.mark.parametrize("kind", KINDS)
def test_replayed_steps_train_as_usual_ones_do(kind):
    task, rows, updates, _ = fit(kind)
    recorder = Recorder()
    replayed, rows_of_replay, updates_of_replay, _ = fit(kind, recorder)
    assert recorder.replayed > recorder.warmed
    assert_same(task, replayed)
    assert rows_of_replay == rows
    assert updates_of_replay == updates > 0
    assert replayed.run_step == replayed.update_networks


@pytest.mark.parametrize(
    ("kind", "recordings"),
    # Of four epochs, in which the learning rate falls once, after the second.
    [("joint", 2), ("two stages", 2), ("halves", 4), ("ramp", 4)],
)
def test_a_step_is_recorded_anew_where_a_plain_number_changes(kind, recordings):
    recorder = Recorder()
    *_, graph = fit(kind, recorder)
    assert recorder.recorded == recordings == graph.recordings


def test_a_start_within_a_training_records_anew_and_ends_with_the_same_weights(tmp_path):
    whole, *_ = fit(recorder=Recorder())
    fit(recorder=Recorder(), epochs=3, folder=tmp_path)
    recorder = Recorder()
    resumed, *_ = fit(recorder=recorder, folder=tmp_path)
    assert recorder.recorded == 1
    assert_same(whole, resumed)


def test_terms_of_a_step_outlive_the_next_one():
    terms = iter([1.0, 2.0, 3.0, 4.0])
    graph = StepGraph(
        lambda batch, number: {"a": torch.tensor(next(terms))},
        lambda number: 0, lambda: 0, Recorder(), warm_up=2, on_waits=pytest.fail,
    )  # fmt: skip
    found = [graph(tiny.batch(), number) for number in range(4)]
    assert [float(each["a"]) for each in found] == [1.0, 2.0, 3.0, 4.0]


def test_batches_of_another_shape_have_a_recording_of_their_own():
    recorder = Recorder()
    graph = StepGraph(
        lambda batch, number: {"cells": torch.tensor(float(len(batch.label)))},
        lambda number: 0, lambda: 0, recorder, warm_up=2, on_waits=pytest.fail,
    )  # fmt: skip
    sizes = [6, 6, 6, 4, 4, 4, 6, 4]
    assert [float(graph(tiny.batch(cells), 0)["cells"]) for cells in sizes] == sizes
    assert recorder.recorded == 2


def test_a_step_that_waits_for_the_device_is_trained_as_usual(caplog):
    recorder = Recorder(waits=["loss.py:7"])
    with caplog.at_level(logging.WARNING):
        task, *_ = fit(recorder=recorder)
    assert recorder.recorded == 0
    assert caplog.text.count("waits for the GPU") == 1
    assert "loss.py:7" in caplog.text
    assert_same(task, fit()[0])


def test_of_torch_s_warnings_those_of_waits_count():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for text, line in [
            (
                "Synchronization debug mode is a prototype feature and does not yet detect all"
                " synchronizing operations",
                1,
            ),
            ("called a synchronizing CUDA operation (Triggered internally at x.cpp:3.)", 7),
            ("called a synchronizing CUDA operation (Triggered internally at x.cpp:3.)", 7),
        ]:
            warnings.warn_explicit(text, UserWarning, "loss.py", line)
    assert places_of_waits(caught) == ["loss.py:7"]


def test_a_recording_that_fails_says_how_to_go_on(tmp_path):
    class Failing(Recorder):
        def record(self, work):
            raise RuntimeError("operation not permitted when stream is capturing")

    with pytest.raises(Hep2ganError, match="not permitted") as raised:
        fit(recorder=Failing(), folder=tmp_path)
    assert "trainer.cuda_graph=false" in raised.value.fix


class OwnHook(L.Callback):
    def on_before_optimizer_step(self, *_):
        pass


class OwnStep(SegmentationGuidedClassification):
    def training_step(self, batch, batch_idx):
        return super().training_step(batch, batch_idx)


def own_step():
    task = tiny.task()
    task.__class__ = OwnStep
    return task


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"callbacks": [OwnHook()]}, "OwnHook.on_before_optimizer_step is called within the step"),
        ({"callbacks": [SkipNonfinite()]}, "nonfinite=skip looks at losses"),
        ({"task": own_step()}, "OwnStep has a training_step of its own"),
    ],
)
def test_what_a_replay_would_leave_out_is_trained_as_usual_with_a_warning(given, said, caplog):
    recorder = Recorder()
    with caplog.at_level(logging.WARNING):
        *_, graph = fit(recorder=recorder, epochs=1, **given)
    assert graph is None
    assert recorder.warmed == recorder.recorded == 0
    assert said in caplog.text
    assert "It is trained as usual." in caplog.text


def test_on_the_cpu_nothing_is_recorded(caplog):
    replay = ReplayStep()
    with caplog.at_level(logging.WARNING):
        task, *_ = fit(epochs=1, callbacks=[replay])
    assert replay.graph is None
    assert "it runs on the CPU" in caplog.text
    assert_same(task, fit(epochs=1)[0])


def test_a_loss_that_is_not_finite_stops_a_replayed_training_too(tmp_path):
    class Spoil(L.Callback):
        def on_train_batch_start(self, trainer, task, batch, batch_idx):
            if trainer.current_epoch == 1 and batch_idx == 3:
                batch.image.fill_(float("nan"))

    stopping = StopAtNonfinite(tmp_path, np.arange(6).astype(str), 2)
    with pytest.raises(Hep2ganError, match="not finite in batch 3 of epoch 1"):
        fit(recorder=Recorder(), callbacks=[Spoil(), stopping])


def test_a_profile_shows_a_replay_as_one_part(tmp_path):
    task = made()
    profiler = StepProfiler(task, RunFolder(tmp_path), steps=3, cells=6)
    fit(recorder=Recorder(), task=task, profiler=profiler)
    (stage,) = read_json(tmp_path / "profile.json")["stages"]
    parts = {f"{part['group']}/{part['part']}" for part in stage["parts"]}
    assert REPLAYED in parts
    assert not any(part.startswith(("generator/", "classifier/")) for part in parts)


@pytest.mark.parametrize(
    ("kind", "recorded"),
    [(torch.optim.SGD, True), (torch.optim.Adam, False), (torch.optim.Adagrad, False)],
)
def test_optimizers_whose_state_is_on_the_host_are_not_recorded(kind, recorded):
    assert can_be_recorded(kind([nn.Parameter(torch.zeros(1))], lr=0.1)) == recorded


def test_an_optimizer_keeps_its_form_and_its_count_of_steps_where_it_goes_on():
    def stepped(**form):
        weight = nn.Parameter(torch.ones(2))
        optimizer = build_optimizer(
            [{"params": [weight]}], kind=torch.optim.Adam, fused="auto", lr=0.1, **form
        )
        return weight, optimizer

    weight, optimizer = stepped()
    weight.grad = torch.ones(2)
    optimizer.step()
    _, other = stepped(capturable=True)
    other.load_state_dict(optimizer.state_dict())
    assert other.param_groups[0]["capturable"]
    assert can_be_recorded(other)
    assert [float(state["step"]) for state in other.state.values()] == [1.0]
    # Without a GPU its form is the usual one.
    _, on_cpu = stepped(recordable=True)
    assert not on_cpu.param_groups[0]["capturable"]
