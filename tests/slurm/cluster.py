"""A real Slurm on this machine for tests: ordinary daemons below one folder, and nothing else."""

import ctypes
import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

# Debian puts the daemons where only root's PATH looks.
SEARCHED = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
DAEMONS = ("munged", "slurmctld", "slurmd")
STARTUP_SECONDS = 30.0
# The kernel's limit for the path of a unix socket is 107 characters; the longest name that the
# daemons make below the folder takes some thirty of them.
LONGEST_FOLDER = 75
ENDED = frozenset(
    {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY"}
    | {"PREEMPTED", "TIMEOUT"}
)

CONFIGURATION = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket

StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid

# Nothing that needs cgroups, a database or a mailer.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SwitchType=switch/none
MpiDefault=none
MailProg=/bin/true

SelectType=select/cons_tres
SelectTypeParameters=CR_Core
# The nodes have as many CPUs as declared here, whatever the machine has.
SlurmdParameters=config_overrides
ReturnToService=2

SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0,bf_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
KillWait={kill_seconds}
InactiveLimit=0
MinJobAge={keep_seconds}

{nodes}
PartitionName=low Nodes=ALL Default=YES DefaultTime=60 PriorityTier=1 PreemptMode=REQUEUE \
GraceTime={grace_seconds}
PartitionName=high Nodes=ALL DefaultTime=60 PriorityTier=2 PreemptMode=OFF
"""


class SlurmError(RuntimeError):
    """A daemon did not come up, or a command of Slurm failed."""


def missing() -> list[str]:
    """Name the daemons that are not installed."""
    return [name for name in DAEMONS if shutil.which(name, path=SEARCHED) is None]


@dataclass(frozen=True)
class Cluster:
    """A running Slurm. Use `environment` for every process that should submit to it."""

    folder: Path
    nodes: tuple[str, ...]
    environment: dict[str, str]

    def run(self, *command: str | Path, stdin: str = "") -> str:
        """Run a command with this cluster's environment; return what it printed."""
        done = subprocess.run(
            command, input=stdin, env=self.environment, text=True, capture_output=True, check=False
        )
        if done.returncode:
            called = " ".join(map(str, command))
            raise SlurmError(f"{called}: exit status {done.returncode}\n{done.stderr}")
        return done.stdout

    def submit(self, script: str, *options: str) -> str:
        """Submit a batch script with sbatch's options; return the job's id."""
        return self.run("sbatch", "--parsable", *options, stdin=script).strip()

    def jobs(self) -> dict[str, str]:
        """Map ids to states, of ended jobs too until slurmctld drops them; `7_1` in an array."""
        listed = self.run("squeue", "--all", "--states=all", "--array", "--noheader", "-o", "%i %T")
        return dict(line.split() for line in listed.splitlines())

    def wait_for(self, job: str, *states: str, seconds: float = 60.0) -> str:
        """Wait until a job is in one of the states, or at its end if none is named."""
        wanted = frozenset(states) or ENDED
        latest = "never seen"

        def arrived() -> bool:
            nonlocal latest
            latest = self.jobs().get(job, latest)
            return latest in wanted

        if not _until(arrived, seconds):
            raise SlurmError(f"Job {job} is {latest}, not {sorted(wanted)}\n{self.tail()}")
        return latest

    def release(self, job: str) -> None:
        """Let a requeued job start at once; Slurm would make it wait for two minutes."""
        self.run("scontrol", "update", f"JobId={job}", "StartTime=now")

    def processes(self) -> list[int]:
        """List every live process that has this cluster's environment: daemons, jobs, clients."""
        return _marked(self.environment["SLURM_CONF"])

    def tail(self, lines: int = 15) -> str:
        """Return the end of each daemon's log."""
        return _tail(self.folder, lines)


@contextmanager
def one_node(
    folder: Path,
    cpus: int = 2,
    *,
    nodes: int = 1,
    grace_seconds: int = 5,
    kill_seconds: int = 5,
    keep_seconds: int = 300,
) -> Iterator[Cluster]:
    """Run Slurm below a folder with a short path, for the time of a with block.

    Jobs go to the partition `low`, where those of `high` preempt them after `grace_seconds`.
    More nodes than one are daemons on the same machine. Ended jobs are listed for `keep_seconds`.
    """
    folder = folder.resolve()
    if len(str(folder)) > LONGEST_FOLDER:
        raise ValueError(f"Too long for the sockets below it, choose a shorter folder: {folder}")
    if absent := missing():
        raise SlurmError(f"Not installed: {', '.join(absent)}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "state").mkdir(mode=0o700)
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(1024))

    names = tuple(f"node{number}" for number in range(1, nodes + 1))
    configuration = folder / "slurm.conf"
    configuration.write_text(
        _configuration(folder, names, cpus, grace_seconds, kill_seconds, keep_seconds)
    )
    cluster = Cluster(folder, names, _environment(configuration))

    with ExitStack() as running:
        # First in, so last out: by then the daemons are gone and start nothing new.
        running.callback(_end_all, str(configuration))
        _start_munge(folder, key, cluster.environment, running)
        for name, command in _slurm_daemons(folder, names):
            _start(folder, name, command, cluster.environment, running)
        _await_nodes(cluster)
        yield cluster


def _configuration(
    folder: Path, names: tuple[str, ...], cpus: int, grace: int, kill: int, keep: int
) -> str:
    host = socket.gethostname().split(".")[0]
    controller_port, *ports = _free_ports(1 + len(names))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    rows = [
        f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} "
        f"Sockets=1 CoresPerSocket={cpus} ThreadsPerCore=1 RealMemory={memory}"
        for name, port in zip(names, ports, strict=True)
    ]
    return CONFIGURATION.format(
        host=host,
        user=getpass.getuser(),
        folder=folder,
        controller_port=controller_port,
        nodes="\n".join(rows),
        grace_seconds=grace,
        kill_seconds=kill,
        keep_seconds=keep,
    )


