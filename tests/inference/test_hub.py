"""Exports pushed to a hub and opened from it by name, over HTTP, on this machine."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants

from hep2gan.errors import Hep2ganError
from hep2gan.inference.exported import open_export
from hep2gan.inference.hub import check_push, fetch_export, parse_hub_name, push_export
from hep2gan.inference.open import find_model
from tests.helpers.exports import small_export
from tests.helpers.hub import TOKENS, Repository, running_hub, use_hub

NAME, TOKEN = "lab/hep2", "hf_of_the_lab"
ADDRESS = f"hf://{NAME}"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with running_hub() as hub:
        use_hub(monkeypatch, hub.endpoint, tmp_path / "home")
        yield hub


@pytest.fixture
def export(tmp_path):
    return small_export(tmp_path / "export")


def log_in(monkeypatch, token=TOKEN):
    monkeypatch.setenv("HF_TOKEN", token)


def push(export, private=True, message="first"):
    return push_export(export, NAME, private=private, message=message)


@pytest.fixture
def pushed(hub, export, monkeypatch):
    log_in(monkeypatch)
    push(export)
    return hub.repositories[NAME]


def test_a_push_is_one_commit_of_three_files(hub, export, monkeypatch):
    log_in(monkeypatch)
    (export / "notes.txt").write_text("not for others")
    check_push(NAME)
    answer = push(export, message="the best of May")
    there = hub.repositories[NAME]
    assert str(answer) == f"{ADDRESS}@{there.head}, private"
    assert there.private
    assert there.messages == ["initial", "the best of May"]
    names = {"README.md", "model.json", "model.safetensors"}
    assert there.files.keys() - {".gitattributes"} == names
    for name in names:
        assert there.files[name] == (export / name).read_bytes()
    assert "PUT /lfs/" in " ".join(hub.asked)


def test_what_was_pushed_is_opened_by_its_name(hub, pushed, export):
    pushed.add(pushed.files | {"code.py": b"raise SystemExit", "pytorch_model.bin": b"x"}, "more")
    found = find_model(ADDRESS)
    assert found == replace(open_export(export), folder=found.folder, origin=found.origin)
    assert found.origin == f"{ADDRESS}@{pushed.head}"
    # Nothing else is downloaded, not even the card.
    assert hub.downloads() == ["model.json", "model.safetensors"]
    assert {path.name for path in found.folder.iterdir()} == {"model.json", "model.safetensors"}
    # The second time nothing is.
    assert find_model(ADDRESS) == found
    assert len(hub.downloads()) == 2


def test_a_revision_stays_what_it_was(hub, pushed, export):
    first = pushed.head
    small_export(export, "model.onnx")
    (export / "model.safetensors").unlink()
    push(export, message="as a graph")
    assert fetch_export(ADDRESS).format == "onnx"
    # One repository holds one format, so that nobody takes the other for the same networks.
    assert "model.safetensors" not in pushed.files
    assert fetch_export(f"{ADDRESS}@{first}").format == "safetensors"


@pytest.mark.parametrize(
    "name", ["hf://lab", "hf://a/b/c", "hf://a b/c", "hf://a/b@", "hf://a/b@../c", "hf://"]
)
def test_what_is_no_name(name):
    with pytest.raises(Hep2ganError, match=r"names no model of the hub .*copy USER/NAME"):
        parse_hub_name(name)


def test_names_that_the_hub_has_rules_against(hub):
    with pytest.raises(Hep2ganError, match=r"names no model of the hub .*copy USER/NAME"):
        fetch_export("hf://a--b/c..d")
    assert not hub.asked


def test_damage_in_the_cache_is_downloaded_again(hub, pushed):
    found = fetch_export(ADDRESS)
    for name in ("model.json", "model.safetensors"):
        file = (found.folder / name).resolve()
        content = bytearray(file.read_bytes())
        content[-2] ^= 1
        file.write_bytes(content)
        assert fetch_export(ADDRESS) == found


def test_damage_at_the_hub_is_told(hub, pushed):
    broken = pushed.files["model.safetensors"][:-1] + b"\7"
    pushed.add(pushed.files | {"model.safetensors": broken}, "damaged")
    with pytest.raises(
        Hep2ganError, match=r"hf://lab/hep2@\w{40} cannot be used \(model.safe.*own"
    ):
        fetch_export(ADDRESS)
    # What the fix names: an earlier revision.
    assert fetch_export(f"{ADDRESS}@{list(pushed.commits)[1]}").size == 32


def test_a_model_of_others_is_told(hub, pushed):
    pushed.add({"config.json": b"{}", "model.safetensors": b"x" * 100}, "something else")
    with pytest.raises(Hep2ganError, match=r"is no model of hep2gan: it lacks model.json"):
        fetch_export(ADDRESS)
    assert hub.downloads() == []


def test_the_cache_is_used_where_the_hub_is_not_reached(hub, pushed, monkeypatch, caplog):
    found = fetch_export(ADDRESS)
    for status in (500, 503):
        hub.status = status
        assert fetch_export(ADDRESS) == found
        assert f"(it answers {status}): {found.origin} is taken from the cache" in caplog.text
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    asked = len(hub.asked)
    assert fetch_export(ADDRESS) == fetch_export(f"{ADDRESS}@{pushed.head}") == found
    assert "HF_HUB_OFFLINE is set" in caplog.text
    assert len(hub.asked) == asked
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert fetch_export(ADDRESS) == found
    # Damage cannot be mended now.
    (found.folder / "model.safetensors").resolve().write_bytes(b"")
    with pytest.raises(Hep2ganError, match="cannot be used"):
        fetch_export(ADDRESS)


def test_a_push_into_the_void_is_told(hub, export, monkeypatch):
    log_in(monkeypatch)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(Hep2ganError, match=r"the hub is not reached .*HF_HUB_OFFLINE"):
        check_push(NAME)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(Hep2ganError, match=r"the hub is not reached .*127.0.0.1:9"):
        push(export)


def test_what_the_hub_refuses_is_told(hub, export, monkeypatch):
    log_in(monkeypatch, "hf_of_a_guest")
    assert TOKENS["hf_of_a_guest"] != NAME.split("/")[0]
    with pytest.raises(Hep2ganError, match=r"refuses lab/hep2 to this machine's token .status 403"):
        push(export)
    assert not hub.repositories
    log_in(monkeypatch, "hf_that_is_wrong")
    with pytest.raises(Hep2ganError, match=r"\(status 401\).*settings/tokens") as caught:
        check_push(NAME)
    assert "hf_that" not in str(caught.value)
    with pytest.raises(Hep2ganError, match="leave @… out"):
        check_push(f"{NAME}@main")


def test_a_damaged_export_is_not_pushed(hub, export, monkeypatch):
    log_in(monkeypatch)
    shutil.copy(export / "README.md", export / "model.safetensors")
    with pytest.raises(Hep2ganError, match="is not the file that it describes"):
        push(export)
    assert not hub.asked


@pytest.mark.integration
def test_a_new_process_finds_a_graph_by_the_environment_without_torch(hub, export, tmp_path):
    small_export(export, "model.onnx")
    hub.repositories[NAME] = Repository(private=True)
    files = {name: (export / name).read_bytes() for name in ("model.json", "model.onnx")}
    hub.repositories[NAME].add(files, "first")
    settings = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "new"), "HF_TOKEN": TOKEN}
    program = (
        "import sys; from hep2gan.inference.open import find_model;"
        f"print(find_model('{ADDRESS}').weights); sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).read_bytes() == files["model.onnx"]
    assert done.stdout.startswith(str(tmp_path / "new"))
