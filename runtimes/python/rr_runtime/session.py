"""The session: opens a bundle or a model file once, and runs it with fresh, seeded or forced paths."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import ArrayLike, NDArray

from rr_runtime.arguments import check_count, check_inputs, check_path
from rr_runtime.bundle import Bundle, embedded_manifest, open_bundle
from rr_runtime.draws import SEEDS, check_seed, draws, fresh_seed
from rr_runtime.errors import BundleError, RuntimeFailure
from rr_runtime.golden import check_golden
from rr_runtime.manifest import Manifest, Site, Tensor
from rr_runtime.moments import Moments
from rr_runtime.providers import create_session, find_provider, short_name
from rr_runtime.results import EnsembleResult, Result

# What the interfaces add to the model's own inputs and outputs; S is the number of sites.
ADDED_INPUTS: Mapping[str, tuple[tuple[str, str, tuple[str, ...]], ...]] = {
    "explicit": (("rr_seed", "int64", ()), ("rr_path", "int64", ("S",))),
    "host": (("rr_draws", "float32", ("S",)), ("rr_path", "int64", ("S",))),
    "standalone": (),
    "plain": (),
}
TAKEN = "rr_path_taken"
# onnxruntime's words for the dtypes of a manifest.
ELEMENTS = {"float16": "float16", "float32": "float", "float64": "double"}


class Session:
    """A routed file, ready to run; one session may be used by many threads at once on the CPU and CUDA providers.

    A run of an explicit or host file always feeds a seed, fresh from the operating system where none is given, so the
    random node in the graph is never used. A standalone file draws with its own random node: its session sets
    onnxruntime's process-wide seed once, from the operating system, when it is made.

    Args:
        path: a bundle folder, whose files are checked against their recorded hashes, or a single model file, which is
            loaded twice (its manifest is inside).
        provider: the execution provider, by its short name ("cpu", "cuda", ...) or onnxruntime's. Nodes that it cannot
            run are on the CPU; a provider that does not work is an error.
        threads: the number of threads inside one operator, >= 1; None leaves it to onnxruntime.
        session_options: onnxruntime's options, used as they are; not together with `threads`.

    Raises:
        BundleError: the file or bundle is missing, damaged, foreign or does not agree with itself.
        ProviderError: the provider is unknown or does not work on this machine.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        provider: str = "cpu",
        threads: int | None = None,
        session_options: onnxruntime.SessionOptions | None = None,
    ) -> None:
        options = _options(threads, session_options)
        chosen = find_provider(provider)
        self._bundle: Bundle = open_bundle(path)
        standalone = self.manifest.interface == "standalone"
        self._session: Any = create_session(self._bundle.model, chosen, options, reseed=standalone)
        self._check_graph()
        self._routed = self.manifest.interface in ("explicit", "host")
        self._output_names = [tensor.name for tensor in self.outputs] + [TAKEN] * self._routed

    @property
    def manifest(self) -> Manifest:
        """What the file says about itself."""
        return self._bundle.manifest

    @property
    def sites(self) -> tuple[Site, ...]:
        """The sites, in path order: name, kind, branches, calls, policy."""
        return self.manifest.sites

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
        return short_name(self._session.get_providers()[0])

    def run(
        self,
        inputs: Mapping[str, ArrayLike],
        *,
        seed: int | None = None,
        path: Sequence[int] | NDArray[np.integer[Any]] | None = None,
    ) -> Result:
        """Returns the outputs and the path of one run.

        Args:
            inputs: an array for each of the model's inputs, of exactly its dtype. Python numbers and lists take it.
            seed: 0 <= seed < 2^63, fixes all draws of the run; None takes a fresh one from the operating system.
            path: S routes: -1 leaves the site to its draw, 0..K-1 forces it. Later steps of a Markov chain follow a
                forced route; no other site's draw changes.

        Raises:
            TypeError: an argument is of a wrong type or dtype.
            ValueError: an argument has a wrong name, shape or range, or the file takes no seed or path.
            RuntimeFailure: onnxruntime failed.
        """
        self._check_takes(seed=seed, path=path)
        feeds = check_inputs(inputs, self.inputs, self.manifest.axes)
        if not self._routed:
            return self._execute(feeds, None, None)
        routes = np.full(len(self.sites), -1, np.int64) if path is None else check_path(path, self.sites)
        return self._execute(feeds, fresh_seed() if seed is None else check_seed(seed), routes)

    def ensemble(self, inputs: Mapping[str, ArrayLike], *, runs: int, seed: int | None = None) -> EnsembleResult:
        """Returns mean and standard deviation of each output over the paths of many runs on the same inputs.

        Run i uses the seed `(first + i) % 2**63`; neighbouring seeds are hashed, so their draws are unrelated.
        Statistics are accumulated in float64 (Welford); only one run's outputs are in memory at a time.

        Args:
            inputs: as for `run`.
            runs: the number of runs, >= 1.
            seed: the first seed; None takes a fresh one from the operating system.

        Raises:
            TypeError: as `run`.
            ValueError: as `run`.
            RuntimeFailure: onnxruntime failed, or an output's shape depends on the path.
        """
        runs = check_count(runs, "runs")
        self._check_takes(seed=seed, path=None)
        first = fresh_seed() if seed is None else check_seed(seed)
        feeds = check_inputs(inputs, self.inputs, self.manifest.axes)
        moments: dict[str, Moments] = {}
        results = self._repeat(feeds, first, runs)
        paths = []
        for result in results:
            for name, value in result.outputs.items():
                if name not in moments:
                    moments[name] = Moments(value)
                elif moments[name].mean.shape != value.shape:
                    raise RuntimeFailure(
                        f"{self._bundle.path}: output {name!r}: expected shape {moments[name].mean.shape} in every "
                        f"run, got {value.shape}; take the outputs of single runs"
                    )
                else:
                    moments[name].add(value)
            paths.append(result.path)
        return EnsembleResult(
            mean={name: moment.mean for name, moment in moments.items()},
            std={name: moment.std for name, moment in moments.items()},
            paths=np.array(paths, np.int64) if self._routed else None,
            seeds=np.array([(first + i) % SEEDS for i in range(runs)], np.int64) if self._routed else None,
        )

    def check(self) -> int:
        """Returns the number of golden cases of the bundle folder, after running each and comparing its outputs.

        Raises:
            BundleError: the recorded arrays are damaged.
            RuntimeFailure: there is nothing to compare, or something differs: it names case and output.
        """
        return check_golden(self._bundle, self.run)

    def __repr__(self) -> str:
        names = ", ".join(f"{site.name}[{len(site.branches)}]" for site in self.sites)
        return (
            f"Session({str(self._bundle.path)!r}, provider={self.provider!r}, interface={self.manifest.interface!r}, "
            f"inputs=({', '.join(map(str, self.inputs))}), outputs=({', '.join(map(str, self.outputs))}), "
            f"sites=({names}))"
        )

    def _repeat(self, feeds: dict[str, NDArray[Any]], first: int, runs: int) -> Iterator[Result]:
        draw = np.full(len(self.sites), -1, np.int64)
        for i in range(runs):
            yield self._execute(feeds, (first + i) % SEEDS if self._routed else None, draw)

    def _execute(self, feeds: dict[str, NDArray[Any]], seed: int | None, path: NDArray[np.int64] | None) -> Result:
        """Returns one run; inputs, seed and path are right."""
        added: dict[str, NDArray[Any]] = {}
        if seed is not None and path is not None:
            added["rr_path"] = path
            if self.manifest.interface == "explicit":
                added["rr_seed"] = np.array(seed, np.int64)
            else:
                added["rr_draws"] = draws(seed, len(self.sites))
        try:
            values = self._session.run(self._output_names, feeds | added)
        except Exception as error:  # onnxruntime's own exceptions have no common base
            advice = "check the values of the inputs" if self.provider == "cpu" else "compare with provider='cpu'"
            raise RuntimeFailure(
                f"{self._bundle.path}: expected a run on {self.provider}, got: {str(error).strip()}; {advice}"
            ) from error
        outputs = dict(zip(self._output_names, map(np.asarray, values), strict=True))
        return Result(outputs, outputs.pop(TAKEN) if self._routed else None, seed)

    def _check_takes(self, *, seed: object, path: object) -> None:
        """Raises a ValueError where a seed or path is given to a file that takes none."""
        interface = self.manifest.interface
        given = [name for name, value in (("seed", seed), ("path", path)) if value is not None]
        if given and interface in ("standalone", "plain"):
            why = (
                "draws by itself; export it with interface='explicit'" if self.sites else "has no sites; leave it away"
            )
            raise ValueError(
                f"{given[0]}: expected none for {self._bundle.path}, got one; a file of interface {interface!r} {why}"
            )

    def _check_graph(self) -> None:
        """Raises a BundleError where the model is not what the manifest says."""
        where = str(self._bundle.model)
        inside = embedded_manifest(self._session, where)
        if inside is not None and inside != self.manifest.about_model():
            raise BundleError(
                f"{where}: expected the manifest of {self._bundle.path} in its metadata, got another; "
                "copy or export the bundle again"
            )
        added = ADDED_INPUTS[self.manifest.interface]
        sizes = {"S": len(self.sites)}
        rr_inputs = [Tensor(name, dtype, tuple(sizes[s] for s in shape)) for name, dtype, shape in added]
        rr_outputs = [Tensor(TAKEN, "int64", (len(self.sites),))] if added else []
        _compare(where, "input", [*self.inputs, *rr_inputs], self._session.get_inputs())
        _compare(where, "output", [*self.outputs, *rr_outputs], self._session.get_outputs())


