"""torch's optimizers as a configuration names them, fused where that is possible."""

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
    """Check that an optimizer can be built as requested.

    Args:
        fused: true, false, or "auto": on GPUs, where there is such a form.
        kind: The optimizer's class.

    Raises:
        Hep2ganError: `fused` is none of these, or true where `kind` has no fused form.
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
    """Build an optimizer; it keeps its form whichever form a loaded checkpoint comes from.

    Args:
        groups: Parameter groups, whose parameters lie on their device already.
        kind: The optimizer's class.
        fused: See `check_fused`.
        arguments: More arguments of the class.

    Raises:
        Hep2ganError: See `check_fused`.
    """
    check_fused(fused, kind)
    groups = list(groups)
    if not has_fused_form(kind):
        return kind(groups, **arguments)
    on_gpu = all(p.device.type == "cuda" for group in groups for p in group["params"])
    # Not False: it would also switch torch's own choice between its other forms off.
    arguments["fused"] = (on_gpu if fused == "auto" else fused) or None
    optimizer = kind(groups, **arguments)
    optimizer.register_load_state_dict_pre_hook(_keep_fused)
    return optimizer


def _keep_fused(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    fused = optimizer.defaults["fused"]
    return state | {"param_groups": [group | {"fused": fused} for group in state["param_groups"]]}
