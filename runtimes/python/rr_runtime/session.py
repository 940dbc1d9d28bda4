"""The session: opens a bundle or a model file once, and runs it with fresh, seeded or forced paths."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import ArrayLike, NDArray

from rr_runtime.arguments import InputCheck, check_count, check_shapes
from rr_runtime.asked import AskedCheck
from rr_runtime.bundle import Bundle, open_bundle
from rr_runtime.designs import INDEPENDENT
from rr_runtime.draws import check_seed, fresh_seed
from rr_runtime.engines import Engine, Opening, open_engine
from rr_runtime.ensemble import Score, check_wanted, gather
from rr_runtime.errors import BundleError, RuntimeFailure, run_failure
from rr_runtime.explanation import REPORTED, Explanation, explain_run
from rr_runtime.fastest import Fastest, recorded_fastest
from rr_runtime.faults import refuse_faults
from rr_runtime.golden import check_golden
from rr_runtime.manifest import Manifest, Tensor
from rr_runtime.one_line import cut_to_line, list_few
from rr_runtime.prepared import PreparedRun
from rr_runtime.profile import Profile
from rr_runtime.provider_options import CPU
from rr_runtime.providers import find_provider, short_name
from rr_runtime.results import EnsembleResult, Result
from rr_runtime.site_law import Site
from rr_runtime.target import DEFAULT, Target
from rr_runtime.tuning import Tuning, default_tuning


class Session:
    """A routed file, ready to run; one session may be used by many threads at once on the CPU and CUDA providers.

    A run of an explicit or host file always feeds a seed, fresh from the operating system where none is given, so the
    random node in the graph is never used. A standalone file draws with its own random node: its session sets
    onnxruntime's process-wide seed once, from the operating system, when it is made.

    Args:
        path: a bundle folder, whose files are checked against their recorded hashes, or a single model file, which is
            loaded twice (its manifest is inside).
        provider: the execution provider, by its short name ("cpu", "cuda", ...) or onnxruntime's. Nodes that it cannot
            run are on the CPU. One that does not work, or is known to compute this file wrongly without an error, is
            an error. "auto" is the CPU, unless `rr-export bench --record` found another one faster on this machine and
            no target is named.
        target: which form of the model: the name of one of the bundle's targets, or "default" for its own model; None
            takes the target that is called like the provider, where there is none the bundle's own model, and in a
            folder without that its first target.
        threads: the number of threads inside one operator, >= 1; None leaves it to `tuning`.
        tuning: how the session computes; None takes what is faster on this kind of machine, or, with provider="auto",
            what was recorded.
        session_options: onnxruntime's options, used as they are; not together with `threads` or `tuning`.
        provider_options: options of the provider, which take the place of those that `rr_runtime` gives it.
        loaded_paths: how many paths of a frozen target stay loaded, >= 1; the least recently used one goes.

    Raises:
        BundleError: the file or bundle is missing, damaged, foreign or does not agree with itself.
        ProviderError: the provider is unknown or does not work on this machine.
        ValueError: the bundle has no such target.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        provider: str = "cpu",
        target: str | None = None,
        threads: int | None = None,
        tuning: Tuning | None = None,
        session_options: onnxruntime.SessionOptions | None = None,
        provider_options: Mapping[str, str] | None = None,
        loaded_paths: int = 8,
    ) -> None:
        if threads is not None:
            threads = check_count(threads, "threads")
        for name, value in (("threads", threads), ("tuning", tuning)):
            if value is not None and session_options is not None:
                raise ValueError(
                    f"{name}: expected None beside session_options, got {value}; "
                    "set session_options.intra_op_num_threads"
                )
        if tuning is not None and not isinstance(tuning, Tuning):
            raise TypeError(f"tuning: expected a Tuning, got {type(tuning).__name__}; pass rr_runtime.Tuning(...)")
        loaded_paths = check_count(loaded_paths, "loaded_paths")
        found = _recorded(path, target) if provider == "auto" else None
        self._provider = find_provider(provider if found is None else found.provider)
        if tuning is None:
            tuning = default_tuning(self._provider) if found is None else found.tuning
        self._tuning = tuning if threads is None else replace(tuning, threads=threads)
        self._own_options = session_options is not None
        self._bundle: Bundle = open_bundle(path)
        self._target = _find_target(self._bundle, target, short_name(self._provider))
        self._opened_with = {
            **{"path": path, "provider": short_name(self._provider), "target": self.target},
            **{"tuning": self.tuning, "session_options": session_options, "provider_options": provider_options},
            "loaded_paths": loaded_paths,
        }
        refuse_faults(self._bundle, self._target, short_name(self._provider))
        opening = Opening(self._provider, self._tuning, session_options, provider_options)
        self._engine: Engine = open_engine(self._bundle, self._target, opening, loaded_paths=loaded_paths)
        sizes = {} if self._target is None else {name: (size, size) for name, size in self._target.sizes.items()}
        self._axes = MappingProxyType({**self.manifest.axes, **sizes})
        gates = {site.name for site in self.sites if site.policy.type == "gate"}
        self._reported = [t.name for t in self.outputs if t.name.removesuffix(REPORTED) in gates and REPORTED in t.name]
        self._check_inputs = InputCheck(self.inputs, self._axes).check
        where = str(self._bundle.path), self.manifest.interface
        pruned = self.manifest.pruned is not None
        self._asked = AskedCheck(self.sites, self.profiles, routed=self._engine.routed, where=where, pruned=pruned)

    @property
    def manifest(self) -> Manifest:
        """What the file says about itself."""
        return self._bundle.manifest

    @property
    def sites(self) -> tuple[Site, ...]:
        """The sites, in path order: name, kind, branches, calls, policy."""
        return self.manifest.sites

    @property
    def profiles(self) -> Mapping[str, Profile]:
        """Other laws over the sites, by name; those with what was measured of them are the menu."""
        return self.manifest.profiles

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The model's own inputs."""
        return self.manifest.inputs

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """The model's own outputs."""
        return self.manifest.outputs

    @property
    def provider(self) -> str:
        """The short name of the execution provider."""
        return short_name(self._provider)

    @property
    def tuning(self) -> Tuning | None:
        """How it computes; None where the caller gave session options, which say it."""
        return None if self._own_options else self._tuning

    @property
    def target(self) -> str:
        """The name of the target that runs, "default" for the bundle's own model."""
        return DEFAULT if self._target is None else self._target.name

    @property
    def opened_with(self) -> Mapping[str, Any]:
        """Arguments by name with which `Session` opens the same file in the same way, such as in another process."""
        return self._opened_with

    @property
    def engine(self) -> Engine:
        """What runs: one engine per form of a model."""
        return self._engine

    def run(
        self,
        inputs: Mapping[str, ArrayLike],
        *,
        seed: int | None = None,
        path: Sequence[int] | NDArray[np.integer[Any]] | None = None,
        profile: str | None = None,
        budget: float | None = None,
        decision: str | None = None,
    ) -> Result:
        """Returns the outputs and the path of one run.

        Args:
            inputs: an array for each of the model's inputs, of exactly its dtype. Python numbers and lists take it.
            seed: 0 <= seed < 2^63, fixes all draws of the run; None takes a fresh one from the operating system.
            path: S routes: -1 leaves the site to its draw, 0..K-1 forces it. Later steps of a Markov chain follow a
                forced route; no other site's draw changes.
            profile: the name of another law: the routes are those of the same draws by its thresholds.
            budget: in place of a name: of the profiles whose quality was measured, the best that costs at most this
                share of the most expensive path.
            decision: "most_probable": nothing is drawn, the path is the most probable one that a run reports (of the
                profile, if one is named), and the result has no seed. It is not beside a seed or a path.

        Raises:
            TypeError: an argument is of a wrong type or dtype.
            ValueError: an argument has a wrong name, shape or range, the file takes no seed or path, or the bundle has
                no such profile.
            RuntimeFailure: onnxruntime failed.
        """
        feeds = self._check_inputs(inputs)
        if decision is not None:
            decided = self._execute(feeds, 0, self._asked.decide(decision, profile, budget, seed=seed, path=path))
            return Result(decided.outputs, decided.path, None)
        return self._execute(feeds, *self._asked.check(seed, path, profile, budget))

    def prepare(self, shapes: Mapping[str, Sequence[int]]) -> PreparedRun:
        """Returns a run for loops: on arrays that stay, for inputs of these shapes, with nothing checked twice.

        `step.inputs` are filled, and `step.run()` gives what `run` would, in arrays that the next run overwrites.
        Other threads may use the session meanwhile, and prepare runs of their own.

        Args:
            shapes: the shape of each of the model's inputs.

        Raises:
            TypeError: `shapes` is no mapping, or a shape is no sequence of integers.
            ValueError: a shape has a wrong name, rank or size.
        """
        found, sizes = check_shapes(shapes, self.inputs, self._axes)
        inputs = {tensor.name: np.zeros(found[tensor.name], tensor.dtype) for tensor in self.inputs}
        places = {tensor.name: _place(tensor, sizes) for tensor in self.outputs}
        return PreparedRun(
            self._engine.prepare(inputs, places),
            self._asked,
            partial(run_failure, self._bundle.path, self.provider),
            inputs=inputs,
            outputs={name: place for name, place in places.items() if place is not None},
        )

    def ensemble(
        self,
        inputs: Mapping[str, ArrayLike],
        *,
        runs: int,
        seed: int | None = None,
        profile: str | None = None,
        budget: float | None = None,
        draws: str = INDEPENDENT,
        block: int | None = None,
        until: float | None = None,
        quantiles: float | Sequence[float] | None = None,
        vote: str | Sequence[str] | None = None,
        score: Score | None = None,
    ) -> EnsembleResult:
        """Returns mean, standard deviation and standard error of each output over many runs on the same inputs.

        Run i uses the seed `(first + i) % 2**63`; neighbouring seeds are hashed, so their draws are unrelated. The
        other designs spread the draws of a block of runs more evenly; each run alone has the same law in all of them.
        Statistics are accumulated in float64 (Welford); only one run's outputs are in memory at a time, unless
        quantiles are asked for.

        Args:
            inputs: as for `run`.
            runs: the number of runs, >= 1, a multiple of the block; with `until` the most.
            seed: the first seed; None takes a fresh one from the operating system.
            profile: as for `run`.
            budget: as for `run`.
            draws: "independent"; "antithetic", pairs of opposite draws; "stratified", even over the combinations of
                routes, those of the first sites above all; or "latin", even over the draw of every single site.
            block: how many runs of stratified or latin draws hang together, >= 2; 16 where none is given.
            until: no more runs are made when the largest standard error of any element of a floating output is at most
                this, in the unit of the output. It is looked at after each block, from 32 runs and 8 blocks on.
            quantiles: shares of the runs, in [0, 1], one or several. The outputs of all runs are kept for them, at most
                1 GiB.
            vote: an output, or several, in which each run votes for the greatest number along the last axis.
            score: of the outputs of a run, by name, to a number; the result has the best and the worst run.

        Raises:
            TypeError: as `run`; a score is no number.
            ValueError: as `run`; the outputs of all runs are too large for quantiles, or a score is NaN (these two
                after the first run).
            RuntimeFailure: onnxruntime failed, an output's shape depends on the path, or one to vote with has NaN.
        """
        wanted = check_wanted(
            self.outputs,
            runs=runs, draws=draws, block=block, until=until, quantiles=quantiles, vote=vote, score=score,
        )  # fmt: skip
        designed = None if draws == INDEPENDENT else draws
        self._asked.refuse(seed=seed, profile=profile, budget=budget, draws=designed)
        first = fresh_seed() if seed is None else check_seed(seed)
        feeds = self._check_inputs(inputs)
        asked = self._asked.many(first, wanted.design, profile, budget)
        results = (self._execute(feeds, number, routes) for number, routes in asked)
        return gather(results, wanted, where=str(self._bundle.path))

    def explain(
        self,
        inputs: Mapping[str, ArrayLike],
        *,
        seed: int | None = None,
        path: Sequence[int] | NDArray[np.integer[Any]] | None = None,
        profile: str | None = None,
        budget: float | None = None,
    ) -> Explanation:
        """Returns one run, why every site has its route, and what it gives where one site takes another branch.

        There is a run for the path, and one for every other branch of every site that is reached.

        Args:
            inputs: as for `run`.
            seed: as for `run`.
            path: as for `run`.
            profile: as for `run`.
            budget: as for `run`.

        Raises:
            TypeError: as `run`.
            ValueError: as `run`, or the form does not decide site by site.
            RuntimeFailure: onnxruntime failed, or the path is not that of the laws that the file states.
        """
        if not self._engine.routed or (self._target is not None and self._target.form == "frozen"):
            raise ValueError(
                f"explain: expected a form that decides site by site, got {self.target} of interface "
                f"{self.manifest.interface!r}; run a routed form with seeds"
            )
        law = None if profile is None and budget is None else self._asked.find(profile, budget)
        number = fresh_seed() if seed is None else check_seed(seed)
        name = None if law is None else law.name
        asked = None if path is None else np.asarray(self._asked.check(number, path)[1]).tolist()
        return explain_run(partial(self._run_again, inputs, name), self.sites, law, number, asked)

    def check(self) -> int:
        """Returns the number of golden cases of the bundle folder, after running each and comparing its outputs.

        Raises:
            BundleError: the recorded arrays are damaged.
            RuntimeFailure: there is nothing to compare, or something differs: it names case and output.
        """
        return check_golden(self._bundle, self._target, self.run)

    def __repr__(self) -> str:
        sites = list_few(f"{site.name}[{len(site.branches)}]" for site in self.sites)
        return cut_to_line(f"Session({self.target} on {self.provider}, sites {sites or 'none'}; {self._bundle.path})")

    def _run_again(
        self, inputs: Mapping[str, ArrayLike], profile: str | None, seed: int, path: Sequence[int] | None
    ) -> Result:
        return self.run(inputs, seed=seed, path=path, profile=profile)

    def _execute(self, feeds: dict[str, NDArray[Any]], seed: int | None, path: NDArray[np.int64] | None) -> Result:
        """Returns one run; inputs, seed and path are right."""
        try:
            outputs, taken = self._engine.run(feeds, seed, path)
        except (ValueError, BundleError):  # a path that this target does not have, a file that has changed
            raise
        except Exception as error:  # onnxruntime's own exceptions have no common base
            raise run_failure(self._bundle.path, self.provider, error) from error
        for name in self._reported:
            if np.isnan(outputs[name]).any():  # a gate that computes no numbers decides all the same
                raise RuntimeFailure(
                    f"{self._bundle.path}: output {name!r}: expected probabilities that are numbers, got NaN; look for "
                    "NaN and infinities in the inputs"
                )
        return Result(outputs, taken, seed)


