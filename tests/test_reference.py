"""docs/configuration.md and docs/train.schema.json are those of the settings classes."""

import json
import runpy
from pathlib import Path

import pytest

from tests.helpers.configs import parsed

DOCS = Path(__file__).parents[1] / "docs"
pytestmark = pytest.mark.skipif(not DOCS.exists(), reason="docs are not part of the package")


def test_both_files_are_up_to_date(capsys):
    program = runpy.run_path(str(DOCS / "make_reference.py"))
    assert program["main"]("--check") == 0, capsys.readouterr().err


def test_every_key_of_the_default_configuration_has_a_row():
    text = (DOCS / "configuration.md").read_text(encoding="utf-8")
    config = parsed("data.root=x").to_plain()

    def keys(values, prefix=""):
        for key, value in values.items():
            yield f"{prefix}{key}"
            if isinstance(value, dict) and "_target_" in value:
                assert value["_target_"] in text
            elif isinstance(value, dict) and key != "callbacks":
                yield from keys(value, f"{prefix}{key}.")

    for key in keys(config):
        assert f"\n| `{key}` | " in text, key


def test_the_schema_refuses_what_the_program_refuses():
    schema = json.loads((DOCS / "train.schema.json").read_text(encoding="utf-8"))
    assert schema["additionalProperties"] is False
    trainer = schema["$defs"]["TrainerSettings"]["properties"]
    assert trainer["batch_size"] | {"title": "", "description": ""} == {
        "default": 16, "minimum": 1, "type": "integer", "title": "", "description": "",
    }  # fmt: skip
