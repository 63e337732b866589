"""The configuration of each command as typed settings, composed from those of the parts.

Hydra composes plain containers; `parse_config` turns them into settings objects once, and reports
every error in one list. The settings of most parts are defined with those parts; the settings of
the trainer, the optimizers and the logger are defined here.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import cached_property
from typing import Annotated, Any, Literal, cast, get_args

from pydantic import BeforeValidator, Field, ValidationError

from hep2gan.data.fields.finder import CellFinder
from hep2gan.data.readers.source import DataSource
from hep2gan.data.sampler import Sampling
from hep2gan.data.splits import SplitSettings
from hep2gan.data.transforms.augmentation import Augmentation
from hep2gan.data.transforms.normalisation import Normalisation
from hep2gan.errors import Hep2ganError, raise_all
from hep2gan.losses.classification import GaussianMixtureSettings
from hep2gan.losses.segmentation import SofteningSettings
from hep2gan.models.baselines.forest import ForestSettings
from hep2gan.models.guidance import MaskGuidance, TrainingStages
from hep2gan.models.output import NumViews
from hep2gan.runs.folder import RunFolder, Target
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
    value_at,
)

NETWORKS = ("generator", "discriminator", "classifier")
RESTORE = "restore it or train the run again"

CudaGraphModes = Literal["reduce-overhead", "max-autotune"]
CompileMode = bool | CudaGraphModes


def uses_cuda_graphs(mode: CompileMode) -> bool:
    """Tell whether a mode of torch.compile records CUDA graphs and replays them.

    Args:
        mode: Value of `trainer.compile`.

    Returns:
        True for the modes that replay CUDA graphs.
    """
    return mode in get_args(CudaGraphModes)


Accelerator = Literal["auto", "cpu", "gpu"]
ProcessGroupBackend = Literal["gloo", "nccl"]
NonfinitePolicy = Literal["stop", "skip"]
Precision = Literal["32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true"]


def _component(target: str, **arguments: Any) -> Component:
    return Component.model_validate({"_target_": target, **arguments})


class LossSettings(Settings):
    """Losses of the training step: equations 1 to 7 of the paper.

    Args:
        adversarial: Loss of generator and discriminator (eq. 1); None trains no discriminator.
        pixel: Loss of the mask's pixels (eq. 2).
        soften: Blurs the true mask and moves it away from 0 and 1 before the discriminator sees it.
        alpha: Weight of the adversarial term in the generator's loss (eq. 3).
        beta: Weight of the pixel term in the generator's loss (eq. 3).
        label_smoothing: Label smoothing of the cross-entropy (eq. 5); not available with the
            Gaussian-mixture loss.
        gaussian_mixture: Gaussian-mixture loss of the features (eqs 6 and 7).
    """

    adversarial: Component | None = _component("hep2gan.losses.adversarial.AdversarialLoss")
    pixel: Component = _component("hep2gan.losses.segmentation.L1Loss")
    soften: SofteningSettings = SofteningSettings()
    alpha: NonNegative = 0.5
    beta: NonNegative = 10.0
    label_smoothing: Fraction = 0.0
    gaussian_mixture: GaussianMixtureSettings = GaussianMixtureSettings()


class ModelSettings(Settings):
    """Which networks are trained, and which mask the classifier gets.

    Args:
        segment: Train generator and discriminator.
        classify: Train the classifier.
        guidance: The mask that enters the classifier together with the image.
        baseline: A random forest on texture features instead of networks.
    """

    segment: bool = True
    classify: bool = True
    guidance: MaskGuidance = MaskGuidance()
    baseline: ForestSettings | None = None

    @property
    def needs_masks(self) -> bool:
        """Whether a training needs true masks: for a generator, or for the classifier."""
        return self.segment or self.guidance.source == "ground_truth"


class TrainingSettings(Settings):
    """How the networks are trained, whatever the hardware.

    Args:
        two_stage: Train the GAN alone for `trainer.max_epochs`, then the classifier alone for as
            many, each with its whole learning-rate schedule; otherwise all networks together.
        sampling: `all` uses every training cell once per epoch; `balanced` draws every class
            equally often, so that cells of rare classes are repeated.
        ema: Evaluate an exponential moving average of the weights with this decay.
    """

    two_stage: bool = False
    sampling: Sampling = "all"
    ema: Annotated[float, Field(gt=0, lt=1, examples=[0.999])] | None = None


class EvaluationSettings(Settings):
    """How validation, test and prediction are computed.

    Args:
        tta: Test-time augmentation: average the outputs over this many rotated and flipped views.
    """

    tta: NumViews = 1


class ScheduleSettings(Settings):
    """Parameters of `torch.optim.lr_scheduler.StepLR`.

    Args:
        step_size: Epochs between two changes of the learning rate.
        gamma: Factor by which each change multiplies the learning rate.
    """

    step_size: PositiveInt = 50
    gamma: NonNegative = 0.1


class SchedulesSettings(Settings):
    """The learning-rate schedule of each network; None keeps its learning rate constant.

    Args:
        generator: Schedule of the generator.
        discriminator: Schedule of the discriminator.
        classifier: Schedule of the classifier.
    """

    generator: ScheduleSettings | None = None
    discriminator: ScheduleSettings | None = None
    classifier: ScheduleSettings | None = ScheduleSettings()


class ClippingSettings(Settings):
    """Largest norm of each network's gradient, all its parameters together; None does not clip.

    A larger gradient is shrunk to it before the update. The norm before that is logged as
    `<network>/gradient_norm`.

    Args:
        generator: Largest norm of the generator's gradient.
        discriminator: Largest norm of the discriminator's gradient.
        classifier: Largest norm of the gradient of the classifier and the means of its mixture.
    """

    generator: Annotated[float, Field(gt=0, examples=[1.0])] | None = None
    discriminator: Annotated[float, Field(gt=0, examples=[1.0])] | None = None
    classifier: Annotated[float, Field(gt=0, examples=[1.0])] | None = None


class OptimizerSettings(Settings):
    """One optimizer for each network, with its schedule (section III-A of the paper).

    Args:
        generator: Optimizer of the generator: a class of torch.optim with its arguments.
        discriminator: Optimizer of the discriminator: a class of torch.optim with its arguments.
        classifier: Optimizer of the classifier: a class of torch.optim with its arguments.
        schedule: StepLR schedule of each network, in epochs.
        gradient_clip_val: Largest norm of each network's gradient.
    """

    generator: Component = _component("torch.optim.SGD", lr=1e-4)
    discriminator: Component = _component("torch.optim.SGD", lr=1e-4)
    classifier: Component = _component("torch.optim.Adam", lr=1e-3)
    schedule: SchedulesSettings = SchedulesSettings()
    gradient_clip_val: ClippingSettings = ClippingSettings()

    def of(self, name: str) -> Component:
        """Return the optimizer of a network.

        Args:
            name: Name of the network, one of `NETWORKS`.

        Returns:
            The component of torch.optim.
        """
        return cast(Component, getattr(self, name))


class TrainerSettings(Settings):
    """Device, precision, length and batch size; keys that Lightning's Trainer has keep its names.

    Args:
        accelerator: `auto` takes the first GPU, or the CPU where there is none.
        devices: Devices per node, with one process each.
        num_nodes: Number of machines.
        process_group_backend: What sends gradients between ranks; null takes NCCL for GPUs of their
            own, otherwise gloo.
        share_device: Let the ranks of a machine share its GPUs where there are fewer, by gloo, to
            try several ranks on one card.
        precision: Precision of the networks in training; losses stay in float32, as do validation,
            test and prediction.
        max_epochs: Length of the training in epochs; of each stage with `training.two_stage`.
        batch_size: Cells per training step, all devices together.
        eval_batch_size: Cells per batch and device in validation and test.
        num_workers: Loader processes; 0 is fastest, since the store is mapped into memory.
        threads: CPU threads per process; null takes one per core, divided among ranks and jobs
            that run side by side.
        cache_on_device: Keep the whole store in the memory of the device.
        channels_last: Keep weights and images in the memory format of tensor cores.
        compile: Compile each network with torch.compile; the two modes by name also replay CUDA
            graphs.
        cuda_graph: Record the whole training step, updates included, as one CUDA graph and replay
            it, where a GPU would wait for the host to launch its kernels. What cannot be recorded
            is trained as usual, with a warning.
        fused_optimizers: Compute each optimizer's update in one kernel; `auto` does so on GPUs.
        tf32: Use TensorFloat-32 for matrix products and convolutions on GPUs that support it.
        sync_batchnorm: Compute batch statistics over all devices; GPUs only.
        deterministic: Use deterministic operations; warns where a GPU operation has no
            deterministic form.
        check_val_every_n_epoch: Epochs between two validations; needs split.validation_fraction.
        nonfinite: What to do at a NaN or infinite loss: `stop`, or `skip` the update, which
            synchronises with the device at every step.
        log_every_n_steps: Batches between two logged losses, and between two checks that all are
            finite (unlike Lightning, which counts optimizer steps, three a batch here).
        profile: Measure the time of each part of a training step, over 50 steps or this number of
            steps.
        limit_train_batches: Largest number of batches per epoch.
    """

    accelerator: Accelerator = "auto"
    devices: PositiveInt = 1
    num_nodes: PositiveInt = 1
    process_group_backend: ProcessGroupBackend | None = None
    share_device: bool = False
    precision: Precision = "32-true"
    max_epochs: PositiveInt = 200
    batch_size: PositiveInt = 16
    eval_batch_size: PositiveInt = 64
    num_workers: Annotated[int, Field(ge=0)] = 0
    threads: Annotated[int, Field(ge=1, examples=[1])] | None = None
    cache_on_device: bool = False
    channels_last: bool = False
    compile: CompileMode = False
    cuda_graph: bool = False
    fused_optimizers: Literal["auto"] | bool = "auto"
    tf32: bool = True
    sync_batchnorm: bool = False
    deterministic: bool = True
    check_val_every_n_epoch: PositiveInt = 1
    nonfinite: NonfinitePolicy = "stop"
    log_every_n_steps: PositiveInt = 10
    profile: bool | PositiveInt = False
    limit_train_batches: Annotated[int, Field(ge=1, examples=[10])] | None = None

    @property
    def world_size(self) -> int:
        """Processes of the run: devices of all nodes."""
        return self.devices * self.num_nodes


_OF_LIGHTNING: Mapping[str, tuple[str, str]] = {
    "gradient_clip_val": (
        "each network has a gradient, and a bound of its own",
        "set optimizer.gradient_clip_val.generator=1.0, also for discriminator and classifier",
    ),
    "accumulate_grad_batches": (
        "the generator learns from a discriminator that is updated before it, and batch"
        " normalisation sees each part of a batch alone, so that gradients summed over parts are"
        " not those of the whole",
        "where a batch does not fit, set trainer.precision=bf16-mixed, divide it with"
        " trainer.devices=2, or lower trainer.batch_size",
    ),
    "fast_dev_run": ("it is about one start and no part of a run", "set fast_dev_run=true"),
    "overfit_batches": (
        "a test on cells of the training tells nothing",
        "set trainer.limit_train_batches=10 to train on few",
    ),
    "max_steps": ("a training is counted in epochs", "set trainer.max_epochs=10"),
    "strategy": ("it follows from the devices", "set trainer=ddp, or trainer.devices=2"),
    "val_check_interval": (
        "validation comes at the end of epochs",
        "set trainer.check_val_every_n_epoch=1",
    ),
}
"""Keys that Lightning's Trainer has and `trainer` has not: why, and what to do instead."""


