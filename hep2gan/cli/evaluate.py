"""hep2gan-evaluate: test a trained run again."""

from typing import TYPE_CHECKING

from hep2gan.cli.app import run

if TYPE_CHECKING:
    from omegaconf import DictConfig


def evaluate(config: "DictConfig") -> None:
    """Entry point behind Hydra: plain containers from here on."""
    from pathlib import Path

    from hep2gan.cli.app import resolve_config
    from hep2gan.data.splits import Split
    from hep2gan.data.store.integrity import verify
    from hep2gan.data.store.store import Store
    from hep2gan.inference.load import load_run
    from hep2gan.runs.folder import RunFolder
    from hep2gan.training.evaluation import evaluate_run, format_summary
    from hep2gan.training.setup import build_data

    plain = resolve_config(config)
    run = RunFolder.open(Path(plain["run"]))
    if run.config().get("forest"):
        from hep2gan.training.forest import evaluate_forest

        metrics = evaluate_forest(run, plain["checkpoint"], plain["store"], plain["figures"])
        print(f"{format_summary(metrics)}\n\n{run.path}, grown again")
        return
    trained = load_run(Path(plain["run"]), plain["checkpoint"], plain["trusted"])
    store = Store.open(Path(plain["store"]) if plain["store"] else trained.store)
    verify(store)
    split = Split.load(trained.run.path, store)
    alone = {"accelerator": plain["accelerator"], "devices": 1, "nodes": 1}
    trained.config["trainer"] |= {"eval_batch_size": plain["batch_size"], **alone}
    data = build_data(trained.config, store, split)
    metrics = evaluate_run(
        trained.task, data, trained.run, trained.config, figures=plain["figures"]
    )
    print(f"{format_summary(metrics)}\n\n{trained.run.path} with {trained.checkpoint.name}")


def main() -> None:
    """Run the command."""
    run(evaluate, "evaluate", ("run",))


if __name__ == "__main__":
    main()
