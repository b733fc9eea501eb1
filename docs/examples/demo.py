import dlas

train = {"epochs": 15, "lr": 0.05, "batch": 64}
study = dlas.Study(
    name="ten-lines",
    base={
        "dataset": {"name": "digits", "size": 16},
        "model": {"vgg": 11, "width": 0.25, "train": train},
    },
    axes={
        "optimizations": [[], ["float16"], ["int8"], [{"weight_pruning": 0.5}]],
        "algorithm": ["vendor", "gemm"],
        "system": ["onnxruntime", "tvm"],
    },
)
frame = dlas.run(study)
print(frame[["optimizations", "system", "accuracy", "latency_s", "measured_speedup"]])
print(dlas.write_report(study))
