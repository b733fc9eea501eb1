"""What making a node means, layer by layer: inputs are artifacts' folders, the output is one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from dlas.algorithms.base import Algorithm
from dlas.context import Context
from dlas.data import Data, Split, open_data
from dlas.datasets.base import Dataset
from dlas.errors import DlasError, Refused
from dlas.evaluate import split_scores
from dlas.executable import Executable, compile_network, load, read_header
from dlas.layer import Member
from dlas.models.base import Model
from dlas.network import Network
from dlas.network.layers import DTYPE_SPEEDUP
from dlas.optimizations.base import Optimization
from dlas.plan import open_plan
from dlas.spec import parse_member
from dlas.store.outcome import Outcome
from dlas.study.agreement import quantization_step, share_within
from dlas.systems.base import System

NODE, RECORD, EXPECTED = "node.json", "record.json", "expected.npz"

#: Images whose scores, not only labels, are kept to check executables against.
CHECKED_IMAGES = 256
#: Seconds that labelling test images may take; how many are labelled, at least, between two looks
#: at the clock.
CHECK_S, CHECKED_AT_ONCE = 10.0, 8
#: How far an executable's scores may be from ONNX Runtime's on the same file, as the relative
#: Euclidean distance over the checked images. Rounding in other places moves int8 by whole steps.
TOLERANCE = {"float32": 1e-3, "float16": 3e-2, "bfloat16": 3e-2, "int8": 0.2, "mixed": 0.2}
#: For float32 that a system computes in a narrower type, such as bfloat16 with its 8 bits.
NARROWED = 0.1


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A node to make, as plain data for another process. ``inputs`` are the folders of the
    artifacts above: data, network, plan. ``node`` is written beside the result, to explain it."""

    key: str
    layer: str
    member: dict[str, Any]
    node: dict[str, Any]
    inputs: dict[str, str]
    folder: str
    checkpoints: str
    threads: int


#: Operators with weights that are not in the layer table.
_UNCOUNTED = {"ConvTranspose", "LSTM", "GRU", "RNN", "ConvInteger", "MatMulInteger", "QLinearConv"}

Yield = tuple[dict[str, float], dict[str, str]]


class WrongAnswer(DlasError):
    """An executable computes something else than the network says."""


def make(job: Job, progress: Callable[[float, str], None]) -> Outcome:
    """Fill the job's folder. Raises what the member raises; Refused where it cannot be done."""
    started = time.perf_counter()
    member = parse_member(job.layer, job.member, f"$.{job.layer}")
    sentence = member.missing()
    if sentence:
        raise Refused(sentence)
    checkpoints = Path(job.checkpoints)
    context = Context(Path(job.folder), checkpoints, job.threads, progress)
    inputs = {name: Path(folder) for name, folder in job.inputs.items()}
    metrics, facts = _STAGES[job.layer](member, inputs, context)
    outcome = Outcome("ok", "", time.perf_counter() - started, metrics, facts)
    (context.folder / NODE).write_text(json.dumps(job.node, indent=1))
    record = {"seconds": outcome.seconds, "metrics": metrics, "facts": facts}
    (context.folder / RECORD).write_text(json.dumps(record, indent=1))
    return outcome


def read_outcome(folder: Path) -> Outcome:
    """The outcome that ``make`` wrote beside an artifact."""
    record = json.loads((folder / RECORD).read_text())
    return Outcome("ok", "", record["seconds"], record["metrics"], record["facts"])


def _dataset(member: Member, inputs: Mapping[str, Path], context: Context) -> Yield:
    cast(Dataset, member).make(context)
    data = open_data(context.folder)
    sizes = {
        "train_images": len(data.train),
        "calibration_images": len(data.calibration),
        "test_images": len(data.test),
    }
    return {name: float(size) for name, size in sizes.items()}, {}


def _model(member: Member, inputs: Mapping[str, Path], context: Context) -> Yield:
    data = open_data(inputs["data"])
    network = cast(Model, member).make(data, context)
    uncounted = sorted({n.op_type for n in network.model.graph.node} & _UNCOUNTED)
    if uncounted:
        raise Refused(
            f"the network has {', '.join(uncounted)}, whose weights and arithmetic dlas does not"
            " count: its sizes and promises would be wrong"
        )
    accuracy = _finish(network, data, context)
    height, width = network.input_shape[-2:]
    counts = {
        "accuracy": accuracy, "macs": network.macs, "parameters": network.parameters,
        "pixels": height * width,
    }  # fmt: skip
    facts = {"precision": network.dtype}
    untrained = cast(Model, member).untrained
    if untrained:
        facts["untrained"] = untrained
    return {**counts, **_sizes(network)}, facts


def _optimization(member: Member, inputs: Mapping[str, Path], context: Context) -> Yield:
    data = open_data(inputs["data"])
    before = Network.open(inputs["network"])
    optimization = cast(Optimization, member)
    sentence = optimization.refuses(before)
    if sentence:
        raise Refused(sentence)
    after = optimization.apply(before, data, context)
    labels = np.load(inputs["network"] / EXPECTED)["labels"]
    metrics = {
        "accuracy_before": float((labels == data.test.labels).mean()),
        "accuracy_after": _finish(after, data, context),
        "promised_speedup": promised_speedup(before, after),
        **_sizes(after),
    }
    return metrics, {"precision": after.dtype}


