"""The configuration of each command as typed settings, composed from those of the parts.

Hydra composes plain containers; `parse_config` turns them into settings objects once, and
tells all that is wrong in one list. Settings stand beside the part that they set; those of the
trainer, the optimizers and the logger stand here.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import cached_property
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, ValidationError

from hep2gan.data.readers.source import DataSource
from hep2gan.data.sampler import Sampling
from hep2gan.data.splits import SplitSettings
from hep2gan.data.transforms.augmentation import Augmentation
from hep2gan.data.transforms.normalisation import Normalisation
from hep2gan.errors import Hep2ganError, raise_all
from hep2gan.losses.classification import GaussianMixtureSettings
from hep2gan.losses.segmentation import SofteningSettings
from hep2gan.models.baselines.forest import ForestSettings
from hep2gan.models.guidance import GanEpochs, MaskGuidance
from hep2gan.models.output import NumViews
from hep2gan.runs.folder import RunFolder
from hep2gan.settings import (
    Component,
    Fraction,
    Name,
    NonNegative,
    PositiveInt,
    Seed,
    Settings,
    Text,
    component_errors,
    errors_of,
    in_words,
    to_tuple,
)

NETWORKS = ("generator", "discriminator", "classifier")
RESTORE = "restore it or train the run again"

CudaGraphModes = Literal["reduce-overhead", "max-autotune"]
CompileMode = bool | CudaGraphModes


def uses_cuda_graphs(mode: CompileMode) -> bool:
    """Whether a mode of torch.compile records CUDA graphs and replays them."""
    return mode in get_args(CudaGraphModes)


Accelerator = Literal["auto", "cpu", "gpu"]
NonfinitePolicy = Literal["stop", "skip"]
Precision = Literal["32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true"]


def _component(target: str, **arguments: Any) -> Component:
    return Component.model_validate({"_target_": target, **arguments})


class LossSettings(Settings):
    """Equations 1 to 7."""

    adversarial: Component | None = _component("hep2gan.losses.adversarial.AdversarialLoss")
    """Loss of generator and discriminator (eq. 1); null: no discriminator."""
    pixel: Component = _component("hep2gan.losses.segmentation.L1Loss")
    """Loss of the mask's pixels (eq. 2)."""
    soften: SofteningSettings = SofteningSettings()
    """Blur and squeeze the true mask before the discriminator sees it."""
    alpha: NonNegative = 0.5
    """Weight of the adversarial term (eq. 3)."""
    beta: NonNegative = 10.0
    """Weight of the pixel term (eq. 3)."""
    label_smoothing: Fraction = 0.0
    """Of the cross-entropy (eq. 5); not with the Gaussian-mixture loss."""
    gaussian_mixture: GaussianMixtureSettings = GaussianMixtureSettings()
    """Gaussian-mixture loss of the features (eqs 6 and 7)."""


class ModelSettings(Settings):
    """Which networks are trained, and what the classifier sees of the mask."""

    segment: bool = True
    """Train generator and discriminator."""
    classify: bool = True
    """Train the classifier."""
    guidance: MaskGuidance = MaskGuidance()
    """The mask that goes with the image into the classifier."""
    baseline: ForestSettings | None = None
    """A random forest on texture features instead of networks."""


class TrainingSettings(Settings):
    """How the networks are trained, whatever they run on."""

    gan_epochs: GanEpochs | None = None
    """Train only the GAN for so many epochs (or this fraction), then only the classifier."""
    sampling: Sampling = "all"
    """`balanced`: every class equally often, rare cells repeated."""
    ema: Annotated[float, Field(gt=0, lt=1, examples=[0.999])] | None = None
    """Evaluate a moving average of the weights with this decay."""


class EvaluationSettings(Settings):
    """How validation, test and prediction are done."""

    tta: NumViews = 1
    """Test-time augmentation: average over so many turned and mirrored views."""


class ScheduleSettings(Settings):
    """torch's StepLR."""

    step_size: PositiveInt = 50
    """Epochs between two steps."""
    gamma: NonNegative = 0.1
    """Factor of a step."""


