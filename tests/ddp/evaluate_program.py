"""A rank that tests a trained run with the others: the run's own code, into another folder."""

import json
import sys
from pathlib import Path

from hep2gan import ranks
from hep2gan.data.split_files import Split
from hep2gan.data.store import Store
from hep2gan.evaluation import evaluate_run
from hep2gan.run_folder import RunFolder
from hep2gan.trained import open_run
from hep2gan.training import build_data


def main(run, out, devices, eval_batch_size):
    if devices > 1:
        ranks.join("cpu")
    trained = open_run(run, trusted=["tests.ddp.nets"])
    trained.config["trainer"] |= {"devices": devices, "eval_batch_size": eval_batch_size}
    store = Store.open(trained.store)
    data = build_data(trained.config, store, Split.load(run, store))
    out.mkdir(parents=True, exist_ok=True)
    metrics = evaluate_run(trained.task, data, RunFolder(out), trained.config, figures=False)
    ranks.leave()
    print(json.dumps(metrics))


main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
