"""Gates: the file takes, for every input, the routes whose probabilities the model's gates give.

A copy of the file is cut at the draws, so that any draw can be put on either side of every cumulated probability, on
the example and on inputs far from it. The probabilities are computed here, in numpy, from what the eager gate gives.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir
import onnxruntime
from numpy.typing import NDArray

from rr_export.eager.blocks import forced
from rr_export.errors import RunError
from rr_export.laws.plan import Plan
from rr_export.laws.policies import Gated
from rr_export.lowering import DRAWS, PATH, TAKEN
from rr_export.lowering.deciding_slice import cut_out, open_slice
from rr_export.parity.eager_model import Eager
from rr_export.parity.far_inputs import far_inputs
from rr_export.parity.paths import paths_taking_everything
from rr_export.parity.subject import File
from rr_export.parity.terms import Terms
from rr_export.report.report import Check

ROUNDED = 2e-4  # how far a draw is from a border, as engines sum in other orders; more where logits are large
GRID = 2**24
MOST_FAILURES = 5


def check_gates(eager: Eager, file: File, terms: Terms) -> Check:
    """Compares routes by the input with those that the probabilities of the model's gates give, near every border."""
    plan = file.plan
    failures: list[str] = []
    tried: dict[int, int] = dict.fromkeys(plan.gates, 0)
    farthest = 0.0
    session = open_slice(cut_out(ir.load(file.source), [*eager.inputs, DRAWS, PATH], [TAKEN]))
    inputs = [("the example", eager), *((f"inputs {name}", other) for name, other in far_inputs(eager))]
    for number, (where, given) in enumerate(inputs):
        terms.progress("gates", number, len(inputs))
        for site, path, logits in _decisions(given, plan):
            policy = plan.sites[site].policy
            assert isinstance(policy, Gated)
            farthest = max(farthest, _distance(logits))
            for draw, route in _borders(logits, policy.decision):
                tried[site] += 1
                got = _taken(session, given, plan, (site, draw), path)
                if got != route and len(failures) < MOST_FAILURES:
                    failures.append(
                        f"site {plan.sites[site].name!r}, {where}, path {path.tolist()}: expected draw {draw:.7f} to "
                        f"take route {route} by the logits {logits.tolist()}, got {got}"
                    )
    failures += [
        f"site {plan.sites[site].name!r}: expected a run that reaches the gate, got none to compare"
        for site, count in tried.items()
        if not count and plan.sites[site].calls
    ]
    return Check(
        "gates",
        not failures,
        f"{sum(tried.values())} draws on either side of what {len(tried)} gates give, at most {farthest:.2g} from "
        "it, on the example and on inputs far from it",
        tuple(failures),
        {"draws": sum(tried.values()), "farthest": farthest},
    )


def _decisions(eager: Eager, plan: Plan) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.float64]]]:
    """Yields (site, path taken, logits) of the gates on a few paths that together take everything."""
    for path in paths_taking_everything(plan):
        try:
            with forced(eager.model, path) as record:
                eager.request.outputs()
        except RunError:
            raise
        except Exception:  # numbers that the model itself does not take, for whatever reason
            return
        for site, logits in record.logits[-1].items():
            found = logits.detach().to("cpu").double().numpy()
            if np.isfinite(found).any() and not (np.isnan(found) | np.isposinf(found)).any():
                yield site, record.path, found


def _borders(logits: NDArray[np.float64], decision: str) -> Iterator[tuple[float, int]]:
    """Yields draws, and the route that each must take; none where a tie, or a border near another one, tells not."""
    last = 1 - 1 / GRID
    if decision == "argmax":
        best = np.sort(logits)[::-1]
        if len(best) < 2 or best[0] - best[1] > ROUNDED * max(1.0, abs(best[0])):
            yield from ((draw, int(np.argmax(logits))) for draw in (0.0, 0.5, last))
        return
    shares = np.exp(logits - logits.max())
    borders = np.cumsum(shares / shares.sum())[:-1]
    side = _distance(logits)
    for draw in [0.0, last, *(border + way for border in borders for way in (-side, side))]:
        if 0 <= draw < 1 and (not len(borders) or np.abs(borders - draw).min() > side / 2):
            yield float(np.floor(draw * GRID) / GRID), int((borders <= draw).sum())


def _distance(logits: NDArray[np.float64]) -> float:
    """How far draws are from a border: exponentials scale what is rounded in logits."""
    return float(ROUNDED * (1.0 + np.abs(logits[np.isfinite(logits)]).max()))


def _taken(
    session: onnxruntime.InferenceSession,
    given: Eager,
    plan: Plan,
    told: tuple[int, float],
    path: NDArray[np.int64],
) -> int:
    """The route that the file takes at a site for a draw; others take the path, and their draws are far from it."""
    site, draw = told
    draws = np.full(len(plan.sites), (draw + 0.5) % 1.0)
    draws[site] = draw
    asked = path.copy()
    asked[site] = -1
    whole = any(node.name == DRAWS and node.type == "tensor(int64)" for node in session.get_inputs())
    numbers = np.round(draws * GRID).astype(np.int64)
    feeds = {DRAWS: numbers if whole else (numbers / GRID).astype(np.float32), PATH: asked}
    names = {node.name for node in session.get_inputs()}
    return int(session.run([TAKEN], {n: a for n, a in {**given.inputs, **feeds}.items() if n in names})[0][site])
