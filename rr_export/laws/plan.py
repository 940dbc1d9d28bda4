"""The plan: all sites of a model with their policies, and the exact law of paths.

Sites without a chain are chains of one step, so there is one mechanism: every chain is a row vector times
transition matrices (the forward algorithm), and different chains are independent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rr_export.laws.path_search import count_paths, covering, most_probable
from rr_export.laws.policies import Categorical, Gated, Policy, Uniform
from rr_export.laws.site import Layout, Pair, Site
from rr_runtime.one_line import cut_to_line, list_few

__all__ = ["Plan", "Site"]

Event = Mapping[int, Sequence[int]]  # site index -> the routes it may have; sites not named may have any


class Plan(Layout):
    """Sites in site order, and the exact law of their routes.

    Paths are int [S]. Latent routes have a route 0..K-1 for every site, reported paths -1 where a site is not
    reached.

    Raises:
        PlanError: names repeat, a policy has another K, a chain is not whole, or calls do not nest.
    """

    def with_policies(self, policies: Mapping[str, Policy] | Sequence[Policy]) -> Plan:
        """Returns the plan with other policies, for some sites by name, or for all in site order.

        Raises:
            ValueError: there is no such site, or not one policy for each.
            PlanError: a policy has another K, or a chain is not whole.
        """
        if not isinstance(policies, Mapping):
            if len(policies) != len(self.sites):
                raise ValueError(
                    f"policies: expected one for each of {len(self.sites)} sites, got {len(policies)}; name the sites"
                )
            policies = {site.name: policy for site, policy in zip(self.sites, policies, strict=True)}
        names = [site.name for site in self.sites]
        for name in policies:
            if name not in names:
                raise ValueError(f"policies: expected names of sites ({list_few(names)}), got {name!r}; see plan.sites")
        return Plan([replace(site, policy=policies.get(site.name, site.policy)) for site in self.sites])

    @cached_property
    def gates(self) -> tuple[int, ...]:
        """The indices of the sites whose routes the input decides."""
        return tuple(i for i, site in enumerate(self.sites) if isinstance(site.policy, Gated))

    def evenly(self) -> Plan:
        """Returns the plan in which every branch of a gate is equally likely: for what only needs some law."""
        return self._given({i: Uniform(self.sites[i].policy.branches) for i in self.gates})

    def settled(self) -> Plan:
        """Returns the plan in which every gate takes its branch 0, as where a run is forced to."""
        return self._given({i: Categorical(np.eye(self.sites[i].policy.branches)[0]) for i in self.gates})

    def told_marginals(self) -> tuple[NDArray[np.float64] | None, ...]:
        """Returns the law of every latent route, float64 [K] each, as ``marginals``; None where the input decides."""
        laws = self.evenly().marginals()
        return tuple(None if i in self.gates else law for i, law in enumerate(laws))

    def told_reached(self) -> tuple[float | None, ...]:
        """Returns the probability of every site being reached, as ``reached``; None where that depends on the input."""
        reached = self.evenly().reached()
        inside = [any(s in self.gates for call in site.calls for s, _ in call) for site in self.sites]
        return tuple(None if gated else float(p) for p, gated in zip(reached, inside, strict=True))

    def _given(self, policies: Mapping[int, Policy]) -> Plan:
        return self.with_policies({self.sites[i].name: policy for i, policy in policies.items()}) if policies else self

    def check_path(self, path: ArrayLike) -> NDArray[np.int64]:
        """Returns the path as int64 [S].

        Raises:
            ValueError: it has another length, or a route that its site does not have.
        """
        given = np.asarray(path)
        if given.shape != (len(self.sites),) or (given.size and given.dtype.kind not in "iu"):
            raise ValueError(
                f"path: expected {len(self.sites)} integers, one per site, got {given.dtype} of shape {given.shape}; "
                "see plan.sites for their order"
            )
        for route, site in zip(given.tolist(), self.sites, strict=True):
            if not -1 <= route < len(site.branches):
                raise ValueError(
                    f"path: expected -1 (draw) or 0..{len(site.branches) - 1} ({', '.join(site.branches)}) for site "
                    f"{site.name!r}, got {route}; mend that route"
                )
        return given.astype(np.int64)

    def check_whole_path(self, path: ArrayLike) -> NDArray[np.int64]:
        """Returns the path as int64 [S]; it has a route for every site that is reached on it.

        Raises:
            ValueError: it has not, or does not fit (see check_path).
        """
        routes = self.check_path(path)
        for i in np.flatnonzero(self.reach(routes) & (routes < 0)):
            raise ValueError(
                f"path: expected a route for site {self.sites[i].name!r}, which is reached on {routes.tolist()}, got "
                "-1; give its route"
            )
        return routes

    def routes(self, draws: ArrayLike, forced: ArrayLike | None = None) -> NDArray[np.int64]:
        """Returns the latent routes, int64 [S], for draws float32 [S] in [0, 1); -1 where a gate decides.

        ``forced`` routes >= 0 are an intervention: later steps of a chain see them, no other site changes.

        Raises:
            ValueError: there is not one draw in [0, 1) per site, or ``forced`` does not fit (see check_path).
        """
        drawn, found = np.asarray(draws, dtype=np.float32), np.zeros(len(self.sites), dtype=np.int64)
        if drawn.shape != found.shape:
            raise ValueError(f"draws: expected shape {found.shape}, got {drawn.shape}; give one draw per site")
        asked = np.full(len(self.sites), -1) if forced is None else self.check_path(forced)
        for chain in self.chains:
            previous = 0
            for i in chain:
                if asked[i] >= 0 or i in self.gates:
                    previous = int(asked[i])
                else:
                    previous = self.sites[i].policy.route(drawn[i], previous)
                found[i] = previous
        return found

    def reach(self, routes: ArrayLike) -> NDArray[np.bool_]:
        """Returns which sites are reached with these latent routes (or this path), bool [S]."""
        taken = np.asarray(routes)
        return np.array([any(all(taken[s] == k for s, k in call) for call in site.calls) for site in self.sites], bool)

    def taken(self, routes: ArrayLike) -> NDArray[np.int64]:
        """Returns the reported path, int64 [S]: the latent routes, -1 where a site is not reached."""
        latent = np.array(routes, dtype=np.int64)
        return np.where(self.reach(latent), latent, -1) if self._nested else latent

    def probability(self, path: ArrayLike) -> float:
        """Returns the exact probability of a path; the latent routes of sites with -1 are summed over.

        Raises:
            ValueError: the path does not fit, or has -1 at a site that is reached on it.
        """
        routes = self.check_whole_path(path)
        return self.probability_of({i: [int(r)] for i, r in enumerate(routes) if r >= 0})

    def probability_of(self, event: Event) -> float:
        """Returns P(every named site has one of its named routes), by the forward algorithm."""
        total = 1.0
        for chain in self.chains:
            if not any(i in event for i in chain):
                continue
            state = np.ones(1)
            for i in chain:
                state = state @ self.sites[i].policy.table
                if i in event:
                    mask = np.zeros(len(state))
                    mask[list(event[i])] = 1.0
                    state = state * mask
            total *= float(state.sum())
        return total

    def probability_of_any(self, events: Sequence[Event]) -> float:
        """Returns P(at least one event happens), by splitting on the sites that they name (Shannon's expansion)."""
        return self._any([{i: frozenset(r) for i, r in e.items()} for e in events], {})

    def marginals(self) -> tuple[NDArray[np.float64], ...]:
        """Returns the law of every latent route, float64 [K] each: P(X_t) = sum P(X_{t-1}) P(X_t | X_{t-1})."""
        found: dict[int, NDArray[np.float64]] = {}
        for chain in self.chains:
            state = np.ones(1)
            for i in chain:
                state = state @ self.sites[i].policy.table
                found[i] = state
        return tuple(found[i] for i in range(len(self.sites)))

    def joint(self, i: int, j: int) -> NDArray[np.float64]:
        """Returns the joint law of two sites' latent routes, float64 [K_i, K_j]."""
        laws = self.marginals()
        if i == j:
            return np.diag(laws[i])
        chain = next(c for c in self.chains if i in c)
        if j not in chain:
            return np.outer(laws[i], laws[j])
        first, last = sorted((chain.index(i), chain.index(j)))
        joint = np.diag(laws[chain[first]])
        for site in chain[first + 1 : last + 1]:
            joint = joint @ self.sites[site].policy.table
        return joint if chain[first] == i else joint.T

    def kept_counts(self) -> NDArray[np.float64]:
        """Returns the law of the number of sites whose latent route is not 0, float64 [S + 1]."""
        law = np.ones(1)
        for chain in self.chains:
            counts = np.zeros((len(chain) + 1, 1))
            counts[0] = 1.0
            for i in chain:
                step = counts @ self.sites[i].policy.table
                counts = np.zeros_like(step)
                counts[:, 0] = step[:, 0]
                counts[1:, 1:] += step[:-1, 1:]
            law = np.convolve(law, counts.sum(axis=1))
        return law

    def reached(self) -> NDArray[np.float64]:
        """Returns the exact probability of every site being reached, float64 [S]."""
        return np.array([self._reached_any(site.calls) for site in self.sites])

    def paths(self) -> Iterator[tuple[int, ...]]:
        """Yields every reported path once, those of probability 0 included (they can be forced).

        They come like the numbers of an odometer: sites later in ``order`` turn faster.
        """
        path = [-1] * len(self.sites)
        turned = -1  # the position in `order` of the last site that moved on
        while True:
            for i in self.order[turned + 1 :]:
                path[i] = 0 if self.is_reached(i, path) else -1
            yield tuple(path)
            positions = reversed(range(len(self.order)))
            turned = next((p for p in positions if 0 <= path[self.order[p]] < self._last_route(self.order[p])), -1)
            if turned < 0:
                return
            path[self.order[turned]] += 1

    def path_count(self) -> int:
        """Returns how many reported paths there are, without enumerating independent parts together."""
        return count_paths(self)

    def most_probable(self) -> tuple[int, ...]:
        """Returns the reported path of highest probability, exactly."""
        return most_probable(self)

    def covering(self, seed: int = 0) -> list[tuple[int, ...]]:
        """Returns reported paths in which every pair of routes of two sites occurs that occurs in any path."""
        return covering(self, seed)

    def __repr__(self) -> str:
        """Shows the sites with their numbers of branches."""
        names = list_few(f"{site.name}[{len(site.branches)}]" for site in self.sites)
        return cut_to_line(f"Plan({len(self.sites)} sites: {names})") if self.sites else "Plan(no sites)"

    @cached_property
    def _nested(self) -> bool:
        return any(() not in site.calls for site in self.sites)

    def _last_route(self, i: int) -> int:
        return len(self.sites[i].branches) - 1

    def _reached_any(self, calls: Sequence[Sequence[Pair]]) -> float:
        return self.probability_of_any([{s: [k] for s, k in call} for call in calls if len(dict(call)) == len(call)])

    def _any(self, events: list[dict[int, frozenset[int]]], given: dict[int, list[int]]) -> float:
        if not events:
            return 0.0
        if any(not event for event in events):
            return self.probability_of(given)
        site = min(events[0])
        total = 0.0
        parts: dict[tuple[bool, ...], list[int]] = {}
        for route in range(self.sites[site].policy.branches):
            parts.setdefault(tuple(route in e.get(site, (route,)) for e in events), []).append(route)
        for alive, routes in parts.items():
            rest = [{i: r for i, r in e.items() if i != site} for e, ok in zip(events, alive, strict=True) if ok]
            total += self._any(rest, given | {site: routes})
        return total