class SchedulesSettings(Settings):
    """The learning rate's schedule of each network; null: constant."""

    generator: ScheduleSettings | None = None
    """Of the generator."""
    discriminator: ScheduleSettings | None = None
    """Of the discriminator."""
    classifier: ScheduleSettings | None = ScheduleSettings()
    """Of the classifier."""


class OptimizerSettings(Settings):
    """One optimizer for each network, and its schedule (section III-A)."""

    generator: Component = _component("torch.optim.SGD", lr=1e-4)
    """A class of torch.optim with its arguments."""
    discriminator: Component = _component("torch.optim.SGD", lr=1e-4)
    """A class of torch.optim with its arguments."""
    classifier: Component = _component("torch.optim.Adam", lr=1e-3)
    """A class of torch.optim with its arguments."""
    schedule: SchedulesSettings = SchedulesSettings()
    """StepLR of each network, in epochs."""

    def of(self, name: str) -> Component:
        """The optimizer of a network, by its name in NETWORKS."""
        component: Component = getattr(self, name)
        return component


class TrainerSettings(Settings):
    """Device, precision, length and batch size; names are Lightning's where it has one."""

    accelerator: Accelerator = "auto"
    """`auto`: the first GPU, or the CPU where there is none."""
    devices: PositiveInt = 1
    """Of each node; one process each."""
    num_nodes: PositiveInt = 1
    """Machines."""
    precision: Precision = "32-true"
    """Of the networks; losses stay float32."""
    max_epochs: PositiveInt = 200
    """Length of the training."""
    batch_size: PositiveInt = 16
    """Cells of all devices together."""
    eval_batch_size: PositiveInt = 64
    """Cells of each device in validation and test."""
    num_workers: Annotated[int, Field(ge=0)] = 0
    """Loader processes; 0 is fastest, the store is in memory."""
    threads: Annotated[int, Field(ge=1, examples=[1])] | None = None
    """Of each process on the CPU; null: one a core, divided among ranks and jobs side by side."""
    cache_on_device: bool = False
    """Keep the whole store on the device."""
    channels_last: bool = False
    """Weights and images in the memory format of tensor cores."""
    compile: CompileMode = False
    """torch.compile of each network; the two names replay CUDA graphs."""
    fused_optimizers: Literal["auto"] | bool = "auto"
    """One kernel an update; `auto`: on GPUs."""
    tf32: bool = True
    """TensorFloat-32 products and convolutions on GPUs that have it."""
    sync_batchnorm: bool = False
    """Batch statistics over all devices; GPUs only."""
    deterministic: bool = True
    """Deterministic operations; warns where a GPU operation has no such form."""
    check_val_every_n_epoch: PositiveInt = 1
    """Epochs between two validations; needs split.validation_fraction."""
    nonfinite: NonfinitePolicy = "stop"
    """At a NaN or infinite loss: stop, or skip the update (waits for the device)."""
    log_every_n_steps: PositiveInt = 10
    """Batches between two logged losses."""
    profile: bool | PositiveInt = False
    """Measure what a step spends its time on, over 50 steps or so many."""
    limit_train_batches: Annotated[int, Field(ge=1, examples=[10])] | None = None
    """Train on at most so many batches an epoch."""

    @property
    def world_size(self) -> int:
        """Processes of the run: devices of all nodes."""
        return self.devices * self.num_nodes


class LoggerSettings(Settings):
    """Where metrics go beside metrics.csv."""

    kind: Literal["csv", "wandb", "tensorboard"] = "csv"
    """`csv`: nowhere else."""
    project: Text | None = None
    """Project at Weights & Biases."""
    entity: Text | None = None
    """User or team at Weights & Biases."""
    mode: Literal["online", "offline", "disabled"] | None = None
    """null: online when a key is set."""
    tags: Annotated[list[str], in_words("a list of texts"), Field(examples=[["mine"]])] | None = (
        None
    )
    """Further tags of the run."""