class LoggerSettings(Settings):
    """Where metrics are logged in addition to metrics.csv.

    Args:
        wandb: Log to Weights & Biases.
        mlflow: Log to MLflow.
        tensorboard: Log to TensorBoard, in `run_dir`.
        project: Project at Weights & Biases, experiment at MLflow.
        entity: User or team at Weights & Biases.
        mode: Mode of Weights & Biases; None is online if an API key is set, otherwise offline.
        tags: Additional tags of the run.
        tracking_uri: Store or server of MLflow; None is MLFLOW_TRACKING_URI if it is set, otherwise
            mlflow.db in `run_dir`.
        weights: Weights of a finished run that wandb and MLflow get: true, of the chosen epoch and
            of the last; best or last, one of them; false, none.
        weights_mib: Largest weights of one epoch that are logged, in MiB; larger ones stay in
            `run_dir` alone.
        table_cells: Most test cells in the table of predictions; 0 leaves the table out.
        pictures_every: Epochs between two pictures of a few cells with their outlines, which the
            last epoch has too; 0 plots none.
        registry: Collection of wandb's registry that the chosen weights are linked to, such as
            wandb-registry-model/hep2gan; None links them to none.
    """

    wandb: bool = False
    mlflow: bool = False
    tensorboard: bool = False
    project: Text | None = None
    entity: Text | None = None
    mode: Literal["online", "offline", "disabled"] | None = None
    tags: Annotated[list[str], in_words("a list of strings"), Field(examples=[["mine"]])] | None = (
        None
    )
    tracking_uri: Text | None = None
    weights: bool | Literal["best", "last"] = True
    weights_mib: PositiveInt = 2048
    table_cells: Annotated[int, Field(ge=0, le=10_000)] = 500
    pictures_every: Annotated[int, Field(ge=0)] = 10
    registry: (
        Annotated[
            str,
            Field(pattern=r"^[^\s/]+(/[^\s/]+){1,2}$", examples=["wandb-registry-model/hep2gan"]),
            in_words("REGISTRY/COLLECTION or ENTITY/REGISTRY/COLLECTION"),
        ]
        | None
    ) = None