def _place(tensor: Tensor, sizes: Mapping[str, int]) -> NDArray[Any] | None:
    """Returns an array for an output, or None where its sizes are not those of inputs."""
    shape = [sizes.get(size) if isinstance(size, str) else size for size in tensor.shape]
    return None if None in shape else np.zeros([size or 0 for size in shape], tensor.dtype)


def _recorded(path: str | os.PathLike[str], target: str | None) -> Fastest:
    """Returns what "auto" is: what was measured was the form that the provider itself takes."""
    found = recorded_fastest(path) if target is None else None
    return found or Fastest("cpu", default_tuning(CPU))


def _find_target(bundle: Bundle, name: str | None, provider: str) -> Target | None:
    """Returns the target of that name, or, without a name, of the provider's; None for the bundle's own model."""
    targets = bundle.manifest.targets
    if name is not None and not isinstance(name, str):
        raise TypeError(f"target: expected a name such as 'default', got {type(name).__name__} {name!r}; pass a string")
    if name is None:
        name = provider if provider in targets else DEFAULT if bundle.model is not None else next(iter(targets))
    if name == DEFAULT and bundle.model is not None:
        return None
    if name not in targets:
        known = ", ".join([DEFAULT] * (bundle.model is not None) + list(targets))
        raise ValueError(f"target: expected one of {known} of {bundle.path}, got {name!r}; package it, or name another")
    return targets[name]
