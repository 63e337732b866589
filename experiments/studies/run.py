"""Train and summarize one study: `python experiments/studies/run.py NAME [KEY=VALUE …]`.

NAME is a file beside this one, which says the question and the sweep; overrides as for
hep2gan-train take the place of the study's own. Runs that are finished already are not trained
again; train=false trains none, and sums up those that are. Tables, figures and report.html go to
runs/<study>/report/; what shows a part of another study's runs, as figure_3 does, has a folder of
its own there.
"""

import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from hep2gan.cli.app import config_folder
from hep2gan.cli.errors import readable_errors
from hep2gan.cli.evaluate import evaluate
from hep2gan.cli.sweeps.compose import jobs_from_overrides
from hep2gan.cli.sweeps.jobs import check_splits
from hep2gan.cli.sweeps.objective import check_objective, objective_value
from hep2gan.errors import Hep2ganError, bullet_list, pluralize
from hep2gan.io import atomic_write, csv_text
from hep2gan.training.signals import SignalHandler

if TYPE_CHECKING:
    from hep2gan.cli.sweeps.jobs import TrainingJob

FOLDER = Path(__file__).parent
LAPTOP = ("data=phantom", "hydra.launcher.slots=2")
"""What scale=laptop means besides its compact networks: drawn cells, a job a core."""
TRAIN_NONE = "train=false"
"""Options of the study itself, not of its sweeps."""
LAUNCH = (sys.executable, "-m", "hep2gan.cli.train", "-m")
"""The command that trains a sweep, without its overrides."""
OF_ALL = frozenset({"method", "seed"})
"""Keys with a place of their own in the path of every run."""


class Study(NamedTuple):
    """A file of this folder. sweep: overrides of `hep2gan-train -m`. laptop: those of its own that
    scale=laptop adds. study: whose runs it shares. only: the files it makes; all if empty. alone:
    names of further sweeps, and what each changes about the first. reference: the method that each
    other is compared with; empty is the first sweep's where there are further ones, else the row
    below. cross: whether each run is tested on the sets of all others too. budget: values of keys
    that each method of the first sweep is trained with, of which it keeps those that are best on
    the validation part; the others are not reported."""

    name: str
    question: str
    sweep: list[str]
    laptop: list[str]
    study: str
    only: list[str]
    alone: dict[str, list[str]]
    reference: str
    cross: bool
    budget: dict[str, list[Any]]

    @classmethod
    def load(cls, name: str) -> "Study":
        """Read NAME.yaml. Raises Hep2ganError when there is none."""
        if name not in (known := studies()):
            raise Hep2ganError(
                f"there is no study {name!r}", "a study is a file of experiments/",
                f"choose from {', '.join(known)}",
            )  # fmt: skip
        found = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
        return cls(
            name,
            found["question"],
            found["sweep"],
            found.get("laptop", []),
            found.get("study", name),
            found.get("only", []),
            found.get("alone", {}),
            found.get("reference", ""),
            found.get("cross", False),
            found.get("budget", {}),
        )

    @property
    def title(self) -> str:
        """The heading of its report."""
        words = self.name.replace("_", " ").capitalize()
        return words.replace("Table 1", "Table I")

    def overrides(self, given: Sequence[str]) -> list[str]:
        """The whole command line: the study's overrides, `given` ones in place of the same keys.

        A single value of a key that the study sweeps over is swept over too: it then enters the
        names of the runs as it does among others, and what is trained once is found again.
        """
        on_laptop = "scale=laptop" in given
        folder = f"{self.study}_laptop" if on_laptop else self.study
        own = [f"study={folder}", *self.sweep, *((*LAPTOP, *self.laptop) if on_laptop else ())]
        own_study = Study.load(self.study)
        swept = {key_of(one) for one in own_study.sweep if is_swept(one)} | set(own_study.budget)
        named = [as_swept(one) if key_of(one) in swept - OF_ALL else one for one in given]
        return _last_of_each_key([*own, *named])

    def sweeps(self, given: Sequence[str]) -> list[list[str]]:
        """The command lines of all its sweeps: the first, then one for each change alone."""
        first = self.overrides(given)
        # What forests would be trained with has no place among further sweeps.
        plain = [one for one in first if key_of(one) not in self.budget]
        further = [
            _last_of_each_key([*plain, *changes, f"name={name}"])
            for name, changes in self.alone.items()
        ]
        tried = [f"{key}={','.join(map(str, values))}" for key, values in self.budget.items()]
        given_keys = {key_of(one) for one in given}
        return [[*first, *(one for one in tried if key_of(one) not in given_keys)], *further]

    def reference_among(self, runs: Sequence[Path], swept: str) -> str:
        """The method that each other of `runs` is compared with; empty is the row below.

        swept: the methods of the first sweep. An override may leave the reference out, or sweep
        over more than the study does: then no run is simply that method's.
        """
        from hep2gan.reports.naming import without_fold

        reference = self.reference or (swept if self.alone else "")
        return reference if reference in {without_fold(run.parent.name) for run in runs} else ""


