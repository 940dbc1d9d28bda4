"""The demo: a pretrained sentence encoder, routed, exported, proven, and used with the exported file alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from rich.console import Console

from rr_export.bundle.bundle import Bundle
from rr_export.bundle.file_names import MANIFEST
from rr_export.demo.measure import measure_search
from rr_export.demo.model import KEEP, DemoError, encoder, weights_folder
from rr_export.demo.search import read_corpus, read_tokenizer
from rr_export.demo.show import ensemble_table, path_table, print_all, search_table, stage
from rr_export.export import export
from rr_export.parity.verify import verify
from rr_runtime import Session

__all__ = ["DemoError", "encoder", "run_demo"]


def run_demo(output: Path, *, keep: float = KEEP, console: Console) -> None:
    """The bundle of the routed encoder is at ``output``, and what it is worth is on the console.

    Args:
        output: the folder of the bundle; an earlier bundle of the demo is replaced, nothing else.
        keep: P(run) of every layer, in [0, 1].
        console: where tables and progress go.

    Raises:
        DemoError: the extra ``demo`` is not installed.
        BundleError: ``output`` holds something else.
        ParityError: the file is not the model.
    """
    weights_folder()
    with stage(console, "all-MiniLM-L6-v2: loading"):
        case = encoder(keep)
    shapes = case.pop("dynamic_shapes")
    with stage(console, "exporting"):
        bundle = export(**case, dynamic_shapes=shapes)
        bundle.save(output, overwrite=_is_demo(output, bundle))
    with stage(console, "verifying") as tell, one_torch_thread():
        report = verify(bundle, **case, progress=tell)
    bundle.write_parity(report.to_json())
    print_all(console, [report.table()])

    session = Session(output, threads=1)  # from here on no torch
    corpus = read_corpus()
    with stage(console, "searching with the exported file") as tell:
        figures = measure_search(session, read_tokenizer(weights_folder()), corpus, progress=tell)
    law = bundle.plan.kept_counts()
    print_all(console, [search_table(figures, corpus), path_table(figures, corpus, law), ensemble_table(figures)])
    console.print(f"bundle: {output}   (rr-export inspect {output}; rr-export verify {output} rr_export.demo:encoder)")


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """The model is small: threads that wait for each other on a busy machine make it ten times slower, not faster."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _is_demo(output: Path, bundle: Bundle) -> bool:
    """Whether ``output`` holds an earlier bundle of the demo: one with the same sites."""
    try:
        sites = json.loads((output / MANIFEST).read_text())["sites"]
        return [row["name"] for row in sites] == [row["name"] for row in bundle.manifest["sites"]]
    except (OSError, ValueError, KeyError, TypeError):
        return False
