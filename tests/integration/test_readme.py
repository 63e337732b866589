"""What the README and the pages of docs/ tell to type is understood."""

import re
import shlex
from pathlib import Path

import pytest

from hep2gan.cli import evaluate, export, pack, predict, report, train
from hep2gan.cli.app import config_folder
from tests.helpers.commands import call

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = [page.read_text() for page in sorted((ROOT / "docs").glob("*.md"))]
MODULES = {
    m.__name__.rpartition(".")[2]: m for m in (evaluate, export, pack, predict, report, train)
}
BLOCKS = re.findall(r"```sh\n(.*?)```", "\n".join([README, *PAGES]), re.S)
# What a page shows with its output stands behind a prompt.
PROMPTS = re.findall(r"^ *\$ (hep2gan-[^…\n]*)$", "\n".join(PAGES), re.M)
TYPED = [line for block in BLOCKS for line in block.replace("\\\n", " ").splitlines()] + PROMPTS
LINES = [shlex.split(line, comments=True) for line in TYPED if "$CELLS" not in line]
COMMANDS = [line for line in LINES if line and line[0].startswith("hep2gan-") and "…" not in line]
# Options written in sentences, such as `data.on_error=skip`.
INLINE = re.findall(r"`(hep2gan-\w+ [^`$]*)`", README)


@pytest.mark.parametrize("words", COMMANDS + [shlex.split(i) for i in INLINE], ids=" ".join)
def test_commands_compose(words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (
        call(MODULES[words[0].removeprefix("hep2gan-")], *first_job(words[1:]), "--cfg", "job") == 0
    )


def first_job(words):
    """Of a sweep, the job of the first values: Hydra shows the configuration of one job alone."""
    if "-m" not in words:
        return words
    return [re.sub(r"=([^,\[]*),.*", r"=\1", word) for word in words if word != "-m"]


def test_there_are_commands_to_check():
    assert len(COMMANDS) >= 40


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    targets = [line[1] for line in LINES if line and line[0] == "make"]
    assert targets
    for target in targets:
        assert f"\n{target}:" in makefile


def test_methods_of_the_table_exist():
    for method in re.findall(r"^\| `(\w+)` \|", README, re.M):
        assert (config_folder() / "method" / f"{method}.yaml").is_file()


def test_pictures_exist():
    for path in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README):
        assert (ROOT / path).is_file()


def test_links_lead_to_pages():
    for path in re.findall(r"\]\((docs/[^)]+)\)", README):
        assert (ROOT / path).is_file()
