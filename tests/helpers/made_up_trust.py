"""What the test of a made-up run found of how far to trust a cell."""

from dataclasses import replace

from hep2gan.runs.trust import Trust, UnlikeLimits

LIMIT = UnlikeLimits(
    quantile=0.975, entropy=0.8, squared=12.5, false_alarms=0.06, false_alarms_unseen=0.08,
    unseen_cells=90, unseen_specimens=7,
)  # fmt: skip
TRUST = Trust(
    classes=["a", "b"], checkpoint="checkpoints/best.ckpt", part="test", cells=120, specimens=9,
    temperature=1.7, calibration_error=0.1, calibration_error_scaled=0.02, error=0.2, aurc=0.04,
    aurc_ideal=0.02, risk=[(0.5, 0.05), (1.0, 0.2)], unlike=LIMIT, no_limits="",
)  # fmt: skip
WITHOUT = replace(
    TRUST, unlike=None, no_limits="the test part has 9 cells", specimens=None, checkpoint=None
)