class TrainConfig(Settings):
    """The whole configuration of a training, as hep2gan-train composes it.

    Args:
        name: Name of the method; part of the run folder.
        study: Name of the study; runs of one study are compared with each other.
        seed: Seed of weights, order, augmentation and split.
        runs: Folder of all studies.
        stores: Folder of packed stores.
        run_dir: Folder of this run.
        pretrained: Start from ImageNet weights where the paper does.
        init_from: Start a new run from the weights of this run (its folder, or one of its
            checkpoints), part by part; `generator.weights` and `classifier.weights` are for files
            of a single network.
        data: The data set, and how its cells are packed.
        target: The label to learn: `pattern`, the classes of the data set; or `intensity`,
            intermediate or positive, without the cells whose intensity is unknown.
        split: Which cells are used for training, validation and test.
        normalisation: How grey levels are normalised for the networks.
        augmentation: Random changes of the training cells.
        task: The LightningModule with the training step.
        model: Which networks are trained.
        generator: The network that segments cells.
        discriminator: The network that tells generated masks from true ones.
        classifier: The network that classifies the staining pattern.
        loss: Losses and weights of equations 1 to 7.
        optimizer: One optimizer for each network.
        training: How the networks are trained.
        evaluation: How the networks are evaluated.
        trainer: Device, precision, length and batch size.
        callbacks: Additional Lightning callbacks, each under a name of your choice; None switches
            one off.
        logger: Where metrics are logged in addition to metrics.csv.
        optimized_metric: The metric that a sweep with hydra/sweeper=optuna optimises.
    """

    name: Name = Field(examples=["proposed"])
    study: Name = "default"
    seed: Seed = 0
    runs: Text = "runs"
    stores: Text = "stores"
    run_dir: Text = Field(examples=["runs/default/mine/seed0"])
    pretrained: bool = True
    init_from: Text | None = None
    data: Component
    target: Target = "pattern"
    split: SplitSettings = SplitSettings()
    normalisation: Normalisation = Normalisation()
    augmentation: Component = _component("hep2gan.data.transforms.augmentation.Augmentation")
    task: Component = _component("hep2gan.training.module.SegmentationGuidedClassification")
    model: ModelSettings = ModelSettings()
    generator: Component = _component("hep2gan.models.generator.DeepLabV3PlusGenerator")
    discriminator: Component = _component("hep2gan.models.discriminator.PatchGAN")
    classifier: Component = _component("hep2gan.models.classifier.TimmClassifier")
    loss: LossSettings = LossSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    training: TrainingSettings = TrainingSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    trainer: TrainerSettings = TrainerSettings()
    callbacks: dict[str, Component | None] = Field(default_factory=dict)
    logger: LoggerSettings = LoggerSettings()
    optimized_metric: Text = "val/f1"

    @cached_property
    def source(self) -> DataSource:
        """The typed settings of the data set, built from `data`."""
        return cast(DataSource, self.data.build())

    @property
    def stages(self) -> TrainingStages:
        """Which networks are trained in which epoch."""
        return TrainingStages(self.trainer.max_epochs if self.training.two_stage else None)

    @property
    def total_epochs(self) -> int:
        """Epochs of the training, all stages together."""
        return self.trainer.max_epochs * (2 if self.training.two_stage else 1)

    @property
    def trained_networks(self) -> tuple[str, ...]:
        """Names of the networks that this configuration trains, in the order of NETWORKS."""
        used = {
            "generator": self.model.segment,
            "discriminator": self.model.segment and self.loss.adversarial is not None,
            "classifier": self.model.classify,
        }
        return tuple(name for name in NETWORKS if used[name])

    def network(self, name: str) -> Component:
        """Return the component of a network.

        Args:
            name: Name of the network, one of `NETWORKS`.

        Returns:
            The component of `hep2gan.models`, or of a user's own package.
        """
        return cast(Component, getattr(self, name))

    def on_device(self, accelerator: Accelerator, eval_batch_size: int) -> "TrainConfig":
        """Return this configuration with a trainer on a single device.

        Args:
            accelerator: Accelerator of that device.
            eval_batch_size: Cells per batch in evaluation.

        Returns:
            A copy; nothing else differs.
        """
        one = {
            "accelerator": accelerator,
            "devices": 1,
            "num_nodes": 1,
            "eval_batch_size": eval_batch_size,
        }
        return self.model_copy(update={"trainer": self.trainer.model_copy(update=one)})

    def to_plain(self) -> dict[str, Any]:
        """Convert the configuration to plain containers.

        Returns:
            A mapping that `parse_config` turns into the same configuration.
        """
        return self.model_dump(mode="json", by_alias=True)


