"""torch's optimizers as a configuration names them, fused where that is wanted."""

import inspect
from collections.abc import Iterable
from typing import Any, Literal

from torch.optim import Optimizer

from hep2gan.errors import Hep2ganError

FusedOption = bool | Literal["auto"]


def has_fused_form(kind: type[Optimizer]) -> bool:
    """Whether torch has this optimizer as one kernel that updates all parameters at once."""
    return "fused" in inspect.signature(kind).parameters


def check_fused(fused: Any, kind: type[Optimizer]) -> None:
    """Raise Hep2ganError for an unknown choice, and where `kind` has no fused form.

    fused: true, false, or auto: on GPUs, where there is such a form.
    """
    if fused != "auto" and not isinstance(fused, bool):
        raise Hep2ganError(
            f"trainer.fused_optimizers is {fused!r}", "choose from auto, true, false"
        )
    if fused is True and not has_fused_form(kind):
        raise Hep2ganError(
            f"trainer.fused_optimizers is true, and torch has no fused {kind.__name__}",
            "SGD, Adam and AdamW have that form",
            "set trainer.fused_optimizers=auto, or choose another optimizer",
        )


def build_optimizer(
    groups: Iterable[dict[str, Any]], *, kind: type[Optimizer], fused: FusedOption, **arguments: Any
) -> Optimizer:
    """The optimizer of class `kind` for parameter `groups` that lie on their device already.

    fused: see `check_fused`, whose errors it raises. A checkpoint may come from the other form:
    whatever it says of that, the optimizer stays as it was built.
    """
    check_fused(fused, kind)
    every = list(groups)
    if not has_fused_form(kind):
        return kind(every, **arguments)
    on_gpu = all(p.device.type == "cuda" for group in every for p in group["params"])
    wanted = on_gpu if fused == "auto" else fused
    # Not False: torch's own choice between its other forms would go with it.
    form: dict[str, Any] = {"fused": wanted or None}
    optimizer = kind(every, **arguments, **form)
    optimizer.register_load_state_dict_pre_hook(_stay_as_built)
    return optimizer


def _stay_as_built(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    fused = optimizer.defaults["fused"]
    return state | {"param_groups": [group | {"fused": fused} for group in state["param_groups"]]}
