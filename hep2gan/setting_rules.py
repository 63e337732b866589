"""The rule of each key of a training's configuration."""

from collections.abc import Mapping
from typing import Any, get_args

from hep2gan.compile_modes import MODES
from hep2gan.data.sampling import Sampling
from hep2gan.data.split_settings import UNITS
from hep2gan.data.transforms.normalisation import Kind as Normalising
from hep2gan.losses.adversarial import Mode
from hep2gan.losses.gaussian_mixture import Covariance, Priors
from hep2gan.models.baselines.forest import FEATURES
from hep2gan.models.discriminator import Norm
from hep2gan.models.guidance import Source
from hep2gan.models.test_time_augmentation import VIEWS
from hep2gan.rules import (
    TRUTH,
    Rule,
    is_number,
    is_whole,
    name,
    number,
    numbers,
    one_of,
    share,
    text,
    texts,
    whole,
)
from hep2gan.targets import NETWORKS
from hep2gan.training.skipping import Policy

Config = Mapping[str, Any]

_PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true")
TRAINED = ("generator", "discriminator", "classifier")
# The 32 bits of numpy's old generator, which Lightning seeds too.
_SEED = whole(0, 0, 2**32 - 1)
_INTERVAL = numbers(2, [1.0, 1.0])
_MARGIN = Rule(
    "a number of 0 or more, or two of them, [start, end]",
    0.0,
    lambda v: (
        all(is_number(n) and n >= 0 for n in (v if isinstance(v, list) else [v]))
        and (not isinstance(v, list) or len(v) in (1, 2))
    ),
)
_RATES = Rule(
    "three positive whole numbers",
    [2, 4, 6],
    lambda v: isinstance(v, list) and len(v) == 3 and all(is_whole(n) and n > 0 for n in v),
)
_BETAS = Rule(
    "two numbers, each 0 or more and below 1",
    [0.5, 0.999],
    lambda v: isinstance(v, list) and len(v) == 2 and all(is_number(n) and 0 <= n < 1 for n in v),
)
_SIZE = Rule(
    "a whole number from 32 to 1024 that 16 divides",
    128,
    lambda v: is_whole(v) and 32 <= v <= 1024 and v % 16 == 0,
)
_STAGES = Rule(
    "a whole number of epochs, or a share between 0 and 1",
    0.5,
    lambda v: is_number(v) and (0 < v < 1 or is_whole(v)),
)
_EMA = Rule("a number above 0 and below 1", 0.999, lambda v: is_number(v) and 0 < v < 1)
_PROFILE = Rule(
    "true, false or a positive whole number of steps",
    "false",
    lambda v: isinstance(v, bool) or (is_whole(v) and v > 0),
)
MAPPING = Rule("a group of keys", "{}", lambda v: isinstance(v, Mapping))