# ---------------------------------------------------------------- allowed classes

ALLOWED_CLASSES = frozenset(
    {
        "hep2gan.data.readers.icpr2016.Icpr2016Source",
        "hep2gan.data.readers.manifest.ManifestSource",
        "hep2gan.data.readers.folders.FoldersSource",
        "hep2gan.data.readers.icpr2012.Icpr2012Source",
        "hep2gan.data.readers.fields.FieldsSource",
        "hep2gan.data.readers.icpr_fields.Icpr2012FieldsSource",
        "hep2gan.data.readers.icpr_fields.Icpr2016FieldsSource",
        "hep2gan.data.phantom.generate.PhantomSource",
        "hep2gan.data.phantom.fields.PhantomFieldsSource",
        "hep2gan.data.fields.threshold.ThresholdFinder",
        "hep2gan.data.fields.cellpose.CellposeFinder",
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
        "hep2gan.training.callbacks.early_stopping.EarlyStopping",
        "hep2gan.training.callbacks.metrics.ThroughputMonitor",
    }
    | {f"torch.optim.{name}" for name in ("SGD", "Adam", "AdamW", "NAdam", "RAdam", "RMSprop")}
)
"""Classes that a configuration may name by `_target_` without `trusted`."""


def target_errors(
    values: Any, trusted: Sequence[str] = (), where: str = ""
) -> Iterator[tuple[str, Hep2ganError]]:
    """Find each `_target_` that may not be imported, and Hydra's other special keys.

    Args:
        values: Plain containers, nested to any depth.
        trusted: Packages of the user's own, e.g. ["mylab.networks"]; from the command line only.
        where: Dotted key of `values`.

    Yields:
        The dotted key, and the error.
    """
    if isinstance(values, Mapping):
        for key, value in values.items():
            place = f"{where}.{key}" if where else str(key)
            special = str(key).startswith("_") and str(key).endswith("_")
            if special and not (key == "_target_" and _is_allowed(value, trusted)):
                error = Hep2ganError(
                    f"{place} is {value!r}",
                    "a configuration may only name classes of this project's list and torch's"
                    " optimizers",
                    "check where the configuration comes from; for a class of your own add"
                    " trusted=[PACKAGE]",
                )
                yield place, error
            yield from target_errors(value, trusted, place)
    elif isinstance(values, list | tuple):
        for position, value in enumerate(values):
            yield from target_errors(value, trusted, f"{where}[{position}]")


