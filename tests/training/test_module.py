"""What the training step does: which gradients reach which network, and to which values."""

import copy
from functools import partial

import lightning as L
import pytest
import torch
from lightning.pytorch.loggers.logger import DummyLogger
from torch.nn import functional as F
from torch.utils.data import DataLoader

from hep2gan.errors import Hep2ganError
from hep2gan.models.guidance import MaskGuidance, TrainingStages
from hep2gan.training.callbacks.metrics import LogLosses
from hep2gan.training.module import SegmentationGuidedClassification
from hep2gan.training.nonfinite import SkipNonfinite
from tests.helpers import tiny
from tests.helpers.configs import parsed

ALL = {"generator", "discriminator", "classifier", "mixture"}


def gradients(task):
    """Names of the parts of which any parameter has a gradient, then forget the gradients."""
    parts = {
        "generator": task.generator,
        "discriminator": task.discriminator,
        "classifier": task.classifier,
        "mixture": task.classification_loss,
    }
    found = {}
    for name, part in parts.items():
        grads = [p.grad for p in part.parameters()] if part is not None else []
        found[name] = sum(g is not None for g in grads), len(grads)
        for parameter in part.parameters() if part is not None else []:
            parameter.grad = None
    return found


class Rows(DummyLogger):
    def __init__(self):
        super().__init__()
        self.rows = []

    def log_metrics(self, metrics, step=None):
        self.rows.append((step, dict(metrics)))


def routed(task, batch):
    """For each update of one training step: which parts its loss reaches."""
    table = {}

    def update(name, loss):
        loss.backward()
        table[name] = gradients(task)
        return {}

    task._update = update
    task.training_step(batch, 0)
    return table


ROUTES = {
    "discriminator": {"discriminator"},
    "generator": {"generator"},
    "classifier": {"classifier", "mixture"},
}


@pytest.mark.parametrize(
    "guidance", [MaskGuidance(), MaskGuidance(hard=True), MaskGuidance(gradient=0.3)]
)
def test_gradient_routing_table(guidance):
    table = routed(tiny.task(guidance=guidance), tiny.batch())
    assert list(table) == ["discriminator", "generator", "classifier"]
    for update, reached in ROUTES.items():
        for part in ALL:
            with_gradient, parameters = table[update][part]
            expected = parameters if part in reached else 0
            assert with_gradient == expected, f"{update} update, gradients at {part}"


@pytest.mark.parametrize("guidance", [MaskGuidance(), MaskGuidance(gradient=0.3)])
def test_gradient_routing_without_a_discriminator(guidance):
    table = routed(tiny.task(adversarial=False, guidance=guidance), tiny.batch())
    assert list(table) == ["generator", "classifier"]
    for update, found in table.items():
        for part in ALL - {"discriminator"}:
            with_gradient, parameters = found[part]
            expected = parameters if part in ROUTES[update] else 0
            assert with_gradient == expected, f"{update} update, gradients at {part}"


def test_without_a_discriminator_the_generator_learns_from_pixels_alone():
    task, batch, losses = tiny.task(adversarial=False, mixture=False), tiny.batch(), {}
    task._update = lambda name, loss: losses.update({name: loss.item()}) or {}
    generated = task.generator(batch.image).sigmoid()
    terms = task.training_step(batch, 0)
    assert losses["generator"] == pytest.approx(10 * (batch.mask - generated).abs().mean().item())
    assert "generator/adversarial" not in terms


def test_every_parameter_trains_again_after_the_step():
    task = tiny.task()
    routed(task, tiny.batch())
    assert all(p.requires_grad for p in task.parameters())


def test_classification_gradient_reaches_the_generator_only_where_asked():
    grads = []
    for weight in (0.0, 0.5):
        task = tiny.task(guidance=MaskGuidance(gradient=weight))

        def update(name, loss, task=task):
            if name == "generator":
                loss.backward()
                grads.append(task.generator[0].weight.grad.clone())
            return {}

        task._update = update
        task.training_step(tiny.batch(), 0)
    task = tiny.task(guidance=MaskGuidance(gradient=0.5))
    generated = task.generator(tiny.batch().image).sigmoid()
    cells = tiny.batch()
    task.optimized_modules["classifier"](cells.image, generated, cells.label)["total"].backward()
    alone = task.generator[0].weight.grad
    assert torch.allclose(grads[1] - grads[0], 0.5 * alone, atol=1e-6)
    assert alone.abs().sum() > 0