class TrainConfig(Settings):
    """All that a training is made of: the configuration of hep2gan-train."""

    name: Name = Field(examples=["proposed"])
    """Of the method; part of the run folder."""
    study: Name = "default"
    """Runs of one study are compared with each other."""
    seed: Seed = 0
    """Of weights, order, augmentation and split."""
    runs: Text = "runs"
    """Folder of all studies."""
    stores: Text = "stores"
    """Folder of packed stores."""
    run_dir: Text = Field(examples=["runs/default/mine/seed0"])
    """The run folder."""
    pretrained: bool = True
    """ImageNet weights where the paper has them."""
    data: Component
    """Which cells, and how they are packed."""
    split: SplitSettings = SplitSettings()
    """What is kept for the test."""
    normalisation: Normalisation = Normalisation()
    """How grey levels reach the networks."""
    augmentation: Component = _component("hep2gan.data.transforms.augmentation.Augmentation")
    """What varies during training."""
    task: Component = _component("hep2gan.training.module.SegmentationGuidedClassification")
    """The LightningModule with the training step."""
    model: ModelSettings = ModelSettings()
    """Which networks are trained."""
    generator: Component = _component("hep2gan.models.generator.DeepLabV3PlusGenerator")
    """The network that segments."""
    discriminator: Component = _component("hep2gan.models.discriminator.PatchGAN")
    """The network that judges masks."""
    classifier: Component = _component("hep2gan.models.classifier.TimmClassifier")
    """The network that names the pattern."""
    loss: LossSettings = LossSettings()
    """Weights and forms of equations 1 to 7."""
    optimizer: OptimizerSettings = OptimizerSettings()
    """One optimizer for each network."""
    training: TrainingSettings = TrainingSettings()
    """How the networks are trained."""
    evaluation: EvaluationSettings = EvaluationSettings()
    """How they are evaluated."""
    trainer: TrainerSettings = TrainerSettings()
    """Device, precision, length, batch size."""
    callbacks: dict[str, Component | None] = Field(default_factory=dict)
    """What watches a training: Lightning callbacks by a name of your choice; null: none."""
    logger: LoggerSettings = LoggerSettings()
    """Where metrics go beside metrics.csv."""
    optimized_metric: Text = "val/f1"
    """What a sweep with hydra/sweeper=optuna optimises."""

    @cached_property
    def source(self) -> DataSource:
        """The settings of the data, typed."""
        source: DataSource = self.data.build()
        return source

    @property
    def trained_networks(self) -> tuple[str, ...]:
        """Names of the networks that this configuration trains, in the order of NETWORKS."""
        judged = self.model.segment and self.loss.adversarial is not None
        used = {
            "generator": self.model.segment,
            "discriminator": judged,
            "classifier": self.model.classify,
        }
        return tuple(name for name in NETWORKS if used[name])

    def network(self, name: str) -> Component:
        """The component `name` of NETWORKS."""
        component: Component = getattr(self, name)
        return component

    def on_device(self, accelerator: Accelerator, eval_batch_size: int) -> "TrainConfig":
        """The same on one device, in whose evaluation so many cells go at once."""
        here = {"accelerator": accelerator, "devices": 1, "num_nodes": 1}
        trainer = self.trainer.model_copy(update=here | {"eval_batch_size": eval_batch_size})
        return self.model_copy(update={"trainer": trainer})

    def to_plain(self) -> dict[str, Any]:
        """Plain containers that `parse_config` turns into the same configuration."""
        return self.model_dump(mode="json", by_alias=True)


# ---------------------------------------------------------------- allowed classes

ALLOWED_CLASSES = frozenset(
    {
        "hep2gan.data.readers.icpr2016.Icpr2016Source",
        "hep2gan.data.readers.manifest.ManifestSource",
        "hep2gan.data.phantom.generate.PhantomSource",
        "hep2gan.data.transforms.augmentation.Augmentation",
        "hep2gan.models.generator.DeepLabV3PlusGenerator",
        "hep2gan.models.discriminator.PatchGAN",
        "hep2gan.models.classifier.TimmClassifier",
        "hep2gan.models.attention_pooling.AttentionPoolingClassifier",
        "hep2gan.models.gao.GaoNet",
        "hep2gan.losses.adversarial.AdversarialLoss",
        "hep2gan.losses.segmentation.L1Loss",
        "hep2gan.losses.segmentation.BceDiceLoss",
        "hep2gan.training.module.SegmentationGuidedClassification",
        "hep2gan.training.callbacks.collapse.CollapseMonitor",
        "hep2gan.training.callbacks.metrics.ThroughputMonitor",
    }
    | {f"torch.optim.{name}" for name in ("SGD", "Adam", "AdamW", "NAdam", "RAdam", "RMSprop")}
)
"""What a configuration may name by `_target_` without `trusted`."""