def _options(threads: int | None, options: onnxruntime.SessionOptions | None) -> onnxruntime.SessionOptions | None:
    if threads is None:
        return options
    count = check_count(threads, "threads")
    if options is not None:
        raise ValueError(
            f"threads: expected None beside session_options, got {threads}; set session_options.intra_op_num_threads"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = count
    return options


def _compare(where: str, side: str, expected: Sequence[Tensor], found: Sequence[Any]) -> None:
    """Raises a BundleError where a graph's inputs or outputs differ from the manifest's in name, type, rank or size."""
    nodes = {node.name: node for node in found}
    names = [tensor.name for tensor in expected]
    if set(names) != set(nodes):
        raise BundleError(
            f"{where}: expected the {side}s {', '.join(names)} of its manifest, got {', '.join(nodes)}; "
            "export it again (a tool that changes the file may have dropped some)"
        )
    for tensor in expected:
        node = nodes[tensor.name]
        kind = f"tensor({ELEMENTS.get(tensor.dtype, tensor.dtype)})"
        # onnxruntime says [] for a shape that the graph leaves open, and a text or None for a size.
        sizes = list(node.shape) or list(tensor.shape)
        same = len(sizes) == len(tensor.shape) and all(
            a == b for a, b in zip(sizes, tensor.shape, strict=True) if isinstance(a, int) and isinstance(b, int)
        )
        if node.type != kind or not same:
            raise BundleError(
                f"{where}: {side} {tensor.name!r}: expected {kind} {list(tensor.shape)} of its manifest, "
                f"got {node.type} {node.shape}; export it again"
            )
