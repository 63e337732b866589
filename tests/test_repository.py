"""The files around the code agree with each other: locks, Makefile, workflows, citation, image."""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.version import Version

import hep2gan

ROOT = Path(__file__).parents[1]
PYPROJECT = (ROOT / "pyproject.toml").read_text()
PROJECT = tomllib.loads(PYPROJECT)["project"]
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z0-9_-]+):", MAKEFILE, re.M))
WORKFLOWS = {path.stem: path for path in (ROOT / ".github/workflows").glob("*.yml")}
USERS, DEVELOPERS = "requirements.lock", "requirements-dev.lock"
UNLOCKED = {"cellpose"}
"""Extras of neither lock: what they are for needs files of the user's own."""


def pins(name):
    """Versions by name of a lock; two where two Pythons have different ones."""
    found = {}
    for package, version in re.findall(r"^(\S+)==(\S+)", (ROOT / name).read_text(), re.M):
        found.setdefault(package, set()).add(version)
    return found


def extras(variable):
    """The extras that a variable of the Makefile names."""
    words = re.search(rf"^{variable} := (.*)$", MAKEFILE, re.M)[1]
    return set(words.replace("$(USERS)", "").split())


def workflow(name):
    return yaml.safe_load(WORKFLOWS[name].read_text())


# ------------------------------------------------------------------------------- locks


def test_each_extra_stands_in_one_lock_or_says_that_it_does_not():
    locked = set(PROJECT["optional-dependencies"]) - UNLOCKED
    assert extras("USERS") | extras("DEVELOPERS") == locked
    for name in UNLOCKED:
        assert re.search(rf"^{name} = .*# .*not in the lock$", PYPROJECT, re.M)
    assert not extras("USERS") & extras("DEVELOPERS")


def test_developers_have_what_users_have_at_the_same_versions():
    users, developers = pins(USERS), pins(DEVELOPERS)
    assert {name: developers.get(name) for name in users} == users
    assert not {"pytest", "ruff", "playwright", "pandas"} & users.keys()


@pytest.mark.parametrize("lock", [USERS, DEVELOPERS])
def test_a_lock_has_what_builds_the_project(lock):
    assert {"hatchling", "editables"} <= pins(lock).keys()


def test_the_next_releases_are_newer_than_the_locked():
    later = re.findall(r"^(\S+)==(\S+)$", (ROOT / "requirements-next.txt").read_text(), re.M)
    assert len(later) >= 5
    for name, version in later:
        assert all(Version(version) > Version(locked) for locked in pins(USERS)[name])


# ---------------------------------------------------------------------------- make


