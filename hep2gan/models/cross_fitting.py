"""A network in two halves, each trained on half of the cells: masks of cells it never saw."""

from typing import cast

import torch
from torch import Tensor, nn


class CrossFittedNetwork(nn.Module):
    """Two networks of one kind, which learn from two halves of the training cells.

    Without it, the masks that the classifier learns from are better than those of new cells, since
    the generator was trained on these very cells. Batches alternate between the halves: in training
    mode the half that `use` chose runs, in eval mode the mean of both.

    Args:
        first: Learns from the cells of half 0.
        second: Learns from the cells of half 1.
    """

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.halves = nn.ModuleList([first, second])
        self.active = 0

    def use(self, half: int) -> None:
        """Choose the half that the next batch is of.

        Args:
            half: 0 or 1.
        """
        self.active = half

    def forward(self, *inputs: Tensor) -> Tensor:
        """Run the chosen half while training, else both.

        Args:
            *inputs: What the networks take.

        Returns:
            Logits; the mean of both halves in eval mode.
        """
        if self.training:
            return cast(Tensor, self.halves[self.active](*inputs))
        return 0.5 * cast(Tensor, self.halves[0](*inputs) + self.halves[1](*inputs))

    @torch.no_grad()
    def unseen(self, *inputs: Tensor) -> Tensor:
        """Run the other half as in a test: it never learned from the cells of this batch.

        Args:
            *inputs: What the networks take.

        Returns:
            Its logits, without gradients.
        """
        other = self.halves[1 - self.active]
        training = other.training
        try:
            return cast(Tensor, other.eval()(*inputs))
        finally:
            other.train(training)