def promised_speedup(before: Network, after: Network) -> float:
    """What arithmetic alone promises: the ratio of MACs with a non-zero weight, or of the number
    formats' widths (the paper's "expected speedup"). Weights that a narrower format rounds to
    zero do not count as pruned."""
    if before.dtype != after.dtype:
        return DTYPE_SPEEDUP[after.dtype] / DTYPE_SPEEDUP[before.dtype]
    return before.effective_macs / max(1, after.effective_macs)


def _algorithm(member: Member, inputs: Mapping[str, Path], context: Context) -> Yield:
    network = Network.open(inputs["network"])
    algorithm = cast(Algorithm, member)
    sentence = algorithm.refuses(network)
    if sentence:
        raise Refused(sentence)
    plan = algorithm.plan(network)
    plan.save(context.folder)
    notes = sorted({step.note for step in plan.steps if step.note})
    return {}, {"notes": "; ".join(notes)} if notes else {}


def _system(member: Member, inputs: Mapping[str, Path], context: Context) -> Yield:
    network, plan = Network.open(inputs["network"]), open_plan(inputs["plan"])
    system = cast(System, member)
    sentence = system.refuses(network, plan)
    if sentence:
        raise Refused(sentence)
    context.progress(0.0, "compiling")
    started = time.perf_counter()
    compile_network(system, network, plan, context.folder)
    compile_s = time.perf_counter() - started
    agreement = _check(context, inputs, network)
    files = [p.stat().st_size for p in context.folder.rglob("*") if p.is_file()]
    metrics = {
        **agreement,
        "compile_s": compile_s,
        "executable_bytes": float(sum(files)),
    }
    emulated = read_header(context.folder).emulated
    facts = {"emulated": emulated} if emulated else {}
    return metrics, facts | system.facts(context.folder)


_STAGES: Mapping[str, Callable[[Member, Mapping[str, Path], Context], Yield]] = {
    "datasets": _dataset,
    "models": _model,
    "optimizations": _optimization,
    "algorithms": _algorithm,
    "systems": _system,
}


def _finish(network: Network, data: Data, context: Context) -> float:
    """Save the network and what ONNX Runtime makes of the test images; its accuracy."""
    context.progress(0.99, "evaluating")
    network.save(context.folder)
    parts: list[NDArray[np.int64]] = []
    checked: list[NDArray[np.float32]] = []
    for found in split_scores(network, data.test, context.threads):
        if not np.isfinite(found).all():
            raise WrongAnswer("the network's scores are NaN or infinite on the test images")
        parts.append(found.argmax(axis=1))
        checked.append(found[: CHECKED_IMAGES - sum(len(part) for part in checked)])
    labels = np.concatenate(parts)
    np.savez(context.folder / EXPECTED, labels=labels, scores=np.concatenate(checked))
    return float((labels == data.test.labels).mean())


def _sizes(network: Network) -> dict[str, float]:
    return {
        "effective_macs": network.effective_macs,
        "nonzeros": network.nonzeros,
        "size_bytes": network.size_bytes,
        "sparse_bytes": network.sparse_bytes,
    }


def _check(context: Context, inputs: Mapping[str, Path], network: Network) -> dict[str, float]:
    """Run the executable over the test images as another process would: its accuracy, and how far
    it agrees with ONNX Runtime. Raises WrongAnswer beyond the tolerance.

    A slow one labels as many images as it can in CHECK_S. Its accuracy is then ONNX Runtime's on
    all of them, corrected by the difference of the two on those that were checked."""
    run = load(context.folder)
    narrowed = network.dtype == "float32" and run.header.emulated
    tolerance = NARROWED if narrowed else TOLERANCE[network.dtype]
    test = open_data(inputs["data"]).test
    expected = np.load(inputs["network"] / EXPECTED)
    scores, labels = _labelled(run, test, context)
    reference = expected["scores"][: len(scores)]
    _compare(scores, reference, tolerance)
    metrics: dict[str, float] = {"checked_images": float(len(labels))}
    step = quantization_step(network, expected["scores"])
    if step is not None:
        metrics["output_agreement"] = share_within(scores, reference, step)
    right, usually = labels == test.labels[: len(labels)], expected["labels"] == test.labels
    difference = right.mean() - usually[: len(labels)].mean()
    metrics["executed_accuracy"] = float(np.clip(usually.mean() + difference, 0, 1))
    metrics["label_agreement"] = float((labels == expected["labels"][: len(labels)]).mean())
    return metrics


def _labelled(
    run: Executable, test: Split, context: Context
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The scores of the first CHECKED_IMAGES, and the labels of as many as CHECK_S allows."""
    deadline = time.monotonic() + CHECK_S
    at_once = max(CHECKED_AT_ONCE, run.header.input_shape[0])
    checked: list[NDArray[np.float32]] = []
    labels: list[NDArray[np.int64]] = []
    for start in range(0, len(test), at_once):
        if start and time.monotonic() > deadline:
            break
        context.progress(start / len(test), "checking")
        found = run.scores(test.images(slice(start, start + at_once)))
        checked.append(found[: max(0, CHECKED_IMAGES - start)])
        labels.append(found.argmax(axis=1))
    return np.concatenate(checked), np.concatenate(labels)


def _compare(found: NDArray[Any], expected: NDArray[Any], tolerance: float) -> None:
    distance = np.linalg.norm(found - expected) / max(float(np.linalg.norm(expected)), 1e-12)
    if not distance <= tolerance:  # also when it is NaN
        raise WrongAnswer(
            f"the executable computes wrong scores: relative distance {distance:.2g} from ONNX"
            f" Runtime's on the same network, at most {tolerance:g} is rounding"
        )
