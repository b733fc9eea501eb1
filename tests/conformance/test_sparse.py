"""Every primitive computes the convolution from every sparse format, whatever the geometry and the
share of zeros: against float64. Other vectors, tiles and threads: ``test_sparse_tiles.py``."""

from __future__ import annotations

import pytest
from sparse_kernels import SHARES, check, every_format, every_primitive
from test_blocked_primitives import ROWS, target
from test_primitives import unoptimized

__all__ = ["unoptimized"]  # a fixture that this file's tests use too

pytest.importorskip("tvm", reason="tvm is not installed: pip install 'dlas[tvm]'")


@pytest.mark.parametrize("label", ROWS)
@every_primitive
@every_format
def test_computes_the_convolution(name: str, primitive: str, label: str) -> None:
    check(primitive, name, ROWS[label], target(), SHARES)
