"""What `trainer.compile` may be."""

import logging
import math
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

from hep2gan.data.sampler import Sampling
from hep2gan.data.splits import UNITS, SplitSettings
from hep2gan.data.transforms.augmentation import Augmentation
from hep2gan.data.transforms.normalisation import Normalisation
from hep2gan.data.transforms.normalisation import NormalisationKind as Normalising
from hep2gan.errors import Hep2ganError, raise_all
from hep2gan.losses.adversarial import AdversarialMode
from hep2gan.losses.gaussian_mixture import Covariance, Priors
from hep2gan.models.baselines.forest import FEATURES, ForestSettings
from hep2gan.models.discriminator import Norm
from hep2gan.models.guidance import MaskGuidance, MaskSource, TrainingStages
from hep2gan.models.test_time_augmentation import VIEWS
from hep2gan.runs.folder import flatten

CudaGraphModes = Literal["reduce-overhead", "max-autotune"]
CompileMode = bool | CudaGraphModes
COMPILE_MODES: tuple[CompileMode, ...] = (False, True, *get_args(CudaGraphModes))


def uses_cuda_graphs(mode: Any) -> bool:
    """Whether a mode of torch.compile records CUDA graphs and replays them."""
    return mode in get_args(CudaGraphModes)


class Rule(NamedTuple):
    """A rule: words, which complete "it must be …", a value that keeps it, whether one does."""

    words: str
    example: Any
    holds: Callable[[Any], bool]

    def or_null(self) -> "Rule":
        """The same, or null."""
        return Rule(f"{self.words}, or null", self.example, lambda v: v is None or self.holds(v))


def is_number(value: Any) -> bool:
    """Whether it is a finite number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_whole(value: Any) -> bool:
    """Whether it is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def integer_rule(least: int, example: int, most: int = 2**63 - 1) -> Rule:
    """A whole number in least..most."""
    words = {0: "a whole number, 0 or more", 1: "a positive whole number"}.get(least)
    words = words or f"a whole number, {least} or more"
    if most < 2**63 - 1:
        words = f"a whole number from {least} to {most}"
    return Rule(words, example, lambda v: is_whole(v) and least <= v <= most)


def number_rule(example: float, least: float = 0.0, most: float = math.inf) -> Rule:
    """A finite number in least..most."""
    bounds = f" from {least:g} to {most:g}" if most < math.inf else f", {least:g} or more"
    words = f"a finite number{bounds if least > -math.inf else ''}"
    return Rule(words, example, lambda v: is_number(v) and least <= v <= most)


def fraction_rule(example: float, below: float = 1.0) -> Rule:
    """A number of 0 or more that is below `below`."""
    words = f"a number, 0 or more and below {below:g}"
    return Rule(words, example, lambda v: is_number(v) and 0 <= v < below)


def options_rule(*options: Any) -> Rule:
    """One of some values; the first is the example."""
    told = ", ".join("null" if option is None else str(option) for option in options)

    def holds(value: Any) -> bool:
        return any(type(value) is type(option) and value == option for option in options)

    return Rule(f"one of {told}", options[0], holds)


def numbers_rule(count: int, example: list[float]) -> Rule:
    """So many finite numbers in a list."""

    def holds(value: Any) -> bool:
        return (
            isinstance(value, list | tuple) and len(value) == count and all(map(is_number, value))
        )

    return Rule(f"{count} finite numbers in a list", example, holds)


def text_rule(example: str) -> Rule:
    """A text that is not empty."""
    return Rule(
        "a text that is not empty", example, lambda v: isinstance(v, str) and bool(v.strip())
    )


def name_rule(example: str) -> Rule:
    """A text that is not empty, or a number, as which YAML reads a name such as 5."""
    rule = text_rule(example)
    return rule._replace(holds=lambda v: rule.holds(v) or is_number(v))


def texts_rule(example: str) -> Rule:
    """A list of texts."""

    def holds(value: Any) -> bool:
        return isinstance(value, list | tuple) and all(isinstance(v, str) for v in value)

    return Rule("a list of texts", example, holds)


TRUTH = Rule("true or false", "false", lambda v: isinstance(v, bool))

log = logging.getLogger(__name__)

NonfinitePolicy = Literal["stop", "skip"]

ALLOWED_NETWORKS = frozenset(
    {
        "hep2gan.models.generator.DeepLabV3PlusGenerator",
        "hep2gan.models.discriminator.PatchGAN",
        "hep2gan.models.classifier.TimmClassifier",
        "hep2gan.models.attention_pooling.AttentionPoolingClassifier",
        "hep2gan.models.gao.GaoNet",
    }
)
ALLOWED_OPTIMIZERS = frozenset(
    f"torch.optim.{name}" for name in ("SGD", "Adam", "AdamW", "NAdam", "RAdam", "RMSprop")
)