def _last_of_each_key(overrides: Sequence[str]) -> list[str]:
    return list({key_of(override): override for override in overrides}.values())


def studies() -> list[str]:
    """The names of all studies: files of this folder that ask a question."""
    files = sorted(FOLDER.glob("*.yaml"))
    return [path.stem for path in files if "\nquestion: " in path.read_text(encoding="utf-8")]


def key_of(override: str) -> str:
    """What an override changes: `split.fold` of `split.fold=0,1`."""
    return override.partition("=")[0].lstrip("+")


def is_swept(override: str) -> bool:
    """Whether an override sweeps, as `split.fold=0,1`, `range(2)` and `choice(0)` do."""
    return bool(OverridesParser.create().parse_override(override).is_sweep_override())


def as_swept(override: str) -> str:
    """An override that sweeps, be it over one value.

    >>> as_swept("split.fold=0"), as_swept("split.fold=0,1")
    ('split.fold=choice(0)', 'split.fold=0,1')
    """
    key, _, value = override.partition("=")
    return override if is_swept(override) else f"{key}=choice({value})"


def trained(commands: Sequence[Sequence[str]]) -> int:
    """Launch each sweep by its overrides; the exit status of the first that failed, else 0.

    Told to stop, it lets the sweep that runs save and end, and raises `Stopped`.
    """
    statuses = []
    with SignalHandler().listening() as stop:
        for overrides in commands:
            with stop.deferred(), subprocess.Popen([*LAUNCH, *overrides]) as sweep:
                statuses.append(ended(sweep, stop))
    return next((status for status in statuses if status), 0)


def ended(sweep: subprocess.Popen[bytes], stop: SignalHandler) -> int:
    """The exit status of a sweep when it has ended; it is asked to stop when this process is."""
    told = False
    while (status := sweep.poll()) is None:
        # The terminal signals both, and a second Ctrl-C would not let the jobs save.
        if stop.signum not in (None, signal.SIGINT, signal.SIGHUP) and not told:
            sweep.send_signal(stop.signum)
            told = True
        time.sleep(0.1)
    return status


def sets_of(jobs: "Sequence[TrainingJob]") -> dict[str, dict[str, Any]]:
    """The group `data` of each set that the jobs train on, by the name of its store's folder."""
    found = {str(job.config["data"]["store"]): job.config["data"] for job in jobs}
    if len(found) < 2:
        raise Hep2ganError(
            f"all runs are trained on {next(iter(found))}",
            "this study trains on each of several sets and tests on all",
            "name packed sets, e.g. data=manifest data.name=lab_a,lab_b, or take scale=laptop",
        )
    return {re.sub(r"[^\w.+-]", "_", Path(store).name): data for store, data in found.items()}


def test_across(jobs: "Sequence[TrainingJob]") -> None:
    """Test each finished run on the sets of all others; what is tested already is left alone."""
    for job in jobs:
        for name, data in sets_of(jobs).items():
            done = job.run.external / name
            if job.run.done and data["store"] != job.config["data"]["store"] and not done.exists():
                given = {"run": str(job.run.path), "data": data, "as": name, "figures": False}
                given["cells"] = None  # sets of cells, not of fields
                accelerator = job.config["trainer"]["accelerator"]
                evaluate({**given, "accelerator": accelerator, "trusted": job.config["trusted"]})


class Tried(NamedTuple):
    """Values of a budget that a method was trained with. method: its name without them. name: the
    name of the runs. seeds: of the runs. score: the optimized metric of the validation part, mean
    over seeds. chosen: whether it is the method's best."""

    method: str
    name: str
    seeds: list[int]
    score: float
    chosen: bool


