"""The values of a training's configuration, all looked at in one go."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from hep2gan.data.split_settings import SplitSettings
from hep2gan.data.transforms.augmentation import Augmentation
from hep2gan.data.transforms.normalisation import Normalisation
from hep2gan.errors import Hep2ganError, require_none
from hep2gan.models.baselines.forest import ForestSettings
from hep2gan.models.guidance import Guidance, Stages
from hep2gan.rules import Rule
from hep2gan.runs.flattening import flat
from hep2gan.setting_rules import MAPPING, TRAINED, rule_of

Config = Mapping[str, Any]

_GROUPS = (
    *("data", "split", "normalisation", "augmentation", "loss", "loss.gaussian_mixture"),
    *("loss.soften", "optimizer", "optimizer.schedule", "trainer", "logger", "guidance"),
)


def wrong_settings(config: Config) -> dict[str, Hep2ganError]:
    """Every value that cannot be what its key needs, by its key."""
    wrong = {
        group: _refused(group, found, MAPPING)
        for group in _GROUPS
        if not isinstance(found := _at(config, group), Mapping)
    }
    needed = [name for name, used in _used(config).items() if used]
    for name in needed:
        if not isinstance(config.get(name), Mapping):
            wrong[name] = _refused(name, config.get(name), MAPPING)
        if not isinstance(_at(config, f"optimizer.{name}"), Mapping):
            wrong[f"optimizer.{name}"] = _refused(
                f"optimizer.{name}", _at(config, f"optimizer.{name}"), MAPPING
            )
    skipped = [name for name in TRAINED if not isinstance(config.get(name), Mapping)]
    for key, value in flat(config):
        if any(key == name or key.startswith(f"{name}.") for name in (*wrong, *skipped)):
            continue
        rule = rule_of(key, config)
        if rule is not None and not rule.holds(value):
            wrong[key] = _refused(key, value, rule)
    return {key: error for key, error in wrong.items() if not _is_a_copy(key, config, wrong)}


def check_data(data: Config) -> None:
    """Raise Hep2ganError with all that is wrong with a `data` configuration alone."""
    config = {"data": data}
    require_none(
        [
            _refused(key, value, rule)
            for key, value in flat(config)
            if (rule := rule_of(key, config)) is not None and not rule.holds(value)
        ]
    )


def _used(config: Config) -> dict[str, Any]:
    segment, loss = config.get("segment"), config.get("loss")
    judged = isinstance(loss, Mapping) and loss.get("adversarial") != "none"
    classify = config.get("classify")
    return {"generator": segment, "discriminator": segment and judged, "classifier": classify}


def _at(config: Config, key: str) -> Any:
    value: Any = config
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _refused(key: str, value: Any, rule: Rule) -> Hep2ganError:
    shown = "null" if value is None else repr(value)[:80]
    example = str(rule.example).replace(" ", "")
    return Hep2ganError(f"{key} is {shown}", f"it must be {rule.words}", f"set {key}={example}")


def _is_a_copy(key: str, config: Config, wrong: Mapping[str, Hep2ganError]) -> bool:
    """Whether it is wrong since a key that it refers to is, such as split.seed with seed."""
    last = key.rpartition(".")[2]
    return last != key and last in wrong and repr(_at(config, key)) == repr(config[last])


def unfitting(config: Config, wrong: Mapping[str, Hep2ganError]) -> Iterator[Hep2ganError]:
    """Settings that are sound one by one and do not fit together; where neither is wrong."""
    checks: dict[tuple[str, ...], Callable[[], object]] = {
        ("gan_epochs", "trainer"): lambda: Stages.of(
            config["gan_epochs"], config["trainer"]["max_epochs"]
        ),
        ("guidance",): lambda: Guidance(**config["guidance"]),
        ("split", "seed"): lambda: SplitSettings(**config["split"]),
        ("normalisation", "augmentation"): lambda: Augmentation(**config["augmentation"]).check(
            Normalisation(**config["normalisation"]).bounded
        ),
        ("forest",): lambda: config["forest"] and ForestSettings(**config["forest"]),
    }
    for groups, build in checks.items():
        if any(key.partition(".")[0] in groups for key in wrong):
            continue
        try:
            build()
        except Hep2ganError as error:
            yield error
        except TypeError as error:
            names = " and ".join(groups)
            rule, fix = "its keys are those of conf/", "see --help, and leave other keys out"
            yield Hep2ganError(f"{names} cannot be understood ({error})", rule, fix)