def import_class(path: str) -> type:
    """Import the class at a dotted path; what may be imported is for `check_targets` to say.

    Raises:
        Hep2ganError: The path leads nowhere, or not to a class.
    """
    try:
        found = pkgutil.resolve_name(path)
    except (ImportError, AttributeError, ValueError) as error:
        fix = "check its spelling, and that its package is installed"
        raise Hep2ganError(f"{path} cannot be imported ({error})", "", fix) from error
    if not isinstance(found, type):
        raise Hep2ganError(f"{path} is no class", "_target_ names a class")
    return found


def check_targets(config: Any, trusted: Sequence[str] = ()) -> None:
    """Raise Hep2ganError at the first `_target_` that is neither listed nor of a trusted package.

    trusted: packages of the user's own, e.g. ["mylab.networks"], from the command line only.
    """
    for error in find_wrong_targets(config, trusted):
        raise error


def find_wrong_targets(
    config: Any, trusted: Sequence[str] = (), where: str = ""
) -> Iterator[Hep2ganError]:
    """An error for each `_target_` that `check_targets` refuses, and Hydra's other such keys."""
    if isinstance(config, Mapping):
        for key, value in config.items():
            place = f"{where}.{key}" if where else str(key)
            special = str(key).startswith("_") and str(key).endswith("_")
            if special and not _allowed(str(key), value, trusted):
                yield _refuse_target(place, value)
            yield from find_wrong_targets(value, trusted, place)
    elif isinstance(config, list | tuple):
        for position, value in enumerate(config):
            yield from find_wrong_targets(value, trusted, f"{where}[{position}]")


def _allowed(key: str, value: Any, trusted: Sequence[str]) -> bool:
    if key != "_target_" or not isinstance(value, str):
        return False
    ours = value in ALLOWED_NETWORKS or value in ALLOWED_OPTIMIZERS
    return ours or any(value.startswith(prefix.rstrip(".") + ".") for prefix in trusted)


def _refuse_target(place: str, value: Any) -> Hep2ganError:
    return Hep2ganError(
        f"{place} is {value!r}",
        "a configuration may only name this project's networks and torch's optimizers",
        "check where the configuration comes from; for a class of your own add trusted=[PACKAGE]",
    )


Config = Mapping[str, Any]

_PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true")
TRAINED = ("generator", "discriminator", "classifier")
# The 32 bits of numpy's old generator, which Lightning seeds too.
_SEED = integer_rule(0, 0, 2**32 - 1)
_INTERVAL = numbers_rule(2, [1.0, 1.0])
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
    "name": name_rule("proposed"),
    "study": name_rule("default"),
    "seed": _SEED,
    "runs": text_rule("runs"),
    "stores": text_rule("stores"),
    "run_dir": text_rule("runs/mine"),
    "pretrained": TRUTH,
    "segment": TRUTH,
    "classify": TRUTH,
    "gan_epochs": _STAGES.or_null(),
    "sampling": options_rule(*get_args(Sampling)),
    "ema": _EMA.or_null(),
    "test_time_views": options_rule(*VIEWS),
    "objective": text_rule("val/f1"),
    "guidance.source": options_rule(*get_args(MaskSource)),
    "guidance.hard": TRUTH,
    "guidance.gradient": number_rule(0.0),
    "forest": MAPPING.or_null(),
    "forest.features": options_rule(*FEATURES),
    "forest.trees": integer_rule(1, 1000),
    "data.name": name_rule("mine"),
    "data.reader": options_rule("icpr2016", "manifest", "phantom"),
    "data.root": text_rule("FOLDER").or_null(),
    "data.store": text_rule("stores/mine"),
    "data.size": _SIZE,
    "data.white_level": integer_rule(1, 4095).or_null(),
    "data.crop_margin": number_rule(10.0),
    "data.crop_margin_share": fraction_rule(0.0, 0.5),
    "data.on_error": options_rule("stop", "skip"),
    "data.count": integer_rule(1, 1360),
    "data.seed": _SEED,
    "data.duplicate_specimen": TRUTH,
    "data.spread": number_rule(1.0),
    "split.kind": options_rule(*UNITS),
    "split.seed": _SEED,
    "split.test_fraction": Rule(
        "a number above 0 and below 1", 0.1, lambda v: is_number(v) and 0 < v < 1
    ),
    "split.validation_fraction": fraction_rule(0.1),
    "split.folds": integer_rule(2, 5).or_null(),
    "split.fold": integer_rule(0, 0),
    "split.group_duplicates": TRUTH,
    "split.blocks_per_class": integer_rule(1, 10),
    "normalisation.kind": options_rule(*get_args(Normalising)),
    "normalisation.low": number_rule(1.0, most=100),
    "normalisation.high": number_rule(99.0, most=100),
    "augmentation.horizontal_flip": number_rule(0.5, most=1),
    "augmentation.vertical_flip": number_rule(0.5, most=1),
    "augmentation.quarter_turns": TRUTH,
    "augmentation.rotation": number_rule(0.0, most=180),
    "augmentation.shift": number_rule(0.0, most=0.5),
    "augmentation.offset": number_rule(0.0, most=1),
    "augmentation.jitter": number_rule(1.0, most=1),
    "augmentation.noise": number_rule(0.0, most=1),
    "augmentation.scale": _INTERVAL,
    "augmentation.gain": _INTERVAL,
    "augmentation.gamma": _INTERVAL,
    "augmentation.blur": numbers_rule(2, [0.0, 0.0]),
    "loss.adversarial": options_rule(*get_args(AdversarialMode), "none"),
    "loss.label_smoothing_real": fraction_rule(0.1, 0.5),
    "loss.soften.sigma": number_rule(1.0),
    "loss.soften.level": fraction_rule(0.1, 0.5),
    "loss.pixel": options_rule("l1", "bce_dice"),
    "loss.alpha": number_rule(0.5),
    "loss.beta": number_rule(10.0),
    "loss.label_smoothing": fraction_rule(0.1),
    "loss.gaussian_mixture.enabled": TRUTH,
    "loss.gaussian_mixture.weight": number_rule(1.0),
    "loss.gaussian_mixture.gamma": number_rule(0.01),
    "loss.gaussian_mixture.covariance": options_rule(*get_args(Covariance)),
    "loss.gaussian_mixture.priors": options_rule(*get_args(Priors)),
    "loss.gaussian_mixture.margin": _MARGIN,
    "logger.kind": options_rule("csv", "wandb", "tensorboard"),
    "logger.project": text_rule("hep2gan").or_null(),
    "logger.entity": text_rule("TEAM").or_null(),
    "logger.mode": options_rule("online", "offline", "disabled", None),
    "logger.tags": texts_rule("[mine]").or_null(),
    "trainer.accelerator": options_rule("auto", "cpu", "gpu"),
    "trainer.devices": integer_rule(1, 1),
    "trainer.nodes": integer_rule(1, 1),
    "trainer.precision": options_rule(*_PRECISIONS),
    "trainer.max_epochs": integer_rule(1, 200),
    "trainer.batch_size": integer_rule(1, 16),
    "trainer.eval_batch_size": integer_rule(1, 64),
    "trainer.workers": integer_rule(0, 0),
    "trainer.resident": TRUTH,
    "trainer.channels_last": TRUTH,
    "trainer.compile": options_rule(*COMPILE_MODES),
    "trainer.fused_optimizers": options_rule("auto", True, False),
    "trainer.tf32": TRUTH,
    "trainer.sync_batchnorm": TRUTH,
    "trainer.deterministic": TRUTH,
    "trainer.validate_every": integer_rule(1, 1),
    "trainer.nonfinite": options_rule(*get_args(NonfinitePolicy)),
    "trainer.log_every": integer_rule(1, 10),
    "trainer.profile": _PROFILE,
    "trainer.limit_batches": integer_rule(1, 10).or_null(),
}
_OF_NETWORKS: dict[str, Rule] = {
    "pretrained": TRUTH,
    "weights": text_rule("FILE").or_null(),
    "generator.encoder": text_rule("tu-xception65"),
    "generator.output_stride": options_rule(16, 8),
    "generator.atrous_rates": _RATES,
    "generator.decoder_channels": integer_rule(1, 256),
    "generator.dropout": number_rule(0.5, most=1),
    "discriminator.n_layers": integer_rule(1, 3, 8),
    "discriminator.ndf": integer_rule(1, 64),
    "discriminator.norm": options_rule(*get_args(Norm)),
    "discriminator.spectral_norm": TRUTH,
    "classifier.backbone": text_rule("resnet50.tv_in1k"),
    "classifier.image_channels": options_rule(1, 3),
    "classifier.feature_dim": integer_rule(1, 128).or_null(),
    "classifier.drop_rate": number_rule(0.0, most=1),
    "classifier.options": MAPPING.or_null(),
    "classifier.ring": Rule(
        "a number above 0 and at most 0.5", 0.15, lambda v: is_number(v) and 0 < v <= 0.5
    ),
}
_OF_OPTIMIZERS: dict[str, Rule] = {
    "lr": number_rule(1e-3),
    "betas": _BETAS,
    "momentum": number_rule(0.9),
    "weight_decay": number_rule(1e-4),
    "eps": number_rule(1e-8),
    "alpha": number_rule(0.99),
}
_OF_SCHEDULES: dict[str, Rule] = {"step": integer_rule(1, 50), "factor": number_rule(0.1)}


