"""Provenance of a run: code, packages, networks, data and split, as plain containers."""

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from hep2gan.io import read_json, write_json

PACKAGES = (
    "hep2gan", "torch", "torchvision", "lightning", "timm", "segmentation-models-pytorch",
    "torchmetrics", "hydra-core", "omegaconf", "numpy", "scipy", "scikit-learn", "wandb",
)  # fmt: skip
"""Packages whose version may affect a result."""


EVALUATION_PRECISION = "float32"
"""Of every test, prediction and export, whatever a run was trained in."""


def provenance(
    *,
    data: Mapping[str, Any],
    split: Mapping[str, Any],
    parameters: Mapping[str, int],
    training: Mapping[str, Any],
    evaluation: Mapping[str, Any],
) -> dict[str, Any]:
    """Record everything that a result may depend on and that the configuration does not state.

    Args:
        data: Properties of the packed cells: name, fingerprint, cells, size, classes.
        split: Kind and seed of the split, and the number of cells by part.
        parameters: Number of parameters by network.
        training: Number of epochs, the run that the weights were taken from, and the precision.
        evaluation: Precision of test and prediction.

    Returns:
        Plain containers, for JSON.
    """
    return {
        "revision": revision(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "versions": versions(),
        "parameters": dict(parameters),
        "training": dict(training),
        "evaluation": dict(evaluation),
        "data": dict(data),
        "split": dict(split),
    }


def revision(package: Path = Path(__file__).parents[1]) -> str | None:
    """Return the Git revision of the checkout that holds the package.

    Args:
        package: Folder of the package.

    Returns:
        The commit hash, with "-dirty" if the code was changed; None outside of a checkout, as when
        installed from a wheel, or without git.
    """
    # A package installed below somebody's checkout is not tracked by it.
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    head = _git(package, "rev-parse", "HEAD")
    beside = [path for path in (package, package.parent / "conf") if path.is_dir()]
    changed = _git(package, "status", "--porcelain", "--", *map(str, beside))
    return f"{head}-dirty" if head and changed else head


def _git(folder: Path, *arguments: str) -> str | None:
    # A hook's or a caller's GIT_DIR would point to another repository.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True, text=True, timeout=20, env=environment, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def versions(more: Sequence[str] = ()) -> dict[str, str]:
    """Return the versions of installed packages.

    Args:
        more: Distributions besides `PACKAGES`.

    Returns:
        Version by name; packages that are not installed are left out.
    """
    found = {}
    for name in (*PACKAGES, *more):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def write_provenance(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record as JSON; keep differing records of earlier starts under "earlier".

    Args:
        path: The run's provenance.json.
        record: As from `provenance`.
    """
    earlier = read_provenance(path)
    kept = earlier.pop("earlier", []) + ([earlier] if earlier else [])
    others = [old for old in kept if old != record]
    content = {**record, **({"earlier": others} if others else {})}
    write_json(path, content)


def read_provenance(path: Path) -> dict[str, Any]:
    """Read the record of a run; empty if it is missing or damaged.

    Args:
        path: The run's provenance.json.
    """
    try:
        return read_json(path)
    except ValueError:
        return {}
