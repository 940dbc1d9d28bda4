"""The demo: a pretrained sentence encoder, routed, exported, proven, and used with the exported file alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from rr_export.bundle.bundle import Bundle
from rr_export.bundle.file_names import MANIFEST
from rr_export.bundle.saved_profiles import put_profile
from rr_export.capture.request import bind
from rr_export.demo.delta import DemoError
from rr_export.demo.measure import Figures, measure_search
from rr_export.demo.model import KEEP, Progress, embed_by_model, encoder, plain_encoder, weights_folder
from rr_export.demo.picture import plot_worth
from rr_export.demo.search import read_corpus, read_tokenizer
from rr_export.demo.show import ensemble_table, path_table, print_all, search_table, stage
from rr_export.demo.worth import front_of, menu_shares, read_rivals, verdict, worth_table
from rr_export.errors import ParityError
from rr_export.export import export
from rr_export.parity.terms import Terms
from rr_export.parity.verify import verify, verify_points
from rr_export.quality.front import Front
from rr_export.report.earlier import EARLIER
from rr_export.report.report import Report
from rr_runtime import Session
from rr_runtime.file_places import check_report_file

__all__ = ["DemoError", "encoder", "run_demo"]


def run_demo(output: Path, *, keep: float = KEEP, delta: bool = True, console: Console) -> None:
    """The bundle of the routed encoder is at ``output``, with a menu of paths, and what it is worth is on the console.

    A picture of that is beside the folder, with its name and ``.png``, where matplotlib is installed.

    Args:
        output: the folder of the bundle; an earlier bundle of the demo is replaced, nothing else.
        keep: P(run) of every layer, in [0, 1].
        delta: see :func:`encoder`.
        console: where tables and progress go.

    Raises:
        DemoError: the extra ``demo`` is not installed.
        BundleError: ``output`` holds something else.
        ValueError: something else than an earlier picture of the demo is in the picture's place.
        ParityError: the file is not the model.
    """
    weights_folder()
    picture = output.parent / f"{output.name}.png"
    if picture.exists():
        check_report_file(picture, option="demo", earlier=EARLIER["demo"])
    with stage(console, "all-MiniLM-L6-v2: loading"):
        case = encoder(keep, delta=delta)
    shapes = case.pop("dynamic_shapes")
    with stage(console, "exporting"):
        bundle = export(**case, dynamic_shapes=shapes)
        bundle.save(output, overwrite=_is_demo(output, bundle))
    with stage(console, "verifying") as tell, one_torch_thread():
        report = verify(bundle, **case, progress=tell)
    bundle.write_parity(report.to_json())
    print_all(console, [report.table()])

    corpus, tokens = read_corpus(), read_tokenizer(weights_folder())
    with stage(console, "documents by the pretrained model") as tell, one_torch_thread():
        index = embed_by_model(plain_encoder(), tokens, corpus.documents, progress=tell)
    session = Session(output, threads=1)  # from here on no torch
    with stage(console, "searching with the exported file") as tell:
        figures = measure_search(session, tokens, corpus, index, progress=tell)
    law = bundle.plan.kept_counts()
    print_all(console, [search_table(figures, corpus), path_table(figures, corpus, law), ensemble_table(figures)])
    front = front_of(figures)
    print_all(console, [worth_table(front, figures)])
    _put_menu(bundle, front, console)
    with stage(console, "verifying the menu") as tell, one_torch_thread():
        _prove_profiles(bundle, case, report, tell)
    _tell_worth(figures, front, len(corpus.documents), picture, delta=delta, console=console)
    proof = f"; rr-export verify {output} rr_export.demo:encoder" if delta else ""
    console.print(f"bundle: {output}   (rr-export inspect {output}{proof})")


def _put_menu(bundle: Bundle, front: Front, console: Console) -> None:
    """The saved bundle has its menu."""
    made = front.menu(bundle, menu_shares(front))
    for name in made.profiles:
        put_profile(bundle, name, made.profiles[name], overwrite=True)
    console.print(f"menu: {', '.join(made.profiles)} of the full path's time (session.run(x, budget=0.6))")


def _prove_profiles(bundle: Bundle, case: dict[str, Any], report: Report, progress: Progress) -> None:
    """The bundle's report has the proof of its profiles, too.

    Raises:
        ParityError: a profile gives another law.
    """
    assert bundle.path is not None
    request, terms = bind(**case), Terms.asked(rtol=None, atol=None, max_paths=256, progress=progress)
    checks = verify_points(bundle, bundle.path, request, terms, points=("profiles",))
    whole = replace(report, checks=(*report.checks, *checks))
    if not whole.passed:
        raise ParityError(f"demo: expected the profiles of the menu, got other laws\n{whole}", whole)
    bundle.write_parity(whole.to_json())


def _tell_worth(
    figures: Figures, front: Front, documents: int, picture: Path, *, delta: bool, console: Console
) -> None:
    """The picture and the sentence are there."""
    rivals = read_rivals()
    if find_spec("matplotlib") is None:
        console.print("no picture: it needs matplotlib; pip install 'rr-export[plot]'")
    else:
        plot_worth(front, figures, rivals, picture, name="this file")
        console.print(f"picture: {picture}")
    if documents != rivals.documents:
        console.print(f"(the others were measured on the {rivals.documents} documents of Python {rivals.python})")
    if delta:
        console.print(verdict(front, figures, rivals))


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