def rule_of(key: str, config: Config) -> Rule | None:
    """The rule of a dotted key; None for keys that a class of its own answers for."""
    group, _, rest = key.partition(".")
    if group in TRAINED:
        # What a class of the user's own may be given is for that class to say.
        ours = str(config[group].get("_target_")) in ALLOWED_NETWORKS
        return _OF_NETWORKS.get(key, _OF_NETWORKS.get(rest)) if ours else None
    if group == "optimizer":
        last = rest.rpartition(".")[2]
        if rest.startswith("schedule."):
            return _OF_SCHEDULES.get(last) or MAPPING.or_null()
        return _OF_OPTIMIZERS.get(last)
    return _RULES.get(key)


_GROUPS = (
    *("data", "split", "normalisation", "augmentation", "loss", "loss.gaussian_mixture"),
    *("loss.soften", "optimizer", "optimizer.schedule", "trainer", "logger", "guidance"),
)


def invalid_settings(config: Config) -> dict[str, Hep2ganError]:
    """Every value that cannot be what its key needs, by its key."""
    wrong = {
        group: _refused(group, found, MAPPING)
        for group in _GROUPS
        if not isinstance(found := _at(config, group), Mapping)
    }
    needed = [name for name, used in _used(config).items() if used]
    for name in needed:
        if not isinstance(config.get(name), Mapping):
            wrong[name] = _refused(name, config.get(name), MAPPING)
        if not isinstance(_at(config, f"optimizer.{name}"), Mapping):
            wrong[f"optimizer.{name}"] = _refused(
                f"optimizer.{name}", _at(config, f"optimizer.{name}"), MAPPING
            )
    skipped = [name for name in TRAINED if not isinstance(config.get(name), Mapping)]
    for key, value in flatten(config):
        if any(key == name or key.startswith(f"{name}.") for name in (*wrong, *skipped)):
            continue
        rule = rule_of(key, config)
        if rule is not None and not rule.holds(value):
            wrong[key] = _refused(key, value, rule)
    return {key: error for key, error in wrong.items() if not _is_a_copy(key, config, wrong)}


def check_data_settings(data: Config) -> None:
    """Raise Hep2ganError with all that is wrong with a `data` configuration alone."""
    config = {"data": data}
    raise_all(
        [
            _refused(key, value, rule)
            for key, value in flatten(config)
            if (rule := rule_of(key, config)) is not None and not rule.holds(value)
        ]
    )


def _used(config: Config) -> dict[str, Any]:
    segment, loss = config.get("segment"), config.get("loss")
    judged = isinstance(loss, Mapping) and loss.get("adversarial") != "none"
    classify = config.get("classify")
    return {"generator": segment, "discriminator": segment and judged, "classifier": classify}


def _at(config: Config, key: str) -> Any:
    value: Any = config
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _refused(key: str, value: Any, rule: Rule) -> Hep2ganError:
    shown = "null" if value is None else repr(value)[:80]
    example = str(rule.example).replace(" ", "")
    return Hep2ganError(f"{key} is {shown}", f"it must be {rule.words}", f"set {key}={example}")


def _is_a_copy(key: str, config: Config, wrong: Mapping[str, Hep2ganError]) -> bool:
    """Whether it is wrong since a key that it refers to is, such as split.seed with seed."""
    last = key.rpartition(".")[2]
    return last != key and last in wrong and repr(_at(config, key)) == repr(config[last])


def cross_field_errors(config: Config, wrong: Mapping[str, Hep2ganError]) -> Iterator[Hep2ganError]:
    """Settings that are sound one by one and do not fit together; where neither is wrong."""
    checks: dict[tuple[str, ...], Callable[[], object]] = {
        ("gan_epochs", "trainer"): lambda: TrainingStages.from_setting(
            config["gan_epochs"], config["trainer"]["max_epochs"]
        ),
        ("guidance",): lambda: MaskGuidance(**config["guidance"]),
        ("split", "seed"): lambda: SplitSettings(**config["split"]),
        ("normalisation", "augmentation"): lambda: Augmentation(**config["augmentation"]).check(
            Normalisation(**config["normalisation"]).bounded
        ),
        ("forest",): lambda: config["forest"] and ForestSettings(**config["forest"]),
    }
    for groups, build in checks.items():
        if any(key.partition(".")[0] in groups for key in wrong):
            continue
        try:
            build()
        except Hep2ganError as error:
            yield error
        except TypeError as error:
            names = " and ".join(groups)
            rule, fix = "its keys are those of conf/", "see --help, and leave other keys out"
            yield Hep2ganError(f"{names} cannot be understood ({error})", rule, fix)
