"""What the operations say with fixed coins, byte for byte: a change here is a change of the wire format."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import mpc.sharing
from tests.mpc.joining import sessions
from tests.mpc.protocols.test_golden import transcript
from tests.mpc.sharing.test_engine import HELPER, NAMES, circle, operations
from tests.mpc.test_together import Mixture

GOLDEN = {
    ("multiply", 64): "381c67f8e349f7e502fd8bb04e7957976c8198dc38d944bbb9e603718a6f4317",
    ("multiply", 128): "3e0229bc1434ef9f97913e5d4e95fef8241878bd9241f309fd82780765780a9c",
    ("multiply_known", 64): "864b7db9976ed5c97415ff7dc385ede50cb910769b74c1389cd2a0c504628c35",
    ("multiply_known", 128): "1bc6440c02d14c50e226f69dbe3f6587d5515d5d57d737c02cdce07c9e91c82e",
    ("select", 64): "96ed83af4bfe36e5ce3b787da9fe3e355d2654ead955a9d9d14bdc1bd2ccdf2a",
    ("select", 128): "cfe0aed895615294f284280de536826cc7fe43a7c2ea4e0bf30299196ba16e39",
    ("negative", 64): "392d4bc2e899376c093397a18ba12f3fcb6eef185b73315c10d89d3fb336263e",
    ("negative", 128): "b3b2d05694474669df0843902e5f4d0b185e2ebf37c98fa5e3fc2a90f348fe96",
    ("equal_zero", 64): "d9d056f772ea5d56b10ee41d3af3ad81b12bebf9a7d67134ac555adc57c91c16",
    ("equal_zero", 128): "a3f03da81a73441d7e181423e1bf418ec370a5ee5b610f230d45606b717f49c1",
    ("bit", 64): "4b21f093b15b1af2b9ec442261f7f9816c963fcaf95249d8bca860b23806427f",
    ("bit", 128): "0d0fdd41c2933fd196ec6da5afc8a5e48d6341370fb7b62dac0eb49c08dc7c6d",
    ("permute", 64): "4cdf31fef63baf5aa85f89c14711ff897df88348c6fb2183ec13bbed6912669a",
    ("permute", 128): "2e7b7d81e33280b68513a0546c8105cb6dc1997558603c7da0eab89b52ffe509",
}
TOGETHER = "7dd5003e3d3b4efdd3f8bf7ec4d653a0a43ad23ad32afd25e787f8943677068a"


@pytest.mark.parametrize("bits", [64, 128])
@pytest.mark.parametrize("name", NAMES)
def test_operation(name: str, bits: int):
    c = circle(3)
    hold, deal, _ = operations(c, bits, list(range(-20, 20)))[name]
    s = sessions([*c.holders, HELPER])
    roles = {h: hold(s[h], i) for i, h in enumerate(c.holders)}
    assert transcript({**roles, HELPER: deal(s[HELPER])}) == GOLDEN[name, bits]


def test_side_by_side():
    assert transcript(Mixture(["negative", "multiply", "permute", "known"], 4).roles()) == TOGETHER


def test_no_operation_is_left_out():
    """Whatever the helper can deal is among the operations that the tests of leakage, views and bytes go through."""
    modules = [importlib.import_module(f"mpc.sharing.{m.name}") for m in pkgutil.iter_modules(mpc.sharing.__path__)]
    dealt = {name.removeprefix("deal_") for m in modules for name in vars(m) if name.startswith("deal_")}
    inside = {"and_bits"}  # of comparisons; its views are tested by itself
    names = {"bit": "bit_to_arithmetic"}
    assert dealt == {names.get(name, name) for name in NAMES} | inside
