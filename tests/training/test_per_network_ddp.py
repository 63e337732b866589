"""What PerNetworkDDP refuses: modules and options under which ranks would drift apart."""

import lightning as L
import pytest
from torch import nn

from hep2gan.errors import Hep2ganError
from hep2gan.training.per_network_ddp import PerNetworkDDP


def configured(module: L.LightningModule) -> None:
    strategy = PerNetworkDDP()
    strategy.connect(module)
    strategy._lightning_module = module
    strategy.configure_ddp()


def test_a_module_that_names_no_networks_is_refused():
    module = L.LightningModule()
    module.optimized_modules = {}
    for each in (L.LightningModule(), module):
        with pytest.raises(Hep2ganError, match="LightningModule has no dict optimized_modules"):
            configured(each)


def test_a_parameter_that_no_network_holds_is_refused():
    module = L.LightningModule()
    module.generator, module.head = nn.Linear(2, 2), nn.Linear(2, 1)
    module.optimized_modules = {"generator": module.generator}
    with pytest.raises(Hep2ganError, match=r"(?s)lack what it trains.*head.weight.*head.bias"):
        configured(module)
    # The fix, followed: what is left has nothing to wrap.
    module.head.requires_grad_(False)
    module.generator.requires_grad_(False)
    configured(module)
    assert module.optimized_modules == {"generator": module.generator}


def test_hooks_of_a_single_wrapper_are_refused():
    with pytest.raises(Hep2ganError, match=r"given ddp_comm_hook: .*register_comm_hook"):
        PerNetworkDDP(ddp_comm_hook=print)
    assert PerNetworkDDP(find_unused_parameters=True)._ddp_kwargs["find_unused_parameters"]
