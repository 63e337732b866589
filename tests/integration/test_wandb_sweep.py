"""experiments/dashboards/wandb_sweep.yaml gives command lines that Hydra composes."""

from pathlib import Path

import pytest
import yaml
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from hep2gan.cli.app import name_positionals
from hep2gan.metrics.validation import monitor_name
from tests.helpers.configs import composed

FILE = Path(__file__).parents[2] / "experiments/dashboards/wandb_sweep.yaml"


@pytest.mark.skipif(not FILE.exists(), reason="experiments are not part of the installed package")
def test_the_agents_command_line_composes_and_names_the_trial(monkeypatch):
    sweep = yaml.safe_load(FILE.read_text())
    chosen = {name: space["min"] for name, space in sweep["parameters"].items()}
    arguments = create_sweep_command_args({"args": {k: {"value": v} for k, v in chosen.items()}})
    command = create_sweep_command(sweep["command"])
    line = []
    for part in command:
        if part == "${args_no_hyphens}":
            line += arguments["args_no_hyphens"]
        elif part != "${env}":
            line.append(part.replace("${program}", sweep["program"]))
    program, *overrides = [part for part in line if part not in ("/usr/bin/env", "env")]
    assert program == "hep2gan-train"
    assert not any("${" in part and "oc.env" not in part for part in line)
    monkeypatch.setenv("WANDB_RUN_ID", "abc123")
    config = composed("train", *name_positionals(overrides, ()))
    assert config["run_dir"] == "runs/wandb_sweep/proposed,trial-abc123/seed0"
    assert config["logger"]["wandb"] is True
    assert config["optimized_metric"] == sweep["metric"]["name"]
    assert config["split"]["validation_fraction"] == 0.1
    # Judged and ended early by a metric that each epoch logs.
    assert sweep["metric"]["name"] == monitor_name(config["model"]["classify"])
    assert config["trainer"]["check_val_every_n_epoch"] == 1
    assert 0 < sweep["early_terminate"]["min_iter"] < config["trainer"]["max_epochs"]
    assert config["loss"]["alpha"] == chosen["loss.alpha"]
    assert config["optimizer"]["discriminator"]["lr"] == chosen["optimizer.discriminator.lr"]
