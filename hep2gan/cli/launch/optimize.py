"""An Optuna study of jobs: kept beside its runs, continued by a restart, ended by no trial."""

import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote

import optuna
from hydra.core.utils import JobReturn, JobStatus
from hydra.utils import instantiate
from hydra_plugins.hydra_optuna_sweeper._impl import create_params_from_overrides
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.engine import URL

from hep2gan.cli.launch.hydra import QuietReturn, Sweep
from hep2gan.cli.launch.jobs import Job
from hep2gan.errors import Hep2ganError, bullet_list, pluralize
from hep2gan.io import Owner, atomic_write, to_yaml

log = logging.getLogger(__name__)

_OWNER, _RUN = "hep2gan/owner", "hep2gan/run"
"""What a trial keeps beside the keys of its command line: who runs it, and its folder."""
_SHOWN = 20
"""Trials in the table at the end."""


class StudyOptions(NamedTuple):
    """What a study needs beside its sampler and its search space.

    Attributes:
        direction: "maximize" or "minimize".
        n_trials: Trials in all.
        n_jobs: Trials that are chosen together, before any of them has ended.
        max_failure_rate: Part of the trials that may fail, 0 to 1.
    """

    direction: str
    n_trials: int
    n_jobs: int = 1
    max_failure_rate: float = 0.5


class StudiedSweep(Sweep, Protocol):
    """A sweep whose jobs may be the trials of a study."""

    @property
    def free_keys(self) -> frozenset[str]:
        """Keys that may change between two starts of a study."""

    def check_objective(self, job: Job) -> str:
        """Check that a job measures what is to be optimized; returns its name.

        Raises:
            Hep2ganError: It does not.
        """

    def report(self, study: Path) -> str:
        """Write what to do with the finished runs in the folder of a study."""


