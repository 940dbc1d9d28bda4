"""A program: samples a routing slice in a process of its own, without torch.

Usage: first_runs.py SLICE FEEDS OUT SESSIONS RUNS LATENT TAKEN. Every session gets fresh entropy by
``onnxruntime.set_seed``, as the runtimes do; OUT is int64 [SESSIONS * RUNS, 2, S].
"""

from __future__ import annotations

import secrets
import sys
from pathlib import Path

import numpy as np
import onnxruntime


def main() -> None:
    """Writes the routes to OUT."""
    model, feeds_file, out, sessions, runs, *names = sys.argv[1:]
    content = Path(model).read_bytes()
    with np.load(feeds_file) as arrays:
        feeds = dict(arrays)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    found = []
    for _ in range(int(sessions)):
        onnxruntime.set_seed(secrets.randbits(31))
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        found += [np.stack(session.run(names, feeds)) for _ in range(int(runs))]
    np.save(out, np.stack(found))


if __name__ == "__main__":
    main()
