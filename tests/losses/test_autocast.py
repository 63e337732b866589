"""Precision in which losses are computed."""

import torch

from hep2gan.losses.autocast import to_float32, without_autocast


def test_half_is_raised_and_better_is_left():
    raised = {
        torch.float16: torch.float32,
        torch.bfloat16: torch.float32,
        torch.float32: torch.float32,
        torch.float64: torch.float64,
    }
    for given, expected in raised.items():
        assert to_float32(torch.ones(1, dtype=given)).dtype == expected


def test_matrix_products_keep_float32_inside():
    x = torch.rand(3, 3)
    with torch.autocast("cpu", torch.bfloat16):
        assert (x @ x).dtype == torch.bfloat16
        with without_autocast(x):
            assert (x @ x).dtype == torch.float32
