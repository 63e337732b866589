"""hep2gan-evaluate: test a trained run again."""

from pathlib import Path
from typing import Any

from hep2gan.cli.app import run


def evaluate(config: dict[str, Any]) -> None:
    """Test the run of a resolved configuration and print its metrics."""
    from hep2gan.data.splits import Split
    from hep2gan.data.store.integrity import verify
    from hep2gan.data.store.store import Store
    from hep2gan.inference.load import load_run
    from hep2gan.runs.folder import RunFolder
    from hep2gan.training.evaluation import evaluate_run, format_summary
    from hep2gan.training.setup import build_data

    run = RunFolder.open(Path(config["run"]))
    if run.config().get("forest"):
        from hep2gan.training.forest import evaluate_forest

        metrics = evaluate_forest(run, config["checkpoint"], config["store"], config["figures"])
        print(f"{format_summary(metrics)}\n\n{run.path}, grown again")
        return
    trained = load_run(run.path, config["checkpoint"], config["trusted"])
    store = Store.open(Path(config["store"]) if config["store"] else trained.store)
    verify(store)
    split = Split.load(run.path, store)
    one_device = {"accelerator": config["accelerator"], "devices": 1, "nodes": 1}
    trained.config["trainer"] |= {"eval_batch_size": config["batch_size"], **one_device}
    data = build_data(trained.config, store, split)
    metrics = evaluate_run(trained.task, data, run, trained.config, figures=config["figures"])
    print(f"{format_summary(metrics)}\n\n{run.path} with {trained.checkpoint.name}")


def main() -> None:
    """Run the command."""
    run(evaluate, "evaluate", ("run",))


if __name__ == "__main__":
    main()