_RULES: dict[str, Rule] = {
    "name": name("proposed"),
    "study": name("default"),
    "seed": _SEED,
    "runs": text("runs"),
    "stores": text("stores"),
    "run_dir": text("runs/mine"),
    "pretrained": TRUTH,
    "segment": TRUTH,
    "classify": TRUTH,
    "gan_epochs": _STAGES.or_null(),
    "sampling": one_of(*get_args(Sampling)),
    "ema": _EMA.or_null(),
    "test_time_views": one_of(*VIEWS),
    "objective": text("val/f1"),
    "guidance.source": one_of(*get_args(Source)),
    "guidance.hard": TRUTH,
    "guidance.gradient": number(0.0),
    "forest": MAPPING.or_null(),
    "forest.features": one_of(*FEATURES),
    "forest.trees": whole(1, 1000),
    "data.name": name("mine"),
    "data.source": one_of("icpr2016", "manifest", "phantom"),
    "data.root": text("FOLDER").or_null(),
    "data.store": text("stores/mine"),
    "data.size": _SIZE,
    "data.white": whole(1, 4095).or_null(),
    "data.crop_margin": number(10.0),
    "data.crop_margin_share": share(0.0, 0.5),
    "data.on_error": one_of("stop", "skip"),
    "data.count": whole(1, 1360),
    "data.seed": _SEED,
    "data.duplicate_specimen": TRUTH,
    "data.spread": number(1.0),
    "split.kind": one_of(*UNITS),
    "split.seed": _SEED,
    "split.test_fraction": Rule(
        "a number above 0 and below 1", 0.1, lambda v: is_number(v) and 0 < v < 1
    ),
    "split.validation_fraction": share(0.1),
    "split.folds": whole(2, 5).or_null(),
    "split.fold": whole(0, 0),
    "split.group_duplicates": TRUTH,
    "split.blocks_per_class": whole(1, 10),
    "normalisation.kind": one_of(*get_args(Normalising)),
    "normalisation.low": number(1.0, most=100),
    "normalisation.high": number(99.0, most=100),
    "augmentation.horizontal_flip": number(0.5, most=1),
    "augmentation.vertical_flip": number(0.5, most=1),
    "augmentation.quarter_turns": TRUTH,
    "augmentation.rotation": number(0.0, most=180),
    "augmentation.shift": number(0.0, most=0.5),
    "augmentation.offset": number(0.0, most=1),
    "augmentation.jitter": number(1.0, most=1),
    "augmentation.noise": number(0.0, most=1),
    "augmentation.scale": _INTERVAL,
    "augmentation.gain": _INTERVAL,
    "augmentation.gamma": _INTERVAL,
    "augmentation.blur": numbers(2, [0.0, 0.0]),
    "loss.adversarial": one_of(*get_args(Mode), "none"),
    "loss.label_smoothing_real": share(0.1, 0.5),
    "loss.soften.sigma": number(1.0),
    "loss.soften.level": share(0.1, 0.5),
    "loss.pixel": one_of("l1", "bce_dice"),
    "loss.alpha": number(0.5),
    "loss.beta": number(10.0),
    "loss.label_smoothing": share(0.1),
    "loss.gaussian_mixture.enabled": TRUTH,
    "loss.gaussian_mixture.weight": number(1.0),
    "loss.gaussian_mixture.gamma": number(0.01),
    "loss.gaussian_mixture.covariance": one_of(*get_args(Covariance)),
    "loss.gaussian_mixture.priors": one_of(*get_args(Priors)),
    "loss.gaussian_mixture.margin": _MARGIN,
    "logger.kind": one_of("csv", "wandb", "tensorboard"),
    "logger.project": text("hep2gan").or_null(),
    "logger.entity": text("TEAM").or_null(),
    "logger.mode": one_of("online", "offline", "disabled", None),
    "logger.tags": texts("[mine]").or_null(),
    "trainer.accelerator": one_of("auto", "cpu", "gpu"),
    "trainer.devices": whole(1, 1),
    "trainer.nodes": whole(1, 1),
    "trainer.precision": one_of(*_PRECISIONS),
    "trainer.max_epochs": whole(1, 200),
    "trainer.batch_size": whole(1, 16),
    "trainer.eval_batch_size": whole(1, 64),
    "trainer.workers": whole(0, 0),
    "trainer.resident": TRUTH,
    "trainer.channels_last": TRUTH,
    "trainer.compile": one_of(*MODES),
    "trainer.fused_optimizers": one_of("auto", True, False),
    "trainer.tf32": TRUTH,
    "trainer.sync_batchnorm": TRUTH,
    "trainer.deterministic": TRUTH,
    "trainer.validate_every": whole(1, 1),
    "trainer.nonfinite": one_of(*get_args(Policy)),
    "trainer.log_every": whole(1, 10),
    "trainer.profile": _PROFILE,
    "trainer.limit_batches": whole(1, 10).or_null(),
}
_OF_NETWORKS: dict[str, Rule] = {
    "pretrained": TRUTH,
    "weights": text("FILE").or_null(),
    "generator.encoder": text("tu-xception65"),
    "generator.output_stride": one_of(16, 8),
    "generator.atrous_rates": _RATES,
    "generator.decoder_channels": whole(1, 256),
    "generator.dropout": number(0.5, most=1),
    "discriminator.n_layers": whole(1, 3, 8),
    "discriminator.ndf": whole(1, 64),
    "discriminator.norm": one_of(*get_args(Norm)),
    "discriminator.spectral_norm": TRUTH,
    "classifier.backbone": text("resnet50.tv_in1k"),
    "classifier.image_channels": one_of(1, 3),
    "classifier.feature_dim": whole(1, 128).or_null(),
    "classifier.drop_rate": number(0.0, most=1),
    "classifier.options": MAPPING.or_null(),
    "classifier.ring": Rule(
        "a number above 0 and at most 0.5", 0.15, lambda v: is_number(v) and 0 < v <= 0.5
    ),
}
_OF_OPTIMIZERS: dict[str, Rule] = {
    "lr": number(1e-3),
    "betas": _BETAS,
    "momentum": number(0.9),
    "weight_decay": number(1e-4),
    "eps": number(1e-8),
    "alpha": number(0.99),
}
_OF_SCHEDULES: dict[str, Rule] = {"step": whole(1, 50), "factor": number(0.1)}


def rule_of(key: str, config: Config) -> Rule | None:
    """The rule of a dotted key; None for keys that a class of its own answers for."""
    group, _, rest = key.partition(".")
    if group in TRAINED:
        # What a class of the user's own may be given is for that class to say.
        ours = str(config[group].get("_target_")) in NETWORKS
        return _OF_NETWORKS.get(key, _OF_NETWORKS.get(rest)) if ours else None
    if group == "optimizer":
        last = rest.rpartition(".")[2]
        if rest.startswith("schedule."):
            return _OF_SCHEDULES.get(last) or MAPPING.or_null()
        return _OF_OPTIMIZERS.get(last)
    return _RULES.get(key)
