"""One table of what is recorded: metric → unit, layer that decides it, meaning.

It drives the database's checks, the columns of ``dlas.results``, the docs and the report.
"""

from __future__ import annotations

from dataclasses import dataclass

STATUSES = ("ok", "refused", "failed", "out_of_memory", "timed_out", "pending")


@dataclass(frozen=True)
class Column:
    name: str
    unit: str
    layer: str
    meaning: str


#: Numbers that a node of that layer yields, stored in ``metrics``.
METRICS = (
    Column("train_images", "images", "datasets", "images for training"),
    Column("calibration_images", "images", "datasets", "images for calibration"),
    Column("test_images", "images", "datasets", "images that accuracy is measured on"),
    Column("accuracy", "share", "models", "top-1 on the test split, by ONNX Runtime in float32"),
    Column("macs", "MAC", "models", "multiply-accumulates of one inference"),
    Column("parameters", "numbers", "models", "trainable numbers"),
    Column("pixels", "pixels", "models", "height × width of the image that the network takes"),
    Column("accuracy_before", "share", "optimizations", "top-1 before this optimization"),
    Column("accuracy_after", "share", "optimizations", "top-1 after it, by ONNX Runtime"),
    Column(
        "effective_macs", "MAC", "optimizations", "multiply-accumulates whose weight is not zero"
    ),
    Column("nonzeros", "numbers", "optimizations", "weights that are not zero"),
    Column("size_bytes", "bytes", "optimizations", "the network's file"),
    Column(
        "sparse_bytes", "bytes", "optimizations", "weights, each layer dense or CSR, the smaller"
    ),
    Column(
        "promised_speedup",
        "×",
        "optimizations",
        "dense MACs / effective MACs × 2 (float16, bfloat16) or 4 (int8)",
    ),
    Column("executed_accuracy", "share", "systems", "top-1 as this executable computes"),
    Column(
        "checked_images",
        "images",
        "systems",
        "test images that it labelled itself; the accuracy of the rest is ONNX Runtime's",
    ),
    Column(
        "label_agreement",
        "share",
        "systems",
        "test labels equal to ONNX Runtime's on the same file",
    ),
    Column(
        "output_agreement",
        "share",
        "systems",
        "scores of an int8 network at most one quantization step from ONNX Runtime's",
    ),
    Column("compile_s", "s", "systems", "compiling"),
    Column("executable_bytes", "bytes", "systems", "the compiled files"),
)

#: The columns of ``dlas.results``: one row per stack.
RESULTS = (
    Column("study", "", "", "the study's name"),
    Column("dataset", "", "datasets", "label of the choice"),
    Column("model", "", "models", "label of the choice"),
    Column("optimizations", "", "optimizations", "labels joined by ' + ', or none"),
    Column("algorithm", "", "algorithms", "label of the choice"),
    Column("system", "", "systems", "label of the choice"),
    Column("hardware", "", "hardware", "label of the choice"),
    Column("network", "", "models", "the network's name and size, without how it was trained"),
    Column("pixels", "pixels", "models", "height × width of the image that the network takes"),
    Column("compression", "", "optimizations", "names joined by ' + ', or none"),
    Column("primitive", "", "algorithms", "the algorithm's name; vendor where the system chooses"),
    Column("format", "", "algorithms", "how weights are stored: dense, csr, bsr_RxC …"),
    Column("software", "", "systems", "the system's name"),
    Column("tuning", "", "systems", "untuned, template or auto; vendor where there is no choice"),
    Column("threads", "cores", "systems", "cores used by one inference"),
    Column("batch", "images", "systems", "images of one inference"),
    Column("machine", "", "hardware", "the device, so that two are never mixed"),
    Column("status", "", "", "ok, refused, failed, out_of_memory, timed_out or pending"),
    Column("stage", "", "", "the layer where it ended, when not ok"),
    Column("message", "", "", "why, as a sentence, when not ok"),
    Column("accuracy", "share", "systems", "top-1 as executed; absent for random weights"),
    Column("baseline_accuracy", "share", "models", "top-1 of the network before optimization"),
    Column("label_agreement", "share", "systems", "test labels equal to ONNX Runtime's"),
    Column(
        "output_agreement",
        "share",
        "systems",
        "scores of an int8 network at most one quantization step from ONNX Runtime's",
    ),
    Column("test_images", "images", "datasets", "images behind an accuracy"),
    Column("precision", "", "optimizations", "type of the layers' operands; mixed if they differ"),
    Column("macs", "MAC", "models", "multiply-accumulates before optimization"),
    Column(
        "effective_macs", "MAC", "optimizations", "multiply-accumulates whose weight is not zero"
    ),
    Column("parameters", "numbers", "models", "trainable numbers before optimization"),
    Column("nonzeros", "numbers", "optimizations", "weights that are not zero"),
    Column("size_bytes", "bytes", "optimizations", "the network's file"),
    Column(
        "sparse_bytes", "bytes", "optimizations", "weights, each layer dense or CSR, the smaller"
    ),
    Column("promised_speedup", "×", "optimizations", "what the optimizations promise over none"),
    Column(
        "measured_speedup",
        "×",
        "hardware",
        "latency of the baseline / this one's",
    ),
    Column(
        "baseline",
        "",
        "",
        "key of the same stack without optimizations, its weights stored dense; '' if none",
    ),
    Column("latency_s", "s", "hardware", "median of one inference, of all images of the batch"),
    Column("latency_low_s", "s", "hardware", "95 % interval of the median, lower end"),
    Column("latency_high_s", "s", "hardware", "95 % interval of the median, upper end"),
    Column("first_run_s", "s", "hardware", "the first inference after loading"),
    Column("runs", "runs", "hardware", "samples behind the median"),
    Column("peak_bytes", "bytes", "hardware", "most memory of the timing process"),
    Column("compile_s", "s", "systems", "compiling, tuning included"),
    Column("energy_j", "J", "hardware", "per inference, from a real counter, else absent"),
    Column("emulated", "", "systems", "how it computes in another type than stated, if it does"),
    Column("warnings", "", "hardware", "what made the measurement doubtful, joined by '; '"),
    Column("taken_at", "", "hardware", "when it was measured, ISO 8601 UTC"),
    Column("group", "", "hardware", "what was timed side by side has one name"),
    Column("key", "", "", "the stack's key"),
)
