"""The two sides that `likeness bench engine` compares draw the same picture from the same weights, or the comparison is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from backend.speed.goals import high
from backend.speed.plain import FaceControlNet, twin
from backend.speed.rig import Calls, Equality, flops
from backend.speed.timing import compare
from protocol.errors import ServiceError


def test_the_engine_and_plain_diffusers_draw_the_same_bits(rig):
    with rig.latents() as seen:
        ours, plain = rig.draw(rig.job(3, 3)), rig.plain.draw(rig.asked(3, 3))
    assert torch.equal(*seen)
    assert np.array_equal(ours, plain)
    assert ours.std() > 10, "a picture of one colour would equal another too easily"


def test_nothing_is_attached_to_one_side_by_the_other(rig):
    first = rig.draw(rig.job(4, 2))
    rig.plain.draw(rig.asked(5, 2))
    assert np.array_equal(rig.draw(rig.job(4, 2)), first)


def test_a_side_that_draws_something_else_is_not_compared(rig):
    with rig.latents() as seen:
        equality = Equality(seen, bound=0.0)
        ours, other = rig.draw(rig.job(3, 2)), rig.plain.draw(rig.asked(6, 2))
        with pytest.raises(ServiceError, match="different pictures"):
            equality.check(ours, other)


def test_the_random_identity_net_acts_so_that_leaving_it_out_shows(rig):
    assert not np.array_equal(rig.draw(rig.job(3, 2, end=1.0)), rig.draw(rig.job(3, 2, end=0.5)))


def test_a_net_outside_its_window_is_left_out_and_equals_stock_diffusers_at_scale_zero(rig):
    with Calls(net=rig.engine.parts.identity_net.mid_block) as ours, rig.latents() as seen:
        rig.draw(rig.job(7, 5, end=0.6))
        with Calls(net=rig.plain.net.mid_block) as theirs:
            rig.plain.draw(rig.asked(7, 5), end=0.6)
    assert (ours.count["net"], theirs.count["net"]) == (3, 5)
    assert torch.equal(*seen)


def test_the_engine_does_less_arithmetic_than_plain_diffusers(rig):
    assert flops(lambda: rig.draw(rig.job(8, 4))) < flops(lambda: rig.plain.draw(rig.asked(8, 4)))


def test_operations_of_fused_attention_are_counted_on_a_processor():
    query, key, value = torch.ones(2, 4, 64, 8), torch.ones(2, 4, 16, 8), torch.ones(2, 4, 16, 8)
    assert flops(lambda: F.scaled_dot_product_attention(query, key, value)) == 2 * (2 * 4 * 64 * 16 * 8) * 2


def test_a_twin_shares_its_tensors_and_nothing_else(rig):
    net = rig.engine.parts.identity_net
    other = twin(net, FaceControlNet)
    assert all(one is two or one.data_ptr() == two.data_ptr() for one, two in zip(net.parameters(), other.parameters(), strict=True))
    assert other.mid_block is not net.mid_block


class Script:
    """A clock that says what it was told."""

    def __init__(self) -> None:
        self.order: list[str] = []

    def measure(self, work):
        made = work()
        self.order.append(made)
        return {"first": 2.0, "second": 4.0}[made], made


def test_sides_are_measured_in_turns_and_the_ratio_is_of_pairs():
    timer = Script()
    found = compare(timer, 3, lambda number: "first", lambda number: "second")
    assert timer.order == ["first", "second", "second", "first", "first", "second"]
    assert (found.first, found.second, found.ratio, found.pairs) == (2.0, 4.0, 0.5, 3)


def test_95_in_100_are_not_higher():
    assert high([float(number) for number in range(40)]) == 38.0
