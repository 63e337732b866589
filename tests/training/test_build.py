"""Numbers of the configuration arrive in the parts that are built from it."""

import pytest
import torch
from torch import nn

from hep2gan.config import NETWORKS
from hep2gan.losses.segmentation import BceDiceLoss
from hep2gan.settings import Component
from hep2gan.training.build import build_task, parameter_counts
from tests.helpers import tiny
from tests.helpers.configs import parsed


def built(*overrides, **given):
    config = parsed("scale=laptop", *overrides)
    return build_task(config, classes="abcdef", size=64, **given)


def test_loss_weights_arrive():
    task = built("loss.alpha=0.25", "loss.beta=7", "loss/adversarial=lsgan")
    assert (task.generator_loss.alpha, task.generator_loss.beta) == (0.25, 7)
    assert task.generator_loss.adversarial.mode == task.adversarial_loss.mode == "lsgan"
    loss = built("loss.gaussian_mixture.gamma=0.03", "loss.gaussian_mixture.weight=0.5")
    assert loss.classification_loss.gamma == 0.03
    assert loss.classification_loss.gm_weight == 0.5
    assert isinstance(built("loss/pixel=bce_dice").generator_loss.pixel, BceDiceLoss)


def test_mixture_options_arrive():
    task = built(
        "loss.gaussian_mixture.covariance=diagonal",
        "loss.gaussian_mixture.priors=empirical",
        "loss.gaussian_mixture.margin=[0.1,0.3]",
        train_counts=[1, 2, 3, 4, 5, 5],
    )
    mixture = task.classification_loss.gaussian_mixture
    assert torch.allclose(mixture.log_prior.exp(), torch.tensor([1, 2, 3, 4, 5, 5]) / 20)
    assert mixture.free_log_variance.shape == (6, 512)
    assert mixture.margin == 0.1
    mixture.set_epoch(12)
    assert mixture.margin == 0.3


def test_schedules_arrive():
    task = built("optimizer=paper")
    optimizers, schedulers = task.configure_optimizers()
    rates = []
    for _ in range(101):
        rates.append(optimizers[-1].param_groups[0]["lr"])
        optimizers[-1].step()
        schedulers[0].step()
    assert rates[0] == rates[49] == 1e-3
    assert abs(rates[50] - 1e-4) < 1e-12
    assert abs(rates[100] - 1e-5) < 1e-13


def test_softening_arrives():
    task = built("loss.soften.level=0.1")
    assert task.softening(torch.ones(1, 1, 4, 4)).allclose(torch.tensor(0.9))


def test_unguided_classifiers_take_one_channel():
    task = built("method=resnet50_t", "pretrained=false")
    assert task.generator is None
    assert next(task.classifier.parameters()).shape[1] == 1
    assert next(built().classifier.parameters()).shape[1] == 2


@pytest.mark.parametrize("load_weights", [NETWORKS, ()])
@pytest.mark.parametrize("method", ["proposed", "resnet50_t"])
def test_networks_of_ones_own_get_only_what_they_take(method, load_weights):
    """Built for training, and again for a checkpoint; tiny's know no size, weights or classes."""
    config = parsed("scale=laptop", f"method={method}", "loss.gaussian_mixture.enabled=false")
    own = {
        name: Component.model_validate({"_target_": f"tests.helpers.tiny.{name.capitalize()}"})
        for name in NETWORKS
    }
    config = config.model_copy(update=own)
    task = build_task(config, classes="abc", size=64, load_weights=load_weights)
    assert isinstance(task.classifier, tiny.Classifier)
    assert task.classifier.features[0].in_channels == (2 if method == "proposed" else 1)


def test_weights_are_left_aside_where_a_checkpoint_follows():
    with torch.device("meta"):
        task = built("classifier.weights=gone.pth", "method=resnet50_t", load_weights=())
    assert task.classifier.feature_dim == 512


def test_parameters_by_network():
    networks = {"a": nn.Linear(3, 2), "b": nn.Conv2d(1, 4, 3, bias=False)}
    assert parameter_counts(networks) == {"a": 8, "b": 36}


def test_without_an_adversarial_loss_no_discriminator_is_built():
    task = built("method=without_adversarial")
    assert task.discriminator is task.adversarial_loss is task.generator_loss.adversarial is None
    assert list(task.networks) == ["generator", "classifier"]


def test_stages_arrive():
    assert built().stages.gan_epochs is None
    assert built("method=two_stage").stages.gan_epochs == 8
    assert built("method=two_stage", "trainer.max_epochs=200").stages.gan_epochs == 200


def test_vgg_drops_out_behind_both_of_its_wide_layers():
    classifier, rates = built("method=vgg16").classifier, []
    for layer in classifier.modules():
        if isinstance(layer, nn.Dropout):
            layer.register_forward_hook(lambda one, *_: rates.append(one.p))
    _, features = classifier.train()(torch.rand(4, 1, 64, 64))
    # The last is our own, before the output layer, which is off.
    assert rates == [0.5, 0.5, 0.0]
    kept, whole = (
        (features > 0).float().mean(),
        (classifier.eval()(torch.rand(4, 1, 64, 64))[1] > 0),
    )
    assert kept < 0.7 * whole.float().mean()
