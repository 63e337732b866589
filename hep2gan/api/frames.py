"""Tables as pandas data frames, where pandas is installed."""

from typing import Any

from hep2gan.errors import Hep2ganError


def import_pandas() -> Any:
    """Import pandas, which an extra installs.

    Returns:
        The module.

    Raises:
        Hep2ganError: It is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise Hep2ganError(
            "to_frame() makes a data frame of pandas, which is not installed",
            "an extra brings it",
            'pip install "hep2gan[notebook]"',
        ) from error
    return pandas