def try_budget(jobs: "Sequence[TrainingJob]", keys: Sequence[str]) -> list[Tried]:
    """Score the finished jobs of each method by their values of `keys`, and choose the best.

    Jobs that differ in nothing but the values of `keys` and the seed are one method; a job without
    validation, such as a forest, has no place here.

    Raises:
        Hep2ganError: Not all values of a method were trained with the same seeds.
    """
    groups: dict[str, dict[str, dict[int, float]]] = {}
    for job in jobs:
        if not job.config["model"]["baseline"]:
            name = job.config["name"]
            method = re.sub("|".join(rf",{re.escape(key)}=[^,]*" for key in keys), "", name)
            scores = groups.setdefault(method, {}).setdefault(name, {})
            scores[job.config["seed"]] = objective_value(job.run, job.config)
    found = []
    for method, by_name in groups.items():
        if len({frozenset(scores) for scores in by_name.values()}) > 1:
            listed = [f"{name}: seeds {sorted(scores)}" for name, scores in by_name.items()]
            raise Hep2ganError(
                f"the seeds that are finished differ\n{bullet_list(listed)}\n",
                "values are chosen by means over the same seeds",
                "leave train=false out, to train those that are missing",
            )
        means = {name: sum(scores.values()) / len(scores) for name, scores in by_name.items()}
        best = max(means, key=means.__getitem__)
        found += [
            Tried(method, name, sorted(by_name[name]), mean, name == best)
            for name, mean in means.items()
        ]
    return found


def write_budget(tried: Sequence[Tried], budget: Mapping[str, Sequence[Any]], table: Path) -> None:
    """Write what was tried as a CSV file, and print the choice of each method.

    It is said where the choice is the first or last value that was tried: one beyond may be better.
    """
    rows = [
        one._asdict() | {"seeds": " ".join(map(str, one.seeds)), "chosen": str(one.chosen).lower()}
        for one in tried
    ]
    table.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(table, csv_text(list(Tried._fields), rows))
    ends = {f"{key}={values[end]}" for key, values in budget.items() for end in (0, -1)}
    for one in tried:
        if one.chosen:
            last = ends.intersection(one.name.split(","))
            beyond = f"; {' and '.join(sorted(last))} is the end of what was tried" if last else ""
            print(f"{one.name} ({one.score:.4f} in validation{beyond})")


def main(arguments: Sequence[str]) -> int:
    """Train what is missing, then write the report; the exit status."""
    from hep2gan.reports.build import write_report

    if not arguments:
        print(__doc__, file=sys.stderr)
        return 2
    study = Study.load(arguments[0])
    given = [word for word in arguments[1:] if word != TRAIN_NONE]
    if wrong := [word for word in given if "=" not in word]:
        raise Hep2ganError(f"not understood\n{bullet_list(wrong)}\n", "overrides are KEY=VALUE")
    commands = study.sweeps(given)
    # Composed before any is trained: what is wrong with the last sweep is said at once.
    jobs = [job for overrides in commands for job in jobs_from_overrides(overrides)]
    if study.cross:
        sets_of(jobs)
    for job in jobs if study.budget else ():
        if not job.config["model"]["baseline"]:
            check_objective(job.config)
    status = 0
    if TRAIN_NONE not in arguments:
        check_splits(jobs)
        status = trained(commands)
    if jobs[0].config["doctor"]:
        return status
    done = [job for job in jobs if job.run.done]
    runs = [job.run.path for job in done]
    if status:
        some = f"{len(runs)} of {pluralize(len(jobs), 'run')} are finished"
        command = shlex.join(["make", study.name, *given, TRAIN_NONE])
        print(f"No report is written: {some}. To sum up these: {command}", file=sys.stderr)
        return status
    values = dict(override.split("=", 1) for override in commands[0])
    folder = Path(jobs[0].config["runs"]) / jobs[0].config["study"]
    if study.budget:
        tried = try_budget(done, list(study.budget))
        write_budget(tried, study.budget, folder / "report" / "budget.csv")
        worse = {one.name for one in tried if not one.chosen}
        runs = [job.run.path for job in done if job.config["name"] not in worse]
    if study.cross:
        test_across(jobs)
    written = write_report(
        runs,
        folder / "report" / (study.name if study.only else ""),
        title=study.title,
        question=study.question,
        only=study.only,
        reference=study.reference_among(runs, values["method"]),
    )
    print("\n".join(str(path) for path in written))
    return 0


if __name__ == "__main__":
    with readable_errors(config_folder() / "train.yaml"):
        sys.exit(main(sys.argv[1:]))
