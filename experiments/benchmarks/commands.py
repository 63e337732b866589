"""What answers while a command is typed, against importing Hydra and nothing else."""

from collections.abc import Mapping

from experiments.benchmarks.processes import process_ratio, python
from experiments.benchmarks.rows import Row

TYPED = "hep2gan-train method="


def measure() -> list[Row]:
    """Help, the composed configuration, tab completion."""
    return [
        _row("`hep2gan-train --help`", "--help"),
        _row("`hep2gan-train --cfg job`", "--cfg", "job"),
        _row("tab completion", "-sc", "query=bash", environment=typed(TYPED)),
    ]


def _row(what: str, *words: str, environment: Mapping[str, str] | None = None) -> Row:
    ratio = process_ratio(
        train(*words), python("-c", "import hydra"), pairs=15, environment=environment
    )
    return Row(what, '`python -c "import hydra"`', "at most", 2.5, ratio)


def train(*words: str) -> list[str]:
    """The command, as its script starts it."""
    return python("-c", "from hep2gan.cli.train import main; main()", *words)


def typed(words: str) -> dict[str, str]:
    """What bash tells a completion of the words before the cursor."""
    return {"COMP_LINE": words, "COMP_POINT": str(len(words))}
