"""A rank that tests a trained run with the others: the run's own code, into another folder."""

import json
import sys
from pathlib import Path

from hep2gan.config import TrainerSettings
from hep2gan.data.splits import Split
from hep2gan.data.store.store import Store
from hep2gan.inference.load import load_run
from hep2gan.runs.folder import RunFolder
from hep2gan.training import distributed
from hep2gan.training.evaluation import evaluate_run
from hep2gan.training.setup import build_data


def main(run, out, devices, eval_batch_size):
    if devices > 1:
        distributed.init_process_group(TrainerSettings(accelerator="cpu"))
    trained = load_run(run, trusted=["tests.integration.nets"])
    trainer = {"devices": devices, "eval_batch_size": eval_batch_size}
    config = trained.config.model_copy(
        update={"trainer": trained.config.trainer.model_copy(update=trainer)}
    )
    store = Store.open(trained.store)
    data = build_data(config, store, Split.load(run, store))
    out.mkdir(parents=True, exist_ok=True)
    metrics = evaluate_run(trained.task, data, RunFolder(out), config, figures=False)
    distributed.destroy_process_group()
    print(json.dumps(metrics))


main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
