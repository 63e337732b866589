"""Keep what the libraries say to themselves out of the user's terminal."""

import logging
import warnings

_NOISE = (
    "`isinstance\\(treespec, LeafSpec\\)` is deprecated",
    "The `srun` command is available on your system but is not used",
    "You're resuming from a checkpoint that ended before the epoch ended",
    "It is recommended to use `self.log\\(.*sync_dist=True\\)`",
    "The '(train|val|test)_dataloader' does not have many workers",
)


def quiet_libraries() -> None:
    """Silence greetings and advertisements; call after Lightning is imported, which resets them."""
    for name in ("lightning.pytorch", "lightning.fabric", "fontTools", "matplotlib"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in _NOISE:
        warnings.filterwarnings("ignore", message=message)
