"""Ports of stacks that start at the same moment, before anything listens on them."""

from __future__ import annotations

import sys

import pytest

from infra.errors import CannotStart
from infra.ports import Ports
from tests.infra.supervised import free_port

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="claims are held in Linux's abstract socket names")


def test_two_stacks_that_start_at_once_take_different_ports() -> None:
    wanted = free_port()
    one, other = Ports(), Ports()
    taken = {one.take("telemetry", wanted, exact=False), other.take("telemetry", wanted, exact=False)}
    assert len(taken) == 2
    with pytest.raises(CannotStart, match=f"port {wanted} for page"):
        other.take("page", wanted, exact=True)


def test_a_claim_ends_with_its_stack() -> None:
    wanted = free_port()
    assert [Ports().take("page", wanted, exact=True) for _ in range(2)] == [wanted, wanted]