@pytest.mark.parametrize(
    ("parts", "updates"),
    [
        ({"classify": False}, ["discriminator", "generator"]),
        ({"segment": False, "guidance": MaskGuidance(source="none")}, ["classifier"]),
        ({"segment": False, "guidance": MaskGuidance(source="ground_truth")}, ["classifier"]),
    ],
)
def test_parts_that_are_missing_take_no_step(parts, updates):
    assert list(routed(tiny.task(**parts), tiny.batch())) == updates


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"adversarial": False},
        {"classify": False},
        {"segment": False, "guidance": MaskGuidance(source="none")},
    ],
)
def test_every_parameter_is_in_exactly_one_optimizer(parts):
    task = tiny.task(**parts)
    optimizers, _ = task.configure_optimizers()
    held = [id(p) for o in optimizers for group in o.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in task.parameters())


def test_mixture_parameters_belong_to_the_classifier_without_weight_decay():
    task = tiny.task()
    adam = task.configure_optimizers()[0][-1]
    assert [group["weight_decay"] for group in adam.param_groups] == [0.1, 0.0]
    assert adam.param_groups[1]["params"] == [task.classification_loss.gaussian_mixture.means]


def fit(task, batches, epochs=1, callbacks=(), logger=False, log_every=1, **options):
    """Train, and log as a run does."""
    skipping = next((c for c in callbacks if isinstance(c, SkipNonfinite)), None)
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=logger,
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[*callbacks, LogLosses(log_every, skipping)],
        **options,
    )
    trainer.fit(task, DataLoader(batches, batch_size=None))
    return trainer


def fit_and_validate(
    task, batches, validation, logger=False, callbacks=(), epochs=1, precision="32-true"
):
    """Epochs with their validation."""
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        num_sanity_val_steps=0,
        logger=logger,
        callbacks=[*callbacks, LogLosses(1)],
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        precision=precision,
    )
    loaders = (DataLoader(part, batch_size=None) for part in (batches, validation))
    trainer.fit(task, *loaders)


