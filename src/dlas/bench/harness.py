"""A small study that is really run, to see what running it costs beside the work."""

from __future__ import annotations

from dlas.study.space import Study

#: What is promised: a grid's share of its stacks one by one, the harness's share of the work.
GRID_SHARE, OVERHEAD_SHARE = 0.2, 0.05


def study(time_budget_s: float = 0.8) -> Study:
    """The first network of ``studies/demo.toml``, trained as it is there, with every optimization,
    algorithm and system: 35 stacks."""
    return Study(
        name="harness",
        title="What the harness costs",
        base={
            "dataset": {"name": "digits", "size": 16, "channels": 1},
            "model": {
                "name": "resnet", "depth": 20, "width": 0.5,
                "train": {"epochs": 20, "lr": 0.1, "batch": 64},
            },
            "hardware": {"name": "local", "protocol": {"time_budget_s": time_budget_s}},
        },
        axes={
            "optimizations": [
                [],
                [{"name": "weight_pruning", "sparsity": 0.5, "fine_tune": _epochs(4)}],
                [{"name": "weight_pruning", "sparsity": 0.8, "steps": 3, "fine_tune": _epochs(3)}],
                [{"name": "channel_pruning", "sparsity": 0.25, "fine_tune": _epochs(4)}],
                [{"name": "channel_pruning", "sparsity": 0.5, "fine_tune": _epochs(6)}],
                ["float16"],
                ["int8"],
            ],
            "algorithm": ["vendor", "direct", "gemm", "spatial_pack"],
            "system": ["pytorch", "onnxruntime", "tvm"],
        },
    )  # fmt: skip


def _epochs(count: int) -> dict[str, float]:
    return {"epochs": count, "lr": 0.02, "batch": 64}