def _environment(configuration: Path) -> dict[str, str]:
    # Without what an outer Slurm job, in which the tests may run, says to Slurm's commands.
    outer = ("SLURM_", "SBATCH_", "SRUN_", "SALLOC_", "SQUEUE_", "SCANCEL_", "SINFO_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(outer)}
    return kept | {"SLURM_CONF": str(configuration), "PATH": SEARCHED}


def _free_ports(count: int) -> list[int]:
    """Find ports that nobody listens on; all are held while looking, so that they differ."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _start_munge(folder: Path, key: Path, environment: dict[str, str], running: ExitStack) -> None:
    door = folder / "munge.socket"
    command = [
        # Temporary folders are closed to other users, which munged refuses unless forced.
        *("munged", "--foreground", "--force", "--num-threads=1"),
        *(f"--socket={door}", f"--key-file={key}", f"--seed-file={folder / 'munge.seed'}"),
        *(f"--pid-file={folder / 'munged.pid'}", f"--log-file={folder / 'munged.log'}"),
    ]
    daemon = _start(folder, "munged", command, environment, running)
    if not _until(lambda: door.exists() or daemon.poll() is not None, STARTUP_SECONDS):
        raise SlurmError(f"munged made no socket\n{_tail(folder)}")
    if daemon.poll() is not None:
        raise SlurmError(f"munged ended with {daemon.returncode}\n{_tail(folder)}")


def _slurm_daemons(folder: Path, names: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    yield "slurmctld", ["slurmctld", "-D", "-i"]
    for name in names:
        yield f"slurmd-{name}", ["slurmd", "-D", "-N", name]


def _start(
    folder: Path, name: str, command: list[str], environment: dict[str, str], running: ExitStack
) -> subprocess.Popen[bytes]:
    """Start a daemon in the foreground, to be stopped when `running` closes."""
    with (folder / f"{name}.log").open("ab") as log:
        daemon = subprocess.Popen(
            command,
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # A Ctrl-C at the terminal is for the tests, which stop the daemons in order.
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
    running.callback(_stop, daemon)
    return daemon


def _die_with_parent() -> None:
    # For a parent that is killed, and so stops nothing itself.
    death_signal_option = 1
    ctypes.CDLL(None).prctl(death_signal_option, signal.SIGTERM)


def _stop(daemon: subprocess.Popen[bytes]) -> None:
    daemon.terminate()
    try:
        daemon.wait(timeout=10)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()


def _end_all(configuration: str) -> None:
    """Kill what the daemons left: steps outlive slurmd, and tasks can outlive their steps."""

    def none_left() -> bool:
        left = _marked(configuration)
        for process in left:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return not left

    if not _until(none_left, 10):
        raise SlurmError(f"Processes that could not be ended: {_marked(configuration)}")
    # Killed steps leave theirs.
    for path in Path(configuration).parent.rglob("*"):
        if path.is_socket():
            path.unlink()


def _marked(configuration: str) -> list[int]:
    """Find the processes started with this SLURM_CONF, except this one."""
    mark = f"SLURM_CONF={configuration}".encode()
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal() or int(folder.name) == os.getpid():
            continue
        try:
            started_with = (folder / "environ").read_bytes()
        except OSError:  # ended meanwhile, or another user's
            continue
        if mark in started_with.split(b"\0"):
            found.append(int(folder.name))
    return found


def _await_nodes(cluster: Cluster) -> None:
    def idle() -> bool:
        try:
            states = cluster.run("sinfo", "--noheader", "--Node", "-p", "low", "-o", "%T").split()
        except SlurmError:  # slurmctld does not answer yet
            return False
        return len(states) == len(cluster.nodes) and set(states) == {"idle"}

    if not _until(idle, STARTUP_SECONDS):
        raise SlurmError(f"No idle node after {STARTUP_SECONDS:.0f} s\n{cluster.tail()}")


def _tail(folder: Path, lines: int = 15) -> str:
    ends = []
    for log in sorted(folder.glob("*.log")):
        last = log.read_text(errors="replace").splitlines()[-lines:]
        ends.append("\n".join([f"--- {log.name}", *last]))
    return "\n".join(ends)


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    """Ask until the condition holds; False when the time is over."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True