class StudySweep:
    """The trials of one study; the same command continues what an earlier start left.

    Args:
        plugin: The sweeper of hydra-optuna-sweeper after its setup, with its launcher.
        arguments: The overrides of the command line.
        sweep: What its jobs are.
        options: What the configuration says of the study.
    """

    def __init__(
        self, plugin: Any, arguments: Sequence[str], sweep: StudiedSweep, options: StudyOptions
    ) -> None:
        self.sweep, self.options, self.n_trials = sweep, options, options.n_trials
        plugin._process_searchspace_config()
        words = [*plugin._parse_sweeper_params_config(), *arguments]
        # The plugin for Hydra 1.4 returns ~KEY as well, and has no hydra.sweeper.search_space.
        space, self.fixed, *self.deleted = create_params_from_overrides(words)
        space = {**(getattr(plugin, "search_space_distributions", None) or {}), **space}
        self.plugin = plugin
        self.space = {key: value for key, value in space.items() if key not in self.fixed}
        self.folder = Path(plugin.config.hydra.sweep.dir)

    def example(self) -> list[str]:
        """Make the overrides of a run like those of the trials, to check before any starts.

        Returns:
            One override for each key.
        """
        chosen = {key: _lowest(distribution) for key, distribution in self.space.items()}
        words = [f"{key}={value}" for key, value in {**chosen, **self.fixed}.items()]
        return [*words, *chain.from_iterable(self.deleted)]

    def run(self) -> None:
        """Run up to n_trials in all; write and log the results.

        Raises:
            Hep2ganError: Nothing can be optimized, the study was begun with other settings, or
                more trials failed than hydra.sweeper.max_failure_rate allows.
        """
        loader = self.plugin.hydra_context.config_loader
        jobs = self.sweep.compose(loader, self.plugin.config, [self.example()], 0)
        self.metric = self.sweep.check_objective(jobs[0])
        self.sweep.warn(jobs)
        self.sweep.check(jobs)
        self.study = self._open()
        self._require_same()
        left = list(self._left_by_others())
        try:
            while (count := self.n_trials - self._taken(left)) > 0:
                trials = [self._ask(left) for _ in range(min(count, self.options.n_jobs))]
                self._run_trials(trials)
        except BaseException:
            log.info(
                "%d of %s are told to the study",
                self._taken([]) - len(self._running()),
                pluralize(self.n_trials, "trial"),
            )
            raise
        self._finish()

    def _open(self) -> optuna.Study:
        self.folder.mkdir(parents=True, exist_ok=True)
        # As an address of its own kind, in which any name of a folder can be written.
        file = f"file:{quote(str(self.folder / 'optuna.db'))}"
        # SQLAlchemy 2.1 quotes an address once more, 1.4 does not.
        beside = URL.create("sqlite", database=file, query={"uri": "true"}).render_as_string()
        optuna.logging.set_verbosity(logging.WARNING)
        if self._is_grid():
            choices = {k: self.plugin._to_grid_sampler_choices(v) for k, v in self.space.items()}
            self.plugin.sampler = self.plugin.sampler(choices)
            self.n_trials = min(self.n_trials, math.prod(map(len, choices.values())))
        return optuna.create_study(
            study_name=self.plugin.study_name,
            storage=self.plugin.storage or beside,
            sampler=self.plugin.sampler,
            direction=self.options.direction,
            load_if_exists=True,
        )

    def _is_grid(self) -> bool:
        return getattr(self.plugin.sampler, "func", None) is optuna.samplers.GridSampler

    def _require_same(self) -> None:
        """Refuse to go on with trials whose objective means something else."""
        if not (trials := [trial for trial in self.study.trials if trial.distributions]):
            return
        then = self._compared({**trials[0].user_attrs, **trials[0].distributions})
        now = self._compared({**self.fixed, **self.space})
        changed = [
            f"{key}: {then.get(key, 'absent')} there, {now.get(key, 'absent')} here"
            for key in sorted(then.keys() | now.keys())
            if str(then.get(key)) != str(now.get(key))
        ]
        if changed:
            raise Hep2ganError(
                f"the study {self.study.study_name} was begun with other settings\n"
                f"{bullet_list(changed)}\n",
                "the trials of a study are compared with each other",
                "give the new study its own name with study=…",
            )

    def _compared(self, values: Mapping[str, Any]) -> dict[str, Any]:
        free = self.sweep.free_keys | {_OWNER, _RUN}
        return {key: value for key, value in values.items() if key not in free}

    def _running(self) -> list[FrozenTrial]:
        return [trial for trial in self.study.trials if trial.state == TrialState.RUNNING]

    def _left_by_others(self) -> Iterator[FrozenTrial]:
        """Trials that an earlier start began and did not end; their runs can go on."""
        for trial in self._running():
            text = trial.user_attrs.get(_OWNER)
            owner = Owner(**json.loads(text)) if text else None
            if owner is None or owner.has_ended:
                yield trial
            else:
                log.info("Trial %d is trained by %s", trial.number, owner)

    def _taken(self, left: Sequence[FrozenTrial]) -> int:
        return len(self.study.trials) - len(left)

    def _ask(self, left: list[FrozenTrial]) -> Trial:
        settings, number = self.plugin.config.hydra.sweeper.sampler, len(self.study.trials)
        if settings.get("seed") is not None:
            # By the trial's number: a study that goes on does not draw its first trials again.
            self.study.sampler = instantiate(settings, seed=settings.seed + number)
        trial = Trial(self.study, left.pop(0)._trial_id) if left else self.study.ask()
        trial.set_user_attr(_OWNER, json.dumps(Owner.current()._asdict()))
        return trial

    def _run_trials(self, trials: Sequence[Trial]) -> None:
        overrides = self.plugin._configure_trials(trials, self.space, self.fixed, *self.deleted)
        for trial, result in zip(trials, self._launch(overrides, trials[0].number), strict=True):
            trial.set_user_attr(_RUN, result.working_dir or "")
            try:
                value = float(result.return_value)
                if not math.isfinite(value):
                    raise Hep2ganError(f"{self.metric} is {value}")
            except Exception as error:  # Whatever the job failed of.
                self._tell(trial, None, TrialState.FAIL)
                log.warning("Trial %d failed, the study goes on: %s", trial.number, error)
            else:
                self._tell(trial, value, TrialState.COMPLETE)
                log.info("Trial %d: %s %.4g", trial.number, self.metric, value)

    def _tell(self, trial: Trial, value: float | None, state: TrialState) -> None:
        try:
            self.study.tell(trial, value, state)
        except RuntimeError as error:
            # The sampler of a grid asks the study to stop after its last cell.
            if "Study.stop" not in str(error):
                raise

    def _launch(self, overrides: Sequence[Sequence[str]], first: int) -> Sequence[JobReturn]:
        """The outcomes of trials; where they cannot be composed together, one by one."""
        try:
            return list(self.plugin.launcher.launch(overrides, initial_job_idx=first))
        except Exception as error:
            if len(overrides) == 1:
                return [
                    QuietReturn(
                        overrides=list(overrides[0]), status=JobStatus.FAILED, _return_value=error
                    )
                ]
            numbered = enumerate(overrides, start=first)
            return [self._launch([one], number)[0] for number, one in numbered]

    def _finish(self) -> None:
        trials = [trial for trial in self.study.trials if trial.state.is_finished()]
        done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
        sign = 1 if self.study.direction == optuna.study.StudyDirection.MINIMIZE else -1
        done.sort(key=lambda trial: sign * float(trial.value or 0))
        failed = [trial for trial in trials if trial not in done]
        rows = [f"{float(t.value or 0):<8.4g} {t.user_attrs.get(_RUN)}" for t in done[:_SHOWN]]
        rows += [f"failed   {t.user_attrs.get(_RUN) or t.params}" for t in failed[:_SHOWN]]
        log.info("%s\n%s", self.metric, "\n".join(rows))
        if done:
            best = done[0]
            result = {"name": "optuna", "best_params": best.params, "best_value": best.value}
            result["best_run"] = best.user_attrs.get(_RUN)
            atomic_write(self.folder / "optimization_results.yaml", to_yaml(result))
            log.info("Best: %s %.4g in %s", self.metric, best.value, result["best_run"])
            log.info("%s", self.sweep.report(self.folder))
        rate = len(failed) / max(1, len(trials))
        if failed and (not done or rate > self.options.max_failure_rate):
            raise Hep2ganError(
                f"{len(failed)} of {pluralize(len(trials), 'trial')} failed",
                f"hydra.sweeper.max_failure_rate is {self.options.max_failure_rate}",
                "read what was said of them above, correct the cause, and begin again with study=…",
            )


def _lowest(distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0]
    return distribution.low  # type: ignore[attr-defined]