def target_errors(
    values: Any, trusted: Sequence[str] = (), where: str = ""
) -> Iterator[tuple[str, Hep2ganError]]:
    """An error for each `_target_` that may not be imported, and for Hydra's other special keys.

    Args:
        values: plain containers, of any depth.
        trusted: packages of the user's own, e.g. ["mylab.networks"]; from the command line only.
        where: the dotted key that `values` stands at.

    Yields:
        The dotted key of the `_target_`, and what is wrong with it.
    """
    if isinstance(values, Mapping):
        for key, value in values.items():
            place = f"{where}.{key}" if where else str(key)
            special = str(key).startswith("_") and str(key).endswith("_")
            if special and not (key == "_target_" and _is_allowed(value, trusted)):
                yield place, _refuse_target(place, value)
            yield from target_errors(value, trusted, place)
    elif isinstance(values, list | tuple):
        for position, value in enumerate(values):
            yield from target_errors(value, trusted, f"{where}[{position}]")


def _is_allowed(target: Any, trusted: Sequence[str]) -> bool:
    if not isinstance(target, str):
        return False
    own = any(target.startswith(package.rstrip(".") + ".") for package in trusted)
    return own or target in ALLOWED_CLASSES


def _refuse_target(place: str, value: Any) -> Hep2ganError:
    return Hep2ganError(
        f"{place} is {value!r}",
        "a configuration may only name classes of this project's list and torch's optimizers",
        "check where the configuration comes from; for a class of your own add trusted=[PACKAGE]",
    )


# ---------------------------------------------------------------- parsing

OPTIMIZER_TYPES: Mapping[str, Any] = {
    "lr": Annotated[float, Field(ge=0, examples=[0.001])],
    "betas": Annotated[
        tuple[Fraction, Fraction],
        BeforeValidator(to_tuple),
        in_words("two numbers, each 0 or more and below 1"),
        Field(examples=[[0.5, 0.999]]),
    ],
    "momentum": NonNegative,
    "weight_decay": Annotated[float, Field(ge=0, examples=[0.0001])],
    "eps": NonNegative,
    "alpha": NonNegative,
}
"""torch's annotations have no bounds."""
PROVIDED: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(NETWORKS, ("image_size", "num_classes", "guided")),
    "optimizer": ("params",),
}
"""Arguments that the program gives to the components of a group, and no configuration may."""


def parse_config(values: Mapping[str, Any], trusted: Sequence[str] = ()) -> TrainConfig:
    """Turn the composed configuration of a training into typed settings.

    Args:
        values: plain containers without `trusted` and `doctor`, which are about a start.
        trusted: packages of the user's own whose classes `_target_` may name.

    Raises:
        Hep2ganError: that lists all that is wrong, each with rule and fix.
    """
    raise_all(list(config_errors(values, trusted).values()))
    return TrainConfig.model_validate(values)


def parse_source(data: Component, trusted: Sequence[str] = ()) -> DataSource:
    """Turn the group `data` into the typed settings of a data set.

    Args:
        data: A component whose target is a subclass of `DataSource`.
        trusted: As in `parse_config`.

    Raises:
        Hep2ganError: that lists all that is wrong.
    """
    plain = data.model_dump(by_alias=True)
    raise_all([error for _, error in target_errors(plain, trusted, "data")])
    raise_all(list(_errors_of_component(data, "data").values()))
    source: DataSource = data.build()
    return source


def parse_run(run: RunFolder, trusted: Sequence[str] = ()) -> TrainConfig:
    """Parse the configuration that a run keeps.

    Args:
        run: The run's folder.
        trusted: As in `parse_config`.

    Raises:
        Hep2ganError: if it is no configuration of a training; names the file.
    """
    with errors_naming_config(run):
        return parse_config(run.config(), trusted)


