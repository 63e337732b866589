"""Segmentation guided HEp-2 cell classification with adversarial networks.

The names below are the Python interface, see docs/python.md. They are imported when they are first
used, so that `import hep2gan` takes no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hep2gan.api.commands import pack, report, train
    from hep2gan.api.ensembles import Ensemble, load_ensemble
    from hep2gan.api.predictions import CellPredictions
    from hep2gan.api.runs import Run, Runs, find_runs, load_run
    from hep2gan.errors import Hep2ganError

__version__ = "0.1.0"

_PLACES = {
    **dict.fromkeys(("pack", "report", "train"), "hep2gan.api.commands"),
    **dict.fromkeys(("Ensemble", "load_ensemble"), "hep2gan.api.ensembles"),
    **dict.fromkeys(("Run", "Runs", "find_runs", "load_run"), "hep2gan.api.runs"),
    "CellPredictions": "hep2gan.api.predictions",
    "Hep2ganError": "hep2gan.errors",
}

__all__ = [
    "CellPredictions",
    "Ensemble",
    "Hep2ganError",
    "Run",
    "Runs",
    "__version__",
    "find_runs",
    "load_ensemble",
    "load_run",
    "pack",
    "report",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'hep2gan' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
