"""Steps as compiled: rounded once, and to the nearest."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from dlas.target import host

pytest.importorskip("tvm", reason="tvm is not installed: pip install 'dlas[tvm]'")


@pytest.mark.parametrize("name,less", [("levels", 3), ("stepped", 0)])
def test_rounds_to_the_nearest_and_saturates(name: str, less: int) -> None:
    """TVM and LLVM may take nothing of it for superfluous."""
    import tvm
    from tvm import te

    from dlas.systems.tvm import rounding
    from dlas.systems.tvm.lower import compiled

    values = np.concatenate([np.linspace(-10, 20, 60), [0.5, 1.5, 2.5, 300]]).astype(np.float32)
    data = te.placeholder(values.shape, "float32", "data")
    compute: Any = partial(getattr(rounding, name), number="uint8", zero=3)
    found = compute(data)
    function = te.create_prim_func([data, found]).with_attr("global_symbol", "main")
    main = compiled(tvm.IRModule({"main": function}), host(), 1).jit()["main"]
    result = tvm.runtime.tensor(np.zeros(values.shape, str(found.dtype)))
    main(tvm.runtime.tensor(values), result)
    expected = np.clip(np.rint(values), -3, 252)
    assert np.array_equal(result.numpy().astype(np.float32) - less, expected)