@contextmanager
def errors_naming_config(run: RunFolder) -> Iterator[None]:
    """Put the file of a run's configuration before errors in the block that do not name it."""
    try:
        yield
    except Hep2ganError as error:
        if str(run.config_file) in error.fact:
            raise
        fix = error.fix or RESTORE
        raise Hep2ganError(f"{run.config_file}: {error.fact}", error.rule, fix) from error


def parse_sound_part(
    values: Mapping[str, Any], trusted: Sequence[str] = ()
) -> tuple[TrainConfig, dict[str, Hep2ganError]]:
    """Parse a configuration with defaults in place of what is wrong, so that all else is checked.

    Args:
        values: As in `parse_config`.
        trusted: As in `parse_config`.

    Returns:
        The configuration, and what is wrong with `values`, by dotted key.

    Raises:
        Hep2ganError: if something is wrong that has no default; lists all that is.
    """
    every = _errors_and_copies(values, trusted)
    errors = _without_copies(every, values)
    sound = deepcopy(dict(values))
    for key in every:
        *groups, last = key.removesuffix("._target_").split(".")
        group = value_at(sound, ".".join(groups)) if groups else sound
        if isinstance(group, dict):
            group.pop(last, None)
    try:
        config = TrainConfig.model_validate(sound)
        _ = config.source
    except (ValidationError, Hep2ganError):
        raise_all(list(errors.values()))
        raise
    return config, errors


def config_errors(
    values: Mapping[str, Any], trusted: Sequence[str] = ()
) -> dict[str, Hep2ganError]:
    """All that is wrong with the values of a training's configuration, by dotted key."""
    return _without_copies(_errors_and_copies(values, trusted), values)


def _errors_and_copies(
    values: Mapping[str, Any], trusted: Sequence[str]
) -> dict[str, Hep2ganError]:
    errors = errors_of(TrainConfig, values) | dict(target_errors(values, trusted))
    for key, component in _components(values):
        if not any(wrong == key or wrong == f"{key}._target_" for wrong in errors):
            errors |= _errors_of_component(component, key)
    return errors


def _without_copies(
    errors: Mapping[str, Hep2ganError], values: Mapping[str, Any]
) -> dict[str, Hep2ganError]:
    return {key: error for key, error in errors.items() if not _is_copy(key, values, errors)}


def _components(values: Mapping[str, Any]) -> Iterator[tuple[str, Component]]:
    """Each group with a `_target_`, by its dotted key."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            if isinstance(value.get("_target_"), str):
                yield str(key), Component.model_validate(value)
            else:
                yield from ((f"{key}.{name}", part) for name, part in _components(value))


_BASES: Mapping[str, type] = {"data": DataSource, "augmentation": Augmentation}
"""What the class of a group must be derived from, since all its users rely on it."""


def _errors_of_component(component: Component, key: str) -> dict[str, Hep2ganError]:
    provided = PROVIDED.get(key.partition(".")[0], ())
    if key == "task":
        return {}  # Its arguments are networks and losses, which training.build gives.
    try:
        base = _BASES.get(key)
        if base and not issubclass(component.load(), base):
            raise Hep2ganError(
                f"{key}._target_ is {component.target!r}",
                f"it must be a subclass of {base.__name__}",
                f"see the files in conf/{key}/",
            )
        types = OPTIMIZER_TYPES if component.target.startswith("torch.optim.") else {}
        return component_errors(component, key, provided, types)
    except Hep2ganError as error:
        return {f"{key}._target_": error}


def _is_copy(key: str, values: Mapping[str, Any], errors: Mapping[str, Hep2ganError]) -> bool:
    """Whether it is wrong since a key that it refers to is, such as split.seed with seed."""
    last = key.rpartition(".")[2]
    return last != key and last in errors and repr(value_at(values, key)) == repr(values[last])


def value_at(values: Any, key: str) -> Any:
    """The value of a dotted key in plain containers; None where there is none."""
    for part in key.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return values