def reference(task, batches, epochs):
    """The same mathematics in plain PyTorch, written from the paper and not from the task."""
    g, d, c = task.generator, task.discriminator, task.classifier
    gm = task.classification_loss.gaussian_mixture
    opt_g = torch.optim.SGD(g.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    opt_d = torch.optim.SGD(d.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    groups = [{"params": list(c.parameters())}, {"params": [gm.means], "weight_decay": 0.0}]
    opt_c = torch.optim.Adam(groups, lr=0.01, betas=(0.5, 0.999), weight_decay=0.1)
    bce = F.binary_cross_entropy_with_logits
    for epoch in range(epochs):
        for group in opt_c.param_groups:
            group["lr"] = 0.01 * 0.1 ** (epoch // 2)
        for image, truth, label, _ in batches:
            fake = torch.sigmoid(g(image))
            real_logits, fake_logits = d(image, truth), d(image, fake.detach())
            loss_d = 0.5 * bce(real_logits, torch.ones_like(real_logits))
            loss_d = loss_d + 0.5 * bce(fake_logits, torch.zeros_like(fake_logits))
            opt_d.zero_grad()
            loss_d.backward()
            opt_d.step()
            judged = d(image, fake)
            loss_g = 0.5 * bce(judged, torch.ones_like(judged)) + 10 * (truth - fake).abs().mean()
            opt_g.zero_grad()
            loss_g.backward()
            opt_g.step()
            logits, features = c(image, fake.detach())
            distance = ((features[:, None] - gm.means[None]) ** 2).sum(2)
            own = distance[torch.arange(len(label)), label]
            loss_c = F.cross_entropy(logits, label) + F.cross_entropy(-0.5 * distance, label)
            loss_c = loss_c + 0.01 * 0.5 * own.mean()
            opt_c.zero_grad()
            loss_c.backward()
            opt_c.step()


def test_training_equals_a_plain_loop():
    batches = [tiny.batch(seed=s) for s in range(4)]
    task = tiny.task()
    plain = copy.deepcopy(task)
    fit(task, batches, epochs=3)
    reference(plain, batches, epochs=3)
    for (name, ours), theirs in zip(task.named_parameters(), plain.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6), name


def test_generator_runs_forward_once_per_step():
    task, calls = tiny.task(), []
    task.generator.register_forward_hook(lambda *_: calls.append(1))
    fit(task, [tiny.batch(seed=s) for s in range(3)])
    assert len(calls) == 3


@pytest.mark.parametrize("gradient", [0.0, 1.0])
def test_running_statistics_count_each_batch_once(gradient):
    """Also where the generator learns through the classifier, which sees the batch twice then."""
    task = tiny.task(guidance=MaskGuidance(gradient=gradient))
    task.classifier.features.insert(1, torch.nn.BatchNorm2d(5, momentum=0.5))
    task.discriminator.network = torch.nn.Sequential(
        task.discriminator.network, torch.nn.BatchNorm2d(1)
    )
    norm, batches = task.classifier.features[1], [tiny.batch(seed=s) for s in range(3)]
    means = []

    def note(layer, inputs, output):
        if layer.track_running_stats:
            means.append(inputs[0].detach().mean(dim=(0, 2, 3)))

    norm.register_forward_hook(note)
    fit(task, batches)
    assert int(norm.num_batches_tracked) == len(means) == 3
    expected = 0.5**3 * means[0] + 0.5**2 * means[1] + 0.5 * means[2]
    torch.testing.assert_close(norm.running_mean, expected)
    # D sees true and generated masks, and is only a judge in the step of G.
    assert int(task.discriminator.network[1].num_batches_tracked) == 6
    assert norm.track_running_stats


def test_two_stages_train_the_gan_and_then_the_classifier():
    weights = []

    class Keep(L.Callback):
        def on_train_epoch_end(self, trainer, task):
            weights.append(copy.deepcopy(task.state_dict()))

    task = tiny.task(stages=TrainingStages(1))
    start = copy.deepcopy(task.state_dict())
    fit(task, [tiny.batch(seed=s) for s in range(2)], epochs=2, callbacks=[Keep()])

    def moved(old, new, part):
        return any(not torch.equal(old[k], new[k]) for k in old if k.startswith(part))

    first, second = weights
    assert moved(start, first, "generator")
    assert not moved(start, first, "classifier")
    # Nothing of G may move in the second stage, batch-norm statistics included.
    assert not moved(first, second, "generator")
    assert not moved(first, second, "discriminator")
    assert moved(first, second, "classifier")


def test_forward_gives_probabilities_with_generated_and_true_masks():
    task, batch = tiny.task().eval(), tiny.batch()
    outputs = task(batch.image, batch.mask)
    mask = task.generator(batch.image).sigmoid()
    assert torch.equal(outputs.mask, mask)
    generated = task.classifier(batch.image, mask)[0].softmax(1)
    assert torch.allclose(outputs.probabilities, generated)
    true = task.classifier(batch.image, batch.mask)[0].softmax(1)
    assert torch.allclose(outputs.probabilities_true_mask, true)
    assert outputs.features.shape == (6, 5)


def parts_of(task, **changes):
    """The arguments that build `task` again, with some of them changed."""
    names = (
        "generator", "discriminator", "classifier", "adversarial_loss", "generator_loss",
        "classification_loss", "metrics", "guidance",
    )  # fmt: skip
    given = {name: getattr(task, name) for name in names}
    return given | {"optimizers": {}, "schedules": {}} | changes


def test_the_parts_of_a_task_build_it_again():
    assert SegmentationGuidedClassification(**parts_of(tiny.task())).networks


def test_both_stages_have_as_many_epochs_as_a_joint_training():
    joint, staged = (parsed("data=phantom", *more) for more in ([], ["method=two_stage"]))
    assert joint.trainer.max_epochs == staged.trainer.max_epochs == joint.total_epochs == 200
    assert staged.total_epochs == 400
    stages = staged.stages
    assert sum(map(stages.trains_gan, range(400))) == 200
    assert sum(map(stages.trains_classifier, range(400))) == 200


def test_each_stage_has_the_schedule_of_a_joint_training():
    def rates(epochs, **given):
        logger, task = Rows(), tiny.task(**given)
        steps = partial(torch.optim.lr_scheduler.StepLR, step_size=2, gamma=0.1)
        task._schedule_factories = dict.fromkeys(("generator", "classifier"), steps)
        fit(task, [tiny.batch()], epochs, logger=logger)
        return {
            name: [row[f"lr/{name}"] for _, row in logger.rows if f"lr/{name}" in row]
            for name in ("generator", "classifier")
        }

    joint, staged = rates(3), rates(6, stages=TrainingStages(3))
    assert joint["classifier"] == pytest.approx([0.01, 0.01, 0.001])
    assert staged["generator"][:3] == joint["generator"]
    assert staged["classifier"][3:] == joint["classifier"]


def test_a_margin_rises_over_the_epochs_of_its_own_stage():
    task, epochs = tiny.task(stages=TrainingStages(2)), []
    task.classification_loss.set_epoch = epochs.append
    fit(task, [tiny.batch()], epochs=4)
    assert epochs == [0, 0, 0, 0, 1]


def test_a_classifier_that_has_not_trained_chooses_no_epoch():
    task, logger = tiny.task(stages=TrainingStages(2)), Rows()
    fit_and_validate(task, [tiny.batch()], [tiny.batch()], logger, epochs=3)
    rows = [row for _, row in logger.rows if "val/dice" in row]
    assert ["val/f1" in row for row in rows] == [False, False, True]
    assert ["gm/val/own_distance" in row for row in rows] == [False, False, True]


def test_hard_guidance_thresholds_at_one_half():
    image, generated = torch.zeros(3), torch.tensor([0.2, 0.5, 0.9])
    assert MaskGuidance(hard=True).select(image, generated, None).tolist() == [0.0, 1.0, 1.0]
    assert MaskGuidance().select(image, generated, None) is generated
    assert MaskGuidance(source="none").select(image, generated, generated) is None


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: MaskGuidance(source="masks"),
        lambda: MaskGuidance(gradient=-1.0),
        lambda: MaskGuidance(hard=True, gradient=0.1),
        lambda: MaskGuidance(source="ground_truth", gradient=0.1),
        lambda: tiny.task(segment=False),
        lambda: tiny.task(segment=False, classify=False),
        lambda: SegmentationGuidedClassification(**parts_of(tiny.task(), discriminator=None)),
        lambda: SegmentationGuidedClassification(**parts_of(tiny.task(), adversarial_loss=None)),
        lambda: SegmentationGuidedClassification(
            **parts_of(tiny.task(), generator=None, guidance=MaskGuidance(source="none"))
        ),
    ],
)
def test_what_cannot_work_is_refused(wrong):
    with pytest.raises(Hep2ganError):
        wrong()


def test_the_margin_follows_the_epoch():
    task, epochs = tiny.task(), []
    task.classification_loss.set_epoch = epochs.append
    fit(task, [tiny.batch()], epochs=3)
    # Once more where training starts, since it may resume within an epoch.
    assert epochs == [0, 0, 1, 2]


def test_the_classifier_runs_once_per_step_where_its_gradient_is_not_asked_for():
    task, calls = tiny.task(), []
    task.classifier.register_forward_hook(lambda *_: calls.append(1))
    fit(task, [tiny.batch(seed=s) for s in range(3)])
    assert len(calls) == 3


def test_a_schedule_counts_only_the_epochs_its_network_trains():
    task, logger = tiny.task(stages=TrainingStages(2)), Rows()
    fit(task, [tiny.batch()], epochs=5, logger=logger)
    rates = [row["lr/classifier"] for _, row in logger.rows if "lr/classifier" in row]
    # StepLR(2, 0.1), which the two epochs of the GAN must not move.
    assert rates == pytest.approx([0.01, 0.01, 0.01, 0.01, 0.001])
