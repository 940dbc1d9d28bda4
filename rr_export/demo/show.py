"""The demo's tables."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from rr_export.demo.measure import Figures
from rr_export.demo.search import Corpus, Embeddings

SHOWN_QUERIES = 6
SHOWN_SKIPS = ((1, 1, 0, 1, 1, 1), (0, 1, 0, 1, 0, 1))


@contextmanager
def stage(console: Console, title: str) -> Iterator[Callable[[str, int, int], None]]:
    """Shows a bar inside the block; yields a function that moves it: (what, done, total)."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    if not console.is_terminal:
        console.print(f"{title} ...")
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)

        def tell(what: str, done: int, total: int) -> None:
            bar.update(task, description=f"{title}: {what}", completed=done, total=total)

        yield tell


def path_table(figures: Figures, corpus: Corpus, law: NDArray[np.float64]) -> Table:
    """Returns what the paths are worth, by the number of layers that run.

    Args:
        figures: what was measured.
        corpus: what was searched.
        law: float64 [7], the probability of every number of layers under the plan.
    """
    table = Table(
        title=f"Paths, by the number of layers that run: {len(corpus.queries)} queries on every path, "
        f"{len(corpus.documents)} documents embedded by the pretrained model",
        caption="P: probability under the plan; the others are means over the paths. cosine: to the query on the full "
        "path; first, top 5: where the answer is found; 1/rank: of the answer; time: of one query on one thread, in "
        f"units of the full path's {figures.full_seconds * 1e3:.1f} ms (medians of interleaved runs)",
    )
    for name in ("layers", "paths", "P", "cosine", "range", "first", "top 5", "1/rank", "time"):
        table.add_column(name, justify="right", no_wrap=True)
    for layers in range(len(law)):
        group = [f for f in figures.paths if f.layers == layers]
        cosines = [f.quality.cosine for f in group]
        table.add_row(
            str(layers),
            str(len(group)),
            f"{law[layers]:.4f}",
            f"{statistics.mean(cosines):.3f}",
            f"{min(cosines):.2f}-{max(cosines):.2f}",
            f"{statistics.mean(f.quality.hit1 for f in group):.0%}",
            f"{statistics.mean(f.quality.hit5 for f in group):.0%}",
            f"{statistics.mean(f.quality.mrr for f in group):.3f}",
            f"{statistics.median(f.time for f in group):.2f}",
        )
    return table


def ensemble_table(figures: Figures) -> Table:
    """Returns what ensembles of random paths are worth, beside the full path."""
    table = Table(
        title="Ensembles: the mean embedding of several runs, each on a random path",
        caption=f"mean and standard deviation over {len(figures.ensembles[0].qualities)} ensembles of each size; "
        "the paths are those that the file draws from the seeds 0, 1, ...; time: of all runs together",
    )
    for name in ("runs", "cosine", "1/rank", "worst", "top 5", "time"):
        table.add_column(name, justify="right")
    for ensemble in figures.ensembles:
        cosine, mrr, hit5 = ([getattr(q, n) for q in ensemble.qualities] for n in ("cosine", "mrr", "hit5"))
        table.add_row(
            str(ensemble.runs),
            f"{statistics.mean(cosine):.3f} ± {statistics.stdev(cosine):.3f}",
            f"{statistics.mean(mrr):.3f} ± {statistics.stdev(mrr):.3f}",
            f"{min(mrr):.3f}",
            f"{statistics.mean(hit5):.0%}",
            f"{ensemble.time:.2f}",
        )
    full = figures.full
    table.add_section()
    table.add_row("full path", f"{full.cosine:.3f}", f"{full.mrr:.3f}", f"{full.mrr:.3f}", f"{full.hit5:.0%}", "1.00")
    return table


def search_table(figures: Figures, corpus: Corpus) -> Table:
    """Returns what some queries find first, on the full path and on two others."""
    full = (1,) * len(SHOWN_SKIPS[0])
    paths = [full, *SHOWN_SKIPS]
    columns = [("".join(map(str, p)), figures.queries[p]) for p in paths]
    chosen = range(0, len(corpus.queries), max(1, len(corpus.queries) // SHOWN_QUERIES))
    table = Table(title="Found first, by path (1 runs a layer, 0 skips it)")
    table.add_column("query", overflow="fold")
    for name, _ in columns:
        table.add_column(name, overflow="fold")
    for i in list(chosen)[:SHOWN_QUERIES]:
        table.add_row(escape(corpus.queries[i]), *(_found(i, e, figures, corpus) for _, e in columns))
    return table


def _found(query: int, embeddings: Embeddings, figures: Figures, corpus: Corpus) -> str:
    best = int(np.argmax(figures.index @ embeddings[query]))
    colour = "green" if best == corpus.answers[query] else "red"
    return f"[{colour}]{escape(corpus.names[best])}[/]"


def print_all(console: Console, tables: Sequence[Table]) -> None:
    """Prints the tables with a line between them."""
    for table in tables:
        console.print(table)
        console.print()
