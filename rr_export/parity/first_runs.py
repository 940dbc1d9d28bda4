"""A program: samples a routing slice in a process of its own, without torch.

Usage: first_runs.py SLICE FEEDS OUT SESSIONS LATENT TAKEN. Every session gets fresh entropy by
``onnxruntime.set_seed``, as the runtimes do. What ONNX Runtime makes of the slice by default is made once: all sessions
run that, without optimising it again. OUT is int64 [SESSIONS, 2, S].
"""

from __future__ import annotations

import secrets
import sys
from pathlib import Path

import numpy as np
import onnxruntime


def main() -> None:
    """Writes the routes to OUT."""
    model, feeds_file, out, sessions, *names = sys.argv[1:]
    with np.load(feeds_file) as arrays:
        feeds = dict(arrays)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.optimized_model_filepath = f"{model}.optimized"
    onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    content = Path(options.optimized_model_filepath).read_bytes()
    options.optimized_model_filepath = ""
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    found = []
    for _ in range(int(sessions)):
        onnxruntime.set_seed(secrets.randbits(31))
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        found.append(np.stack(session.run(names, feeds)))
    np.save(out, np.stack(found))


if __name__ == "__main__":
    main()
