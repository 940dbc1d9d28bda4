"""Where two models part: weights that differ, then the first value of a run that does, then how the difference grows.

What a value should be is told by the eager model where a module returns it, and by the graph that a capture of the
model gives now everywhere else; where a file is compared with a bundle, by the bundle's own file.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from rr_export.bundle.bundle import Bundle
from rr_export.bundle.site_keys import MIDDLE_KEY, SITE_KEY
from rr_export.capture.origins import line_of, module_of
from rr_export.laws.plan import Plan
from rr_export.lowering.deciding_slice import Path_, give_path
from rr_export.parity.compare import Arrays
from rr_export.parity.intermediates import Intermediate, intermediates, values_in_runs
from rr_export.parity.named_weights import weights_in
from rr_export.parity.pairing import ROUTING, paired_values
from rr_export.parity.subject import forcing_feeds
from rr_export.parity.terms import Terms
from rr_export.report.divergence import Divergence, DivergingValue

logger = logging.getLogger(__name__)

STEPS = 8  # of the growth


@dataclass(frozen=True)
class Known:
    """What is right, for a run on one path.

    Attributes:
        model: the graph whose values are right.
        returned: what modules return in that run, by module, where the model says so itself.
    """

    model: ir.Model
    returned: Mapping[str, NDArray[Any]] = field(default_factory=dict)


def divergence_from_file(
    bundle: Bundle, model: ir.Model, inputs: Arrays, path: Path_ | None, terms: Terms
) -> Divergence | None:
    """Returns where a rewritten file parts from the bundle that it came from; None where nothing was found.

    Args:
        bundle: the bundle.
        model: the rewritten file.
        inputs: on which outputs differ.
        path: where they differ; None: only weights are compared.
        terms: what counts as equal.
    """
    weights = differing_weights(model, bundle.model)
    if path is None:
        return Divergence((), weights) if weights else None
    feeds = forcing_feeds(bundle.manifest["interface"], inputs, path)
    known = Known(forcible(bundle.model, bundle))
    return diverging(known, forcible(model, bundle), bundle.plan, feeds, path, weights, terms)


def searched(search: Callable[[], Divergence | None], path: Path_ | None) -> Divergence | None:
    """Returns what a search finds; where it fails, that is said, and takes nothing from the verdict."""
    try:
        return search()
    except Exception as error:
        logger.debug("the search for the cause failed", exc_info=True)
        text = " ".join(str(error).split())[:200]
        return Divergence(tuple(path or ()), note=f"no cause was found: {type(error).__name__}: {text}")


def differing_weights(found: ir.Model, right: ir.Model) -> tuple[str, ...]:
    """Returns the names of weights whose numbers are not what they should be, in the order of the right model.

    A weight that the other model stores under another name, as it was equal to one there, is looked for among all.
    """
    stored = dict(weights_in(found))
    contents: set[bytes] | None = None
    differing = []
    for name, tensor in weights_in(right):
        other = stored.get(name)
        if other is tensor:
            continue
        if other is None:
            contents = contents if contents is not None else set(map(_hash, stored.values()))
        same = _hash(other) == _hash(tensor) if other is not None else _hash(tensor) in (contents or ())
        if not same:
            differing.append(name)
    return tuple(differing)


def _hash(tensor: ir.TensorProtocol) -> bytes:
    array = np.ascontiguousarray(tensor.numpy())
    told = f"{array.dtype} {array.shape}".encode()
    return hashlib.blake2b(told + array.tobytes(), digest_size=16).digest()


def forcible(model: ir.Model, bundle: Bundle) -> ir.Model:
    """The model, or, standalone, a copy cut at the path taken."""
    if bundle.manifest["interface"] != "standalone":
        return model
    copy = model.clone()
    give_path(copy, len(bundle.plan.sites))
    return copy


def diverging(
    known: Known,
    model: ir.Model,
    plan: Plan,
    feeds: dict[str, NDArray[Any]],
    path: Path_,
    weights: tuple[str, ...],
    terms: Terms,
) -> Divergence | None:
    """Compares the values of both graphs that play the same part, in the order in which they are computed."""
    # what decides is drawn anew on either side, and the path is forced
    paired = paired_values(model, known.model)
    last = {_module(right.node): value.name for value, right in paired}  # where the growth is looked at
    first, growth, compared = None, [], 0
    modules = _Modules(known.returned, terms)
    for value, right, one, other in _pairs(known.model, model, paired, feeds):
        module = _module(right.node)
        compared += 1
        if first is None and not terms.comparison().add("", {"": one}, {"": other}):
            first = _told(value, right.node, plan, one, other)
        elif first is not None and module and last[module] == value.name:
            growth.append((module, _apart(one, other)))
        modules.look(module, value, other)
    if first is None:
        odd = modules.first_without_equal()
        origins = {value.name: right.node for value, right in paired}
        first = None if odd is None else _told(odd[0], origins[odd[0].name], plan, odd[1], odd[2])
    if first is None and not weights:
        return None
    total = sum(not value.name.startswith(ROUTING) for value in intermediates(known.model))
    note = f"{total - len(paired)} of {total} values have no partner" if total > len(paired) else ""
    return Divergence(tuple(path), weights, first, tuple(_some(growth)), compared, note)


def _pairs(
    right: ir.Model,
    found: ir.Model,
    pairs: Sequence[tuple[Intermediate, Intermediate]],
    feeds: dict[str, NDArray[Any]],
) -> Iterator[tuple[Intermediate, Intermediate, NDArray[Any], NDArray[Any]]]:
    """What values are on both sides, of those that the path computes."""
    ours, theirs = ([pair[side] for pair in pairs] for side in (0, 1))
    sides = values_in_runs(found, ours, feeds), values_in_runs(right, theirs, feeds)
    waiting = iter(pairs)
    for got, expected in zip(*sides, strict=True):
        for _ in got:
            value, other = next(waiting)
            one, another = expected[other.name], got[value.name]
            if "If" not in (value.node.op_type, other.node.op_type) and (one.size or another.size):
                yield value, other, one, another


def _module(node: ir.Node) -> str:
    """The module that a node is captured in, or, in a file, whose weights it takes; "" where neither is known."""
    weights = [v for v in node.inputs if v is not None and v.producer() is None and v.const_value is not None]
    names = [v.name for v in weights if v.name and "." in v.name and not v.name.startswith(ROUTING)]
    return module_of(node) or (names[0].rpartition(".")[0] if names else "")


class _Modules:
    """Which modules return what no value of the file is that was computed in them, or in modules inside them."""

    def __init__(self, returned: Mapping[str, NDArray[Any]], terms: Terms) -> None:
        self._returned, self._terms = returned, terms
        self._nearest: dict[str, tuple[Intermediate, NDArray[Any], NDArray[Any]]] = {}
        self._equal: set[str] = set()

    def look(self, module: str, value: Intermediate, array: NDArray[Any]) -> None:
        """A value of the file that was computed in a module."""
        while module:
            returned = self._returned.get(module)
            if returned is not None and module not in self._equal and returned.shape == array.shape:
                if self._terms.comparison().add("", {"": returned}, {"": array}):
                    self._equal.add(module)
                self._nearest[module] = (value, returned, array)
            module = module.rpartition(".")[0]

    def first_without_equal(self) -> tuple[Intermediate, NDArray[Any], NDArray[Any]] | None:
        """The last value of the first such module, what it should be, and what it is."""
        return next((found for module, found in self._nearest.items() if module not in self._equal), None)


def _told(
    value: Intermediate, origin: ir.Node, plan: Plan, expected: NDArray[Any], got: NDArray[Any]
) -> DivergingValue:
    site, branch = _branch_around(value, plan)
    one, other = _at_largest(expected, got)
    instead = "" if value.node.op_type == origin.op_type else f" in place of {origin.op_type}"
    return DivergingValue(
        value.name,
        f"{value.node.name} ({value.node.op_type}{instead})",
        _module(origin),
        Path(line_of(origin)).name,
        site,
        branch,
        one,
        other,
        _apart(expected, got),
    )


def _branch_around(value: Intermediate, plan: Plan) -> tuple[str, str]:
    """The innermost site around a value, and the branches of it that compute the value; "" where there is none."""
    inner: Any = value.node.graph
    site, low, high = -1, 0, 0
    for node in reversed(value.around):
        here = int(node.metadata_props.get(SITE_KEY, -1))
        if here >= 0 and site in (-1, here):
            middle = int(node.metadata_props.get(MIDDLE_KEY, 0))
            low, high = (low, high) if site == here else (0, len(plan.sites[here].branches))
            is_then = inner is node.attributes["then_branch"].as_graph()
            low, high = (max(low, middle), high) if is_then else (low, min(high, middle) if middle else high)
            site = here
        inner = node.graph
    return ("", "") if site < 0 else (plan.sites[site].name, " or ".join(plan.sites[site].branches[low:high]))


def _at_largest(expected: NDArray[Any], got: NDArray[Any]) -> tuple[str, str]:
    """Both sides where they differ most, in words."""
    if expected.shape != got.shape or expected.dtype != got.dtype:
        shown = [f"{side.dtype} {list(side.shape)}" if side.size else "nothing computed" for side in (expected, got)]
        return shown[0], shown[1]
    if not expected.size:
        return "nothing", "nothing"
    with np.errstate(invalid="ignore"):
        apart = np.abs(expected.astype(np.float64) - got.astype(np.float64))
    place = np.unravel_index(int(np.nan_to_num(apart, nan=np.inf).argmax()), apart.shape)
    where = f" at {[int(i) for i in place]}" if expected.ndim else ""
    return f"{expected[place]:.6g}{where}", f"{got[place]:.6g}"


def _apart(expected: NDArray[Any], got: NDArray[Any]) -> float:
    """The largest difference of the numbers of two arrays; infinite where they cannot be compared."""
    if expected.shape != got.shape or expected.dtype.kind not in "fiub":
        return math.inf
    with np.errstate(invalid="ignore"):
        apart = np.abs(expected.astype(np.float64) - got.astype(np.float64))
    return float(apart.max(initial=0.0)) if not np.isnan(apart).any() else math.inf


def _some(growth: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """At most ``STEPS`` of the steps, evenly apart, first and last among them."""
    if len(growth) <= STEPS:
        return list(growth)
    return [growth[i] for i in dict.fromkeys(np.linspace(0, len(growth) - 1, STEPS).astype(int).tolist())]