def _is_allowed(target: Any, trusted: Sequence[str]) -> bool:
    return isinstance(target, str) and (
        target in ALLOWED_CLASSES
        or any(target.startswith(package.rstrip(".") + ".") for package in trusted)
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
"""Types of optimizer arguments, since torch's annotations have no bounds."""
PROVIDED: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(NETWORKS, ("image_size", "num_classes", "guided")),
    "optimizer": ("params",),
}
"""Arguments that the program provides to the components of a group; no configuration may."""


def parse_config(values: Mapping[str, Any], trusted: Sequence[str] = ()) -> TrainConfig:
    """Parse the composed configuration of a training into typed settings.

    Args:
        values: Plain containers without `trusted` and `doctor`, which concern a single start.
        trusted: Packages of the user's own whose classes `_target_` may name.

    Returns:
        The typed configuration.

    Raises:
        Hep2ganError: If anything is wrong; lists every error with its rule and fix.
    """
    raise_all(list(config_errors(values, trusted).values()))
    return TrainConfig.model_validate(values)


def parse_source(data: Component, trusted: Sequence[str] = ()) -> DataSource:
    """Parse the group `data` into the typed settings of a data set.

    Args:
        data: A component whose target is a subclass of `DataSource`.
        trusted: As in `parse_config`.

    Returns:
        The settings of the data set.

    Raises:
        Hep2ganError: If anything is wrong; lists every error.
    """
    plain = data.model_dump(by_alias=True)
    raise_all([error for _, error in target_errors(plain, trusted, "data")])
    raise_all(list(_errors_of_component(data, "data").values()))
    return cast(DataSource, data.build())


