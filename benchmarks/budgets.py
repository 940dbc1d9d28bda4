"""What runs take under laws that were fitted to budgets, as shares of what the dearest path takes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import rr_export as rr
from benchmarks.table import Row, Section
from rr_runtime import Session
from rr_runtime.tools.bench import bench
from rr_runtime.tools.timing import Case, Spread, Tell, Times, caption, interleave, session_options, spread_of

BUDGETS = (0.5, 0.6, 0.8)
GOAL = 0.1  # by which what is measured may be above the budget, relative to it
BLOCKS = 10  # of rounds, whose means are compared
CLOCK = "CPU time of the thread"


def measure(
    *, runs: int, progress: Tell | None = None, layers: int = 8, width: int = 512, budgets: Sequence[float] = BUDGETS
) -> Section:
    """Returns what runs take under each budget: their mean over that of the dearest path, in the same rounds."""
    with TemporaryDirectory() as folder:
        place = Path(folder) / "out"
        x = torch.randn(16, width, generator=torch.Generator().manual_seed(0))
        bundle = rr.export(routed(layers, width), (x,))
        bundle.save(place)
        figures = bench(place, runs=max(20, runs // 2), loads=0, clock=time.thread_time, progress=progress)
        costs = rr.Costs.from_bench(figures, bundle.plan)
        model = figures["subjects"][0]["model"]
        for budget in budgets:
            bundle = bundle.with_profile(str(budget), rr.fit_budget(bundle.plan, costs, budget))
        bundle.save(place, overwrite=True)
        cases = _cases(place, max(bundle.plan.paths(), key=costs.of), x.numpy(), budgets)
        times = interleave(
            cases, runs=runs, clock=time.thread_time, progress=progress, title="budgets", single=set(cases)
        )
    rows = [Row(f"budget {b:g}: share measured", _share(times, str(b)), b * (1 + GOAL)) for b in budgets]
    held = spread_of(np.array([abs(r["predicted_ms"] / r["measured_ms"] - 1) for r in model["held_out"]]))
    return Section(
        f"Budgets of a routed MLP ({layers} layers of width {width}, of which one may be half or none)",
        [*rows, Row(f"error of the costs on {model['paths']} held-out paths", held, GOAL)],
        caption(runs=runs, threads=1, clock=CLOCK, torch=torch.__version__),
    )


def routed(layers: int, width: int) -> nn.Module:
    """Returns layers that run with probability .9, the last of which may be one of half its width, or none."""
    torch.manual_seed(0)
    skipped = [rr.LayerChoice(_layer(width, width), 0.9) for _ in range(layers - 1)]
    branches = {"whole": _layer(width, width), "half": _layer(width, width // 2), "none": nn.Identity()}
    last = rr.OperationChoice(branches, rr.Categorical([0.8, 0.15, 0.05]))
    return nn.Sequential(*skipped, last, nn.Linear(width, 8)).eval()


def _layer(width: int, hidden: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))


def _cases(place: Path, dearest: Sequence[int], x: NDArray[np.float32], budgets: Sequence[float]) -> dict[str, Case]:
    """One run on the dearest path, and one on a fresh seed under each profile; all profiles have the same seeds."""
    session = Session(place, session_options=session_options(1))
    seeds = {str(budget): count() for budget in budgets}

    def run(name: str) -> object:
        return session.run({"input": x}, profile=name, seed=next(seeds[name]))

    cases: dict[str, Case] = {"dearest": lambda: session.run({"input": x}, path=dearest, seed=0)}
    return cases | {name: partial(run, name) for name in seeds}


def _share(times: Times, name: str) -> Spread:
    """The spread, over blocks of rounds, of mean over mean."""
    blocks = zip(np.array_split(times[name], BLOCKS), np.array_split(times["dearest"], BLOCKS), strict=True)
    return spread_of(np.array([one.mean() / other.mean() for one, other in blocks]))
