"""Keep what the libraries say to themselves out of the user's terminal."""

import logging
import warnings

_DEPRECATIONS = (
    "`isinstance\\(treespec, LeafSpec\\)` is deprecated",
    "The '(train|val|test)_dataloader' does not have many workers",
)


def quiet_libraries() -> None:
    """Silence greetings and advertisements; call after Lightning is imported, which resets them."""
    for name in ("lightning.pytorch", "lightning.fabric", "fontTools", "matplotlib"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in _DEPRECATIONS:
        warnings.filterwarnings("ignore", message=message)
