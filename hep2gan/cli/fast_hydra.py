"""Keep Hydra from repeating work, which --help and completion would wait for."""

from functools import cache
from typing import Any


@cache  # Once a process: each further time would wrap what the time before has put there.
def speed_up_hydra() -> None:
    """Replace three of Hydra's slow parts in this process; what it composes stays the same."""
    _share_schemas()
    _list_groups_once()
    _map_choices_if_needed()


def _share_schemas() -> None:
    """Keep Hydra from copying its ConfigStore for each composition.

    Safe, since Hydra copies what it loads from the store once more.
    """
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    vars(store)["__deepcopy__"] = lambda _: store


def _list_groups_once() -> None:
    """Let each loader list a group once; help lists each four times, with new sources each time."""
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra.core.object_type import ObjectType

    list_anew = ConfigLoaderImpl.get_group_options
    list_once = cache(lambda loader, group, kind: loader.repository.get_group_options(group, kind))

    def get_group_options(
        self: ConfigLoaderImpl,
        group_name: str,
        results_filter: ObjectType | None = ObjectType.CONFIG,
        config_name: str | None = None,
        overrides: list[str] | None = None,
    ) -> list[str]:
        # These may extend the search path.
        if config_name or overrides:
            return list_anew(self, group_name, results_filter, config_name, overrides)
        return list(list_once(self, group_name, results_filter))

    ConfigLoaderImpl.get_group_options = get_group_options  # type: ignore[method-assign]


def _map_choices_if_needed() -> None:
    """Let Hydra map choices for defaults lists with interpolations alone, not for each config."""
    from hydra._internal import defaults_list as module
    from omegaconf import DictConfig

    if not hasattr(module, "_create_interpolation_map"):
        return  # Hydra 1.4 does so itself.
    map_choices = module._create_interpolation_map

    def map_if_needed(
        overrides: module.Overrides, defaults_list: list[Any], self_added: bool
    ) -> DictConfig:
        if any("${" in str(value) for item in defaults_list for value in vars(item).values()):
            return map_choices(overrides, defaults_list, self_added)
        return DictConfig({})

    module._create_interpolation_map = map_if_needed