def make(*words):
    """The commands of a make that runs none."""
    done = subprocess.run(
        ["make", "-n", "--no-print-directory", "PYTHON=python3", *words],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [shlex.split(line, comments=True) for line in done.stdout.splitlines()]


def locks_of(*words, venv):
    """The locks that a make would install from."""
    flat = [word for line in make(f"VENV={venv}", *words) for word in line]
    return {word for word in flat if word.endswith(".lock") and "/" not in word}


@pytest.mark.parametrize("target", ["demo", "table_1", "bench-gpu", "setup"])
def test_users_install_the_smaller_lock(target, tmp_path):
    assert locks_of(target, venv=tmp_path / "venv") == {USERS}


@pytest.mark.parametrize("target", ["test", "check", "bench", "setup-dev"])
def test_developers_install_the_larger_lock(target, tmp_path):
    assert locks_of(target, venv=tmp_path / "venv") == {DEVELOPERS}


def test_after_developers_have_installed_users_are_ready(tmp_path):
    for stamp in (".ready", ".ready-dev"):
        (tmp_path / stamp).touch()
    assert not locks_of("demo", "test", venv=tmp_path)


def test_the_lowest_versions_are_those_of_pyproject(tmp_path):
    words = ("test-lowest", "TORCH_INDEX=file:///index", f"VENV={tmp_path / 'venv'}")
    installs = [line for line in make(*words, "TORCH=cpu") if "--resolution" in line]
    floors = {
        name: re.search(rf'^  "{name}>=([^",]+)', PYPROJECT, re.M)[1]
        for name in ("torch", "torchvision")
    }
    assert {f"{name}=={floor}.*" for name, floor in floors.items()} <= set(installs[0])
    (extras_of,) = re.findall(r"\.\[([a-z,]+)\]", " ".join(installs[-1]))
    # What the default tests skip without, and what measures speed or writes the site.
    assert set(extras_of.split(",")) == extras("DEVELOPERS") - {"benchmarks", "docs"} | extras(
        "USERS"
    )
    assert "file:///index" not in str(make(*words, "TORCH=locked"))


@pytest.mark.skipif(sys.platform != "linux", reason="on a Mac PyTorch has no builds with CUDA")
def test_without_cuda_torch_comes_from_its_index_and_the_rest_by_hash(tmp_path):
    lines = make("setup", "TORCH=cpu", "TORCH_INDEX=file:///index", f"VENV={tmp_path / 'venv'}")
    (line,) = [words for words in lines if "--index-url" in words]
    (torch,) = pins(USERS)["torch"]
    assert line[line.index("--index-url") + 1] == "file:///index"
    assert f"torch=={torch}+cpu" in line
    awk = line.index("awk")
    left = subprocess.run(
        [*line[awk : awk + 2], ROOT / USERS], capture_output=True, text=True, check=True
    ).stdout
    kept = set(re.findall(r"^([a-z0-9-]+)==", left, re.M))
    gone = pins(USERS).keys() - kept
    assert {"torch", "torchvision", "triton"} < gone
    assert all(re.match("torch|torchvision|triton|nvidia|cuda", name) for name in gone)
    assert {"torchmetrics", "numpy"} < kept
    assert not [name for name in kept if re.match("triton|nvidia|cuda", name)]
    assert "--require-hashes" in line[awk:]


def test_another_torch_makes_the_venv_anew(tmp_path):
    for stamp in (".ready", ".ready-dev"):
        (tmp_path / stamp).touch()
    (tmp_path / ".torch").write_text("cpu\n")
    where = f"VENV={tmp_path}"
    assert not [line for line in make("setup", where) if "venv" in line]
    (line,) = [line for line in make("setup", where, "TORCH=locked") if "venv" in line]
    assert "--clear" in line


# ---------------------------------------------------------------------- workflows


@pytest.mark.parametrize("name", sorted(WORKFLOWS))
def test_workflows_call_targets_that_exist_and_may_read_alone(name):
    found = workflow(name)
    assert found["permissions"] == {"contents": "read"}
    assert found["concurrency"]["group"]
    assert "secrets." not in WORKFLOWS[name].read_text()
    called = []
    for job in found["jobs"].values():
        assert job["timeout-minutes"]
        assert "permissions" not in job
        for step in job["steps"]:
            if "uses" in step:
                assert re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"]), "GitHub's own, by tag"
                cached = step.get("with", {}).get("cache-dependency-path")
                assert cached is None or (ROOT / cached).is_file()
            else:
                command, target, *variables = step["run"].split()
                assert command == "make"
                assert set(variables) <= {"TORCH=cpu"}
                called.append(target)
    assert called
    assert set(called) <= TARGETS


def test_ci_runs_what_ci_run_runs():
    here = re.findall(r"^make (\S+)$", (ROOT / ".ci/run").read_text(), re.M)
    assert set(here) <= set(re.findall(r"run: make (\S+)", WORKFLOWS["ci"].read_text()))


def test_every_python_is_tested_and_named():
    tested = workflow("ci")["jobs"]["test"]["strategy"]["matrix"]["python"]
    prefix = "Programming Language :: Python :: "
    named = [c.removeprefix(prefix) for c in PROJECT["classifiers"] if c.startswith(prefix)]
    assert tested == named
    assert PROJECT["requires-python"] == ">=3.11,<3.14"
    assert "(3, 11) <= sys.version_info < (3, 14)" in MAKEFILE


@pytest.mark.parametrize("form", ["bug", "question"])
def test_forms_ask_for_what_the_doctor_says(form):
    found = yaml.safe_load((ROOT / f".github/ISSUE_TEMPLATE/{form}.yml").read_text())
    assert {"name", "description", "body"} <= found.keys()
    ids = [field["id"] for field in found["body"]]
    assert len(ids) == len(set(ids))
    asked = {f["id"]: f["attributes"]["description"] for f in found["body"]}
    assert "doctor=true" in asked["doctor"]


# --------------------------------------------------------------- versions, addresses, image


def test_the_citation_is_of_this_version():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert str(cited["version"]) == PROJECT["version"] == hep2gan.__version__
    assert cited["license"] == PROJECT["license"]
    assert cited["repository-code"] == PROJECT["urls"]["Homepage"]
    (paper,) = cited["references"]
    assert paper["title"] in (ROOT / "README.md").read_text().replace("\n", " ")
    assert [who["family-names"] for who in paper["authors"]] == ["Xie", "He", "Lei", "Kuo", "Lei"]


def test_the_changelog_has_a_place_for_what_comes():
    text = (ROOT / "CHANGELOG.md").read_text()
    assert "## [Unreleased]" in text
    released = re.findall(r"^## \[(\d\S*)\]", text, re.M)
    assert not released or released[0] == PROJECT["version"]


def test_one_address_is_named_throughout():
    home = PROJECT["urls"]["Homepage"]
    for address in PROJECT["urls"].values():
        assert address.startswith(home)
    for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "CITATION.cff"):
        for address in re.findall(
            r"github\.com/hep2gan\S*?(?=[\s\")>])", (ROOT / name).read_text()
        ):
            assert f"https://{address}".startswith(home), (name, address)


def test_contributing_names_what_exists():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    for target in re.findall(r"\bmake ([a-z][a-z0-9_-]+)", text):
        assert target in TARGETS, target
    for path in re.findall(r"`((?:hep2gan|conf|tests|docs|experiments)/[\w/.]*)`", text):
        assert (ROOT / path).exists(), path


def test_the_image_copies_what_the_context_holds():
    kept = set(re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.M))
    copied = {
        word
        for line in re.findall(r"^COPY (.*)$", (ROOT / "Dockerfile").read_text(), re.M)
        for word in line.split()[:-1]
    }
    assert copied == kept
    assert all((ROOT / path).exists() for path in kept)
