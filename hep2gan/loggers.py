"""Where curves go beside metrics.csv: Weights & Biases, TensorBoard."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger

from hep2gan.errors import Hep2ganError


def build_logger(config: Mapping[str, Any], run: Path) -> Logger | None:
    """The logger that `logger=` names, None for csv alone.

    wandb is offline unless a key is set (WANDB_API_KEY or `wandb login`) or mode says otherwise.
    """
    settings = config["logger"]
    builders: dict[str, Callable[[Mapping[str, Any], Path], Logger | None]] = {
        "csv": lambda config, run: None,
        "wandb": _wandb,
        "tensorboard": _tensorboard,
    }
    if settings["kind"] not in builders:
        raise Hep2ganError(
            f"logger.kind is {settings['kind']!r}", f"choose from {', '.join(builders)}"
        )
    return builders[settings["kind"]](config, run)


def _wandb(config: Mapping[str, Any], run: Path) -> Logger:
    from lightning.pytorch.loggers import WandbLogger

    settings = config["logger"]
    mode = settings["mode"] or ("online" if _has_wandb_key() else "offline")
    logger = WandbLogger(
        project=settings["project"],
        entity=settings["entity"],
        name=f"{config['name']}-seed{config['seed']}",
        group=config["study"],
        job_type=config["name"],
        tags=list(settings["tags"]),
        save_dir=run,
        mode=mode,
        config=dict(config),
    )
    for pattern in ("train/*", "val/*", "lr/*"):
        logger.experiment.define_metric(pattern, step_metric="epoch")
    logger.experiment.define_metric("step/*", step_metric="trainer/global_step")
    return logger


def _has_wandb_key() -> bool:
    import wandb

    return bool(os.environ.get("WANDB_API_KEY")) or wandb.login(prompt=False)


def _tensorboard(config: Mapping[str, Any], run: Path) -> Logger:
    try:
        from lightning.pytorch.loggers import TensorBoardLogger

        return TensorBoardLogger(run, name="tensorboard", version="")
    except ModuleNotFoundError as error:
        raise Hep2ganError(
            "logger=tensorboard, but TensorBoard is not installed",
            "",
            'pip install "hep2gan[tensorboard]"',
        ) from error


def log_results(
    logger: Logger | None, metrics: Mapping[str, float], figures: Mapping[str, Path]
) -> None:
    """Send the test's metrics and figures (PNG files by name) to the dashboard."""
    if logger is None:
        return
    logger.log_metrics(dict(metrics))
    from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger

    if isinstance(logger, WandbLogger):
        import wandb

        pictures = {f"figure/{name}": wandb.Image(str(path)) for name, path in figures.items()}
        logger.experiment.log(pictures)
        logger.experiment.summary.update(dict(metrics))
    elif isinstance(logger, TensorBoardLogger):
        import numpy as np
        from PIL import Image

        for name, path in figures.items():
            pixels = np.asarray(Image.open(path).convert("RGB"))
            logger.experiment.add_image(f"figure/{name}", pixels, dataformats="HWC")


def finish(logger: Logger | None, failed: bool) -> None:
    """Close the dashboard's run, marked failed where it failed."""
    from lightning.pytorch.loggers import WandbLogger

    if isinstance(logger, WandbLogger):
        logger.experiment.finish(exit_code=1 if failed else 0)
