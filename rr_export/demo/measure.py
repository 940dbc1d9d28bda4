"""What a path, and an ensemble of paths, are worth: similarity, search quality and time, measured on the file."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rr_export.demo.search import (
    Corpus,
    Embeddings,
    Tokenizer,
    calibration_error,
    embed,
    mean_embedding,
    mrr,
    name_queries,
    ranks,
)
from rr_runtime import Session

Path = tuple[int, ...]
Progress = Callable[[str, int, int], None]
ENSEMBLES = (1, 2, 4, 8, 16)  # runs
TRIALS = 60  # ensembles of each size
ROUNDS = 9  # timed runs of every path, interleaved


@dataclass(frozen=True)
class Quality:
    """How well a set of query embeddings finds the answers.

    Attributes:
        cosine: mean cosine similarity to the embeddings of the full path.
        hit1: share of queries whose answer is found first.
        hit5: share of queries whose answer is among the first five.
        mrr: mean of 1 / rank of the answer.
    """

    cosine: float
    hit1: float
    hit5: float
    mrr: float


@dataclass(frozen=True)
class PathFigures:
    """One path: its quality, and its time as a multiple of the full path's.

    Attributes:
        path: the routes.
        quality: with the queries on this path.
        names: mean of 1 / rank with the names of the functions as queries, by which paths are chosen.
        calibration: the expected calibration error of what these find first.
        time: median time of a query over that of the full path; 1 is equally slow.
    """

    path: Path
    quality: Quality
    names: float
    calibration: float
    time: float

    @property
    def layers(self) -> int:
        """The number of layers that run."""
        return sum(self.path)


@dataclass(frozen=True)
class EnsembleFigures:
    """Ensembles of one size, every run on a path that the file drew from a seed.

    Attributes:
        runs: per ensemble.
        qualities: one per trial.
        time: mean time of an ensemble over that of one full path.
    """

    runs: int
    qualities: tuple[Quality, ...]
    time: float


@dataclass(frozen=True)
class Figures:
    """Everything that the demo measures.

    Attributes:
        full: the quality of the full path.
        full_seconds: median time of one query on the full path, on one thread.
        paths: every path.
        ensembles: by size.
        queries: by path, float32 [Q, C].
        index: the documents, float32 [D, C].
    """

    full: Quality
    full_seconds: float
    paths: tuple[PathFigures, ...]
    ensembles: tuple[EnsembleFigures, ...]
    queries: Mapping[Path, Embeddings]
    index: Embeddings


def measure_search(
    session: Session, tokens: Tokenizer, corpus: Corpus, index: Embeddings, *, progress: Progress
) -> Figures:
    """Returns the figures of all paths, and of ensembles of them: the queries go through every path.

    Args:
        session: the exported file, on one thread.
        tokens: from sentences to the file's inputs.
        corpus: what is searched.
        index: its documents by the pretrained model, float32 [D, C], as an index that was there before.
        progress: called with (stage, done, total).
    """
    paths = list(itertools.product((0, 1), repeat=len(session.sites)))
    full = paths[-1]
    queries: dict[Path, Embeddings] = {}
    names: dict[Path, tuple[float, float]] = {}
    named = name_queries(corpus)
    for number, path in enumerate(paths):
        progress("queries on every path", number, len(paths))
        queries[path] = embed(session, tokens, corpus.queries, path)
        found = embed(session, tokens, named.queries, path, batch=64)
        names[path] = (mrr(found, index, named.answers), calibration_error(found, index, named.answers))

    def quality(embeddings: Embeddings) -> Quality:
        found = ranks(embeddings, index, corpus.answers)
        cosine = float((embeddings * queries[full]).sum(1).mean())
        return Quality(cosine, float((found == 1).mean()), float((found <= 5).mean()), float((1 / found).mean()))

    seconds = _time_paths(session, tokens, corpus.queries, paths, progress)
    figures = tuple(PathFigures(p, quality(queries[p]), *names[p], seconds[p] / seconds[full]) for p in paths)
    relative = {f.path: f.time for f in figures}
    drawn = _draw_paths(session, tokens, TRIALS * max(ENSEMBLES), progress)
    trials = [drawn[i : i + max(ENSEMBLES)] for i in range(0, len(drawn), max(ENSEMBLES))]
    ensembles = tuple(
        EnsembleFigures(
            runs,
            tuple(quality(mean_embedding([queries[p] for p in trial[:runs]])) for trial in trials),
            statistics.mean(sum(relative[p] for p in trial[:runs]) for trial in trials),
        )
        for runs in ENSEMBLES
    )
    return Figures(quality(queries[full]), seconds[full], figures, ensembles, queries, index)


def _time_paths(
    session: Session, tokens: Tokenizer, queries: Sequence[str], paths: Sequence[Path], progress: Progress
) -> dict[Path, float]:
    """Median seconds per query by path; every round runs one query on every path."""
    spent: dict[Path, list[float]] = {path: [] for path in paths}
    for path in paths:
        session.run(tokens([queries[0]]), path=path)
    middle = sorted(queries, key=len)[len(queries) // 2]  # one length, so that only the path differs
    feeds = tokens([middle])
    for number in range(ROUNDS):
        progress("time of every path", number, ROUNDS)
        for path in paths:
            start = time.perf_counter()
            session.run(feeds, path=path)
            spent[path].append(time.perf_counter() - start)
    return {path: statistics.median(times) for path, times in spent.items()}


def _draw_paths(session: Session, tokens: Tokenizer, count: int, progress: Progress) -> list[Path]:
    """The paths that the file takes for the seeds 0, 1, ..."""
    feeds = tokens(["path"])  # the shortest text there is: only the path matters
    drawn: list[Path] = []
    for seed in range(count):
        if seed % 50 == 0:
            progress("random paths", seed, count)
        path = session.run(feeds, seed=seed).path
        assert path is not None
        drawn.append(tuple(path.tolist()))
    return drawn
