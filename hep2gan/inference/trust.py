"""Say in words how far predictions are to be trusted."""

from collections.abc import Sequence

from hep2gan.errors import pluralize
from hep2gan.runs.trust import Trust, UnlikeLimits
from hep2gan.statistics.trust import LEAST_CELLS


def describe_trust(
    trusts: Sequence[Trust | None], cells: int, unlike: int | None, *, calibrated: bool
) -> list[str]:
    """Say what probabilities and flags of predicted cells are worth.

    Args:
        trusts: What each run that predicts keeps; None without a test of its weights.
        cells: Number of predicted cells with class probabilities.
        unlike: How many of them are unlike the training; None without a limit.
        calibrated: Whether probabilities are scaled.

    Returns:
        One line for the probabilities, and one for the flags; none without cells.
    """
    if not cells:
        return []
    if len(trusts) > 1:
        return _describe_several(trusts, cells, unlike, calibrated)
    (trust,) = trusts
    if trust is None:
        return [
            "probabilities are as the networks give them, and cells unlike the training are not"
            " marked: these weights were not tested (hep2gan-evaluate does it)"
        ]
    lines = [_describe_probabilities(trust, calibrated)]
    if trust.unlike is None:
        return [*lines, f"cells unlike the training are not marked: {trust.no_limits}"]
    if unlike is not None:
        share = f"{unlike:,} of {pluralize(cells, 'cell')} {'is' if unlike == 1 else 'are'}"
        expected = describe_false_alarms(trust.unlike)
        lines.append(f"{share} unlike the training (unlike_training); {expected}")
    return lines


def _describe_several(
    trusts: Sequence[Trust | None], cells: int, unlike: int | None, calibrated: bool
) -> list[str]:
    untested = sum(trust is None for trust in trusts)
    scaled = "as the networks give them (calibrated=false)"
    if calibrated:
        scaled = "scaled by its own temperature"
        if untested:
            scaled += f", but for {untested} of {len(trusts)} runs, which were not tested"
    lines = [f"probabilities are means over {len(trusts)} runs, those of each {scaled}"]
    if unlike is None:
        lines.append("cells unlike the training are not marked: that needs limits of each run")
    else:
        lines.append(
            f"{unlike:,} of {pluralize(cells, 'cell')} {'is' if unlike == 1 else 'are'} unlike the"
            " training (unlike_training): further from all means, or less decided, than the average"
            " of the runs' limits; how often that errs was not tested"
        )
    return lines


def _describe_probabilities(trust: Trust, calibrated: bool) -> str:
    if not calibrated:
        return "probabilities are as the networks give them (calibrated=false)"
    before, after = trust.calibration_error, trust.calibration_error_scaled
    if trust.temperature == 1.0:
        few = trust.cells < LEAST_CELLS
        why = (
            "are too few for a temperature"
            if few
            else "gave no temperature that lowers the calibration error"
        )
        return (
            f"probabilities are as the networks give them: {trust.chosen_on} {why}; calibration"
            f" error on the test cells {100 * before:.1f} %"
        )
    errors = f"{100 * before:.1f} % before"
    if after is not None:
        # A temperature is not tested on the cells that it was fitted to.
        whose = (
            "" if trust.part == "validation" else ", each half scaled by the other's temperature"
        )
        errors += f", {100 * after:.1f} % after{whose}"
    return (
        f"probabilities are scaled by the temperature {trust.temperature:.2f} of"
        f" {trust.chosen_on}; calibration error on the test cells {errors}"
    )


def describe_false_alarms(limits: UnlikeLimits) -> str:
    """Say how many cells like those of the training are called unlike it.

    Args:
        limits: The limits.

    Returns:
        The rate on cells of unseen specimens where there are such, else on all test cells.
    """
    if limits.false_alarms_unseen is not None:
        return (
            f"so were {100 * limits.false_alarms_unseen:.1f} % of"
            f" {pluralize(limits.unseen_cells, 'test cell')} of"
            f" {pluralize(limits.unseen_specimens, 'specimen')} not in training"
        )
    if limits.false_alarms is not None:
        return (
            f"so were {100 * limits.false_alarms:.1f} % of the test cells; of specimens not in"
            " training it may be more"
        )
    return f"each limit keeps {100 * limits.quantile:g} % of the cells that it was chosen on"
