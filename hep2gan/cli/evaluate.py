"""hep2gan-evaluate: test a trained run again."""

from pathlib import Path
from typing import Any

from hep2gan.cli.app import run


def evaluate(config: dict[str, Any]) -> None:
    """Test a trained run again and print its metrics.

    Args:
        config: The resolved configuration, see `EvaluateSettings`.
    """
    from hep2gan.cli.settings import EvaluateSettings
    from hep2gan.config import parse_run
    from hep2gan.data.prepare import open_store_of_run
    from hep2gan.data.splits import Split
    from hep2gan.data.store.integrity import verify
    from hep2gan.inference.load import load_run
    from hep2gan.runs.folder import RunFolder
    from hep2gan.settings import parse
    from hep2gan.training.evaluation import evaluate_run, format_summary
    from hep2gan.training.setup import build_data

    settings = parse(EvaluateSettings, config)
    run = RunFolder.open(Path(settings.run))
    own = parse_run(run, settings.trusted)
    if own.model.baseline:
        from hep2gan.training.forest import evaluate_forest

        metrics = evaluate_forest(run, own, settings.checkpoint, settings.store, settings.figures)
        print(f"{format_summary(metrics)}\n\n{run.path}, grown again")
        return
    trained = load_run(run.path, settings.checkpoint, settings.trusted)
    store = open_store_of_run(run, settings.store)
    verify(store)
    here = trained.config.on_device(settings.accelerator, settings.batch_size)
    metrics = evaluate_run(
        trained.task,
        build_data(here, store, Split.load(run.path, store)),
        run,
        here,
        figures=settings.figures,
    )
    print(f"{format_summary(metrics)}\n\n{run.path} with {trained.checkpoint.name}")


def main() -> None:
    """Run the command."""
    run(evaluate, "evaluate", ("run",))


if __name__ == "__main__":
    main()
