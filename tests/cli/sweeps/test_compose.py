"""Jobs composed from overrides, without and with Hydra's own command."""

import subprocess
import sys

import pytest

from hep2gan.cli import train as train_command
from hep2gan.cli.launch.jobs import Outcome
from hep2gan.cli.sweeps.compose import jobs_from_overrides
from hep2gan.errors import Hep2ganError
from tests.helpers.commands import call

TRICKY = {
    "lists": ["augmentation.gain=[0.7, 1.5],[1.0,5.0]"],
    "further keys": ["method=intensity,gao", "+tag='a b',c", "trainer.max_epochs=range(1,3)"],
    "groups": [
        "split=random,block",
        "hydra/job_logging=console",
        "split.group_duplicates=false,true",
    ],
    "one value": ["split.fold=choice(0)", "split=choice(block)"],
    "slashes": ["generator.weights=null", "+note=a/b,'c,d'"],
    "long names": [f"+note={'x' * 150}1,{'x' * 150}2"],
    "names of their own": ["name='a name'", "seed=3,1", "study=b", "runs=elsewhere"],
}


@pytest.mark.parametrize("overrides", TRICKY.values(), ids=TRICKY)
def test_the_jobs_from_overrides_a_sweep_are_known_beforehand(overrides, monkeypatch, tmp_path):
    launched = []

    def noted(jobs, slots, again):
        launched.extend(jobs)
        return [Outcome(job, None) for job in jobs]

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hep2gan.cli.launch.processes.run_jobs", noted)
    assert call(train_command, *overrides, "-m") == 0
    assert jobs_from_overrides(overrides) == launched != []


@pytest.mark.integration
def test_launchers_are_found_by_a_hydra_that_has_looked_before():
    script = (
        "from hydra.core.plugins import Plugins; before = Plugins.instance();"
        "from hep2gan.cli.sweeps.compose import jobs_from_overrides as jobs; jobs(['seed=0,1']);"
        "names = Plugins.instance().class_name_to_class; assert Plugins.instance() is before;"
        "print(sorted(n.rpartition('.')[2] for n in names if 'hydra_plugins.hep2gan' in n))"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout
    assert "'ProcessLauncher'" in told
    assert "'SlurmSweep'" in told
    assert "'OptunaSweep'" in told


def test_jobs_that_a_sweeper_chooses_cannot_be_known():
    with pytest.raises(Hep2ganError, match=r"must be known before. Fix: leave hydra/sweeper out"):
        jobs_from_overrides(["hydra/sweeper=optuna"])