def parse_finder(cells: Component, trusted: Sequence[str] = ()) -> CellFinder:
    """Parse the group `cells` into what finds the cells of fields.

    Args:
        cells: A component whose target follows `CellFinder`.
        trusted: As in `parse_config`.

    Returns:
        The finder.

    Raises:
        Hep2ganError: If anything is wrong; lists every error.
    """
    plain = cells.model_dump(by_alias=True)
    raise_all([error for _, error in target_errors(plain, trusted, "cells")])
    raise_all(list(_errors_of_component(cells, "cells").values()))
    if not callable(getattr(cells.load(), "find", None)):
        raise Hep2ganError(
            f"cells._target_ is {cells.target!r}, which has no method find",
            "it is called with each field and the usual diameter of a cell, see CellFinder",
            "give it that method, or set cells=threshold",
        )
    return cast(CellFinder, cells.build())


def parse_run(run: RunFolder, trusted: Sequence[str] = ()) -> TrainConfig:
    """Parse the configuration that a run folder holds.

    Args:
        run: The run folder.
        trusted: As in `parse_config`.

    Returns:
        The typed configuration.

    Raises:
        Hep2ganError: If it is not the configuration of a training; names the file.
    """
    with errors_naming(str(run.config_file)):
        return parse_config(run.config(), trusted)


@contextmanager
def errors_naming(where: str, fix: str = RESTORE) -> Iterator[None]:
    """Prefix errors raised in the block with where their configuration comes from.

    Args:
        where: The file, or words for it.
        fix: What helps where an error has no fix of its own.

    Raises:
        Hep2ganError: Any from the block, with `where` in front unless it names it already.
    """
    try:
        yield
    except Hep2ganError as error:
        if where in error.fact:
            raise
        raise Hep2ganError(f"{where}: {error.fact}", error.rule, error.fix or fix) from error


def parse_sound_part(
    values: Mapping[str, Any], trusted: Sequence[str] = ()
) -> tuple[TrainConfig, dict[str, Hep2ganError]]:
    """Parse a configuration with defaults in place of wrong values, to check the rest of it.

    Args:
        values: As in `parse_config`.
        trusted: As in `parse_config`.

    Returns:
        The configuration, and the errors of `values` by dotted key.

    Raises:
        Hep2ganError: If a wrong value has no default; lists every error.
    """
    every = _errors_and_copies(values, trusted)
    errors = _without_copies(every, values)
    sound = deepcopy(dict(values))
    for key in every:
        *groups, last = key.removesuffix("._target_").split(".")
        group = value_at(sound, groups)
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
    """Find everything that is wrong with the configuration of a training.

    Args:
        values: As in `parse_config`.
        trusted: As in `parse_config`.

    Returns:
        The errors by dotted key; empty if the configuration is valid.
    """
    return _without_copies(_errors_and_copies(values, trusted), values)


def _errors_and_copies(
    values: Mapping[str, Any], trusted: Sequence[str]
) -> dict[str, Hep2ganError]:
    errors = errors_of(TrainConfig, values) | dict(target_errors(values, trusted))
    for key, component in _components(values):
        if not any(wrong == key or wrong == f"{key}._target_" for wrong in errors):
            errors |= _errors_of_component(component, key)
    for key in errors:
        if words := _OF_LIGHTNING.get(key.removeprefix("trainer.")):
            errors[key] = Hep2ganError(f"nothing reads the key {key}", *words)
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
"""The base class that the class of a group must have, since all its users rely on it."""


def _errors_of_component(component: Component, key: str) -> dict[str, Hep2ganError]:
    provided = PROVIDED.get(key.partition(".")[0], ())
    if key == "task":
        return {}  # Its arguments are networks and losses, which training.build provides.
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
    """Tell whether a value repeats that of a wrong key, as split.seed repeats seed."""
    last = key.rpartition(".")[2]
    value = value_at(values, key.split("."))
    return last != key and last in errors and repr(value) == repr(values[last])
