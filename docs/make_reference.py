"""Write docs/configuration.md and docs/train.schema.json from the settings classes: `make schema`.

With --check write nothing, and end with status 1 where a file is out of date.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic.fields import FieldInfo

from hep2gan.cli import settings as commands
from hep2gan.config import ALLOWED_CLASSES, NETWORKS, OPTIMIZER_TYPES, PROVIDED, TrainConfig
from hep2gan.settings import (
    Component,
    Settings,
    arguments_of,
    describe,
    fields_of,
    format_value,
    import_class,
)

FOLDER = Path(__file__).parent
COMMANDS: dict[str, type[Settings]] = {
    "hep2gan-pack": commands.PackSettings,
    "hep2gan-evaluate": commands.EvaluateSettings,
    "hep2gan-predict": commands.PredictSettings,
    "hep2gan-export": commands.ExportSettings,
    "hep2gan-report": commands.ReportSettings,
}
HEAD = """# Every key of the configuration

Made by `make schema` from the settings classes in the code: edit those. The defaults are those of
the classes, which hold for keys that a configuration leaves out; `--cfg job` prints the values that
a command line composes from the files in `conf/`.
"""
CLASSES = """
## Classes that `_target_` may name

Their keys stand beside `_target_`. For a class of your own add `trusted=[PACKAGE]`.
"""
TASK = "hep2gan.training.module.SegmentationGuidedClassification"


def table(*kinds: type[Settings]) -> Iterator[str]:
    """A Markdown table with a row for each key of some settings classes."""
    yield "| key | must be | default | |"
    yield "|---|---|---|---|"
    for kind in kinds:
        for key, field in fields_of(kind):
            cells = (f"`{key}`", describe(field), _default(field), _help(field))
            yield "| " + " | ".join(map(_cell, cells)) + " |"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "none"
    default = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(default, Component):
        return f"`{default.target}`"
    return "" if isinstance(default, Settings | dict) else f"`{format_value(default)}`"


def _help(field: FieldInfo) -> str:
    """A docstring's words as a user of YAML writes them, from a capital on."""
    text = re.sub(r"\bNone\b", "null", field.description or "")
    word = text.partition(" ")[0]
    return text if "." in word or len(word) == 1 else text[:1].upper() + text[1:]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def arguments(target: str) -> type[Settings]:
    """The arguments of a class that a configuration may name."""
    optimizer = target.startswith("torch.optim.")
    network = target.startswith("hep2gan.models.")
    group = "optimizer" if optimizer else NETWORKS[0] if network else ""
    types = OPTIMIZER_TYPES if optimizer else {}
    return arguments_of(import_class(target), PROVIDED.get(group, ()), types)


def reference() -> str:
    """The text of docs/configuration.md."""
    parts = [HEAD, "## hep2gan-train\n", *table(TrainConfig, commands.StartOptions)]
    for name, kind in COMMANDS.items():
        parts += [f"\n## {name}\n", *table(kind)]
    parts.append(CLASSES)
    # The arguments of the task are networks and losses, which no configuration gives.
    for target in sorted(ALLOWED_CLASSES - {TASK}):
        kind = arguments(target)
        keys = table(kind) if kind.model_fields else ["No keys."]
        parts += [f"### `{target}`\n", *keys, ""]
    return "\n".join(parts).rstrip() + "\n"


def schema() -> str:
    """The JSON schema of a training's configuration, for editors."""
    return json.dumps(TrainConfig.model_json_schema(by_alias=True), indent=1) + "\n"


def main(*flags: str) -> int:
    """Write both files, or with --check only look; the exit status.

    Args:
        *flags: The words behind the program's name.
    """
    old = []
    for name, text in (("configuration.md", reference()), ("train.schema.json", schema())):
        file = FOLDER / name
        if file.is_file() and file.read_text(encoding="utf-8") == text:
            continue
        old.append(str(file))
        if "--check" not in flags:
            file.write_text(text, encoding="utf-8")
    if "--check" in flags and old:
        print(f"{' and '.join(old)}: out of date. Fix: make schema", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
