"""Which provider every node of a form runs on: by onnxruntime's own record of it, or by a profile."""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from rr_runtime.bundle import Bundle
from rr_runtime.engines import Opening, open_engine
from rr_runtime.engines.engine import Arrays
from rr_runtime.errors import BundleError, RuntimeFailure
from rr_runtime.provider_options import CPU
from rr_runtime.providers import RECORD, find_provider, short_name
from rr_runtime.target import Target
from rr_runtime.tools import choices
from rr_runtime.tools.onnx_file import read_graph
from rr_runtime.tools.parts import Gate, Part, Place, files_of, gates_in, places_in
from rr_runtime.tuning import Tuning, default_tuning

# Providers that run onnxruntime's own nodes, so that a model that was prepared for them can be saved and looked at;
# the others compile what they take.
RUN_NODES = ("cpu", "cuda", "xnnpack", "webgpu", "dml", "rocm")
_KERNEL = "_kernel_time"


@dataclass(frozen=True)
class Assigned:
    """A node and who runs it.

    Attributes:
        file: the file's name.
        name: the node's name.
        op: its operator.
        provider: the short name of the provider.
        part: the branches around it, or None where they are not known: onnxruntime has made the node itself.
    """

    file: str
    name: str
    op: str
    provider: str
    part: Part | None


@dataclass(frozen=True)
class Assignment:
    """Who runs the nodes of a form.

    Attributes:
        told_by: "assignment" (all nodes, as onnxruntime has handed them out), "profile" (those that ran on paths which
            together take every branch: older versions, and files in onnxruntime's own format), or None: nothing tells.
        parts_told: whether the files say in which branches their nodes lie; where not, `whole`, `outside` and
            `weights_above` are empty and say nothing. onnxruntime's own format does not, for a graph with ``If``.
        nodes: the nodes, without those inside an ``If`` that was taken whole.
        whole: the sites whose ``If`` a provider took whole, with its branches.
        outside: nodes that were captured in a branch and lie outside it, with the site.
        weights_above: sites with large weights of their branches further out, with the number of graphs.
        copies: copies between devices, as (file, node), or None where onnxruntime does not tell.
    """

    told_by: str | None
    parts_told: bool
    nodes: tuple[Assigned, ...]
    whole: tuple[int, ...]
    outside: tuple[tuple[str, int], ...]
    weights_above: tuple[tuple[int, int], ...]
    copies: tuple[tuple[str, str], ...] | None

    def count(self) -> dict[str, int] | None:
        """Returns the number of nodes of every provider, None where nothing tells."""
        if not self.nodes:
            return None
        names = sorted({node.provider for node in self.nodes})
        return {name: sum(node.provider == name for node in self.nodes) for name in names}


@dataclass(frozen=True)
class Watching(Opening):
    """Opens files like every session does, and keeps what onnxruntime tells about them.

    Attributes:
        scratch: a folder for saved models and profiles.
        profile: whether runs are profiled.
        sessions: the opened sessions, by file.
        saved: the models as they were prepared, by file, where they can be saved.
    """

    scratch: Path = Path()
    profile: bool = False
    sessions: dict[Path, Any] = field(default_factory=dict)
    saved: dict[Path, Path] = field(default_factory=dict)

    def open(self, model: Path, *, reseed: bool = False, spinning: bool = True) -> Any:
        """Returns an onnxruntime session on a file, with everything recorded."""
        place = self.scratch / f"prepared-{len(self.sessions)}.onnx"
        session = None
        if short_name(self.provider) in RUN_NODES:
            try:
                session = self._open(model, place, reseed=reseed)
                self.saved[model] = place
            except RuntimeFailure:  # cannot be saved: told by the session without it, if that opens
                session = None
        self.sessions[model] = session or self._open(model, None, reseed=reseed)
        return self.sessions[model]

    def _open(self, model: Path, save: Path | None, *, reseed: bool) -> Any:
        options = quiet_options(save)
        if self.provider == CPU:  # others are always recorded
            options.add_session_config_entry(RECORD, "1")
        if self.tuning.threads is not None:
            options.intra_op_num_threads = self.tuning.threads
        self.tuning.leave_out(options)
        if self.profile:
            options.enable_profiling = True
            options.profile_file_prefix = str(self.scratch / f"profile-{len(self.sessions)}")
        plain = Opening(self.provider, self.tuning, options, self.provider_options)
        return plain.open(model, reseed=reseed)


def assignment(
    bundle: Bundle, target: Target | None, provider: str, feeds: Arrays | None, *, threads: int | None = None
) -> Assignment:
    """Returns who runs the nodes of a form of the bundle's model.

    Args:
        bundle: the bundle.
        target: one of its targets, or None for its own model.
        provider: the execution provider.
        feeds: the model's own inputs, used where only a profile tells; None: nothing tells there.
        threads: the number of threads inside one operator, or None.

    Raises:
        BundleError: a file is at fault.
        ProviderError: the provider is.
        RuntimeFailure: a profile was needed, and a run failed.
    """
    branches = [len(site.branches) for site in bundle.manifest.sites]
    name = find_provider(provider)
    tuning = replace(default_tuning(name), threads=threads)
    mapped = sys.platform == "win32"  # which removes no file that a session still reads
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=mapped) as folder:
        watching = Watching(name, tuning, None, None, scratch=Path(folder))
        gates: dict[Path, dict[str, Gate]] = {}
        basic: dict[Path, list[Place]] = {}
        original: list[Place] = []
        files = files_of(bundle, target)
        for file, part in files.items():
            gates[file], source, basic[file] = _places(file, part, branches, Path(folder))
            original += source
        found = _all_recorded(watching, basic)
        told_by = None if found is None else "assignment"
        if found is None and feeds is not None:
            watching = replace(watching, sessions={}, saved={}, profile=True)
            _run_everything(bundle, target, watching, feeds)
            told_by, found = "profile", []
            for file, session in watching.sessions.items():
                places = basic[file] and _prepared(watching, file, gates[file], branches)
                found += _profiled(file, session, places or basic[file])
        parts_told = all(map(_says_branches, files)) or not branches or (target is not None and target.form != "routed")
        nodes = [node if _says_branches(file) else replace(node, part=files[file] if parts_told else None)
                 for node in found or [] for file in files if file.name == node.file]  # fmt: skip
        copies = [
            (file.name, place.name)
            for file in watching.saved
            for place in _prepared(watching, file, gates[file], branches)
            if place.op.startswith("Memcpy")
        ]
        told = len(watching.saved) == len(watching.sessions) or short_name(watching.provider) == "cpu"
    far = {(p.part[-1][0], p.weights_above) for p in original if p.weights_above and p.part}
    return Assignment(
        told_by=told_by,
        parts_told=parts_told,
        nodes=tuple(nodes),
        whole=_taken_whole(nodes, [place for places in basic.values() for place in places]),
        outside=tuple((place.name, place.outside_of) for place in original if place.outside_of is not None),
        weights_above=tuple(sorted(far)),
        copies=tuple(copies) if told else None,
    )


def quiet_options(save: Path | None) -> onnxruntime.SessionOptions:
    """Returns options that print nothing, and save the prepared model with its weights beside it."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if save is not None:
        options.optimized_model_filepath = str(save)
        # beside it: together they may be more than a protobuf can hold
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", f"{save.name}.data")
    return options


def _tells() -> bool:
    """Tells whether this onnxruntime records who runs what."""
    return hasattr(onnxruntime.InferenceSession, "get_provider_graph_assignment_info")


def _says_branches(file: Path) -> bool:
    """Tells whether a file keeps the metadata of its nodes: onnxruntime's own format does not."""
    return file.suffix != ".ort"


def _all_recorded(watching: Watching, files: Mapping[Path, Sequence[Place]]) -> list[Assigned] | None:
    """The nodes of all files, or None where onnxruntime has no record of one: never of files in its own format."""
    if not _tells() or not all(map(_says_branches, files)):
        return None
    nodes = []
    for file, places in files.items():
        found = _recorded(file, watching.open(file), places)
        if places and not found:  # the provider does not take part in recording
            return None
        nodes += found
    return nodes


def _places(
    file: Path, part: Part, branches: Sequence[int], scratch: Path
) -> tuple[dict[str, Gate], list[Place], list[Place]]:
    """What the gates of a file decide, where its nodes lie, and where they lie when providers choose among them.

    Providers choose after onnxruntime's basic optimisations, which are the same for all.
    """
    if not _says_branches(file):
        return {}, [], []
    graph = read_graph(file)
    gates = gates_in(graph)
    source = places_in(graph, gates, branches, part)
    saved = scratch / "basic.onnx"
    options = quiet_options(saved)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    try:
        Opening(CPU, Tuning(), options, None).open(file)
        return gates, source, places_in(read_graph(saved), gates, branches, part)
    except RuntimeFailure:  # made for another provider
        return gates, source, source


def _recorded(file: Path, session: Any, places: Sequence[Place]) -> list[Assigned]:
    told = [
        (node.name, node.op_type, short_name(group.ep_name))
        for group in session.get_provider_graph_assignment_info()
        for node in group.get_nodes()
    ]
    parts = parts_in_order([name for name, _, _ in told], places)
    return [Assigned(file.name, *node, part) for node, part in zip(told, parts, strict=True)]


def parts_in_order(names: Sequence[str], places: Sequence[Place]) -> list[Part | None]:
    """Returns the branches around every node, None where they are not known.

    onnxruntime's optimisations make names that are unique in one graph only (``gemm_input_reshape``), other tools leave
    names away. Nodes are listed graph by graph: a name that several graphs have belongs to the graph of the node before
    it, if that has such a node that was not yet seen, or else of the node after it.
    """
    candidates: dict[str, list[Part]] = {}
    for place in places:
        candidates.setdefault(place.name, []).append(place.part)
    found: list[Part | None] = [_only(candidates.get(name, [])) for name in names]
    left = {name: list(parts) for name, parts in candidates.items()}
    for i, name in enumerate(names):
        if found[i] is not None or not name:
            continue
        before = next((part for part in reversed(found[:i]) if part is not None), None)
        after = next((part for part in found[i + 1 :] if part is not None), None)
        found[i] = next((part for part in (before, after) if part is not None and part in left.get(name, [])), None)
        if found[i] is not None:
            left[name].remove(found[i] or ())
    return found


def _only(parts: Sequence[Part]) -> Part | None:
    return parts[0] if len(set(parts)) == 1 else None


def _run_everything(bundle: Bundle, target: Target | None, watching: Watching, feeds: Arrays) -> None:
    """The form has run on paths that together take every branch.

    Raises:
        RuntimeFailure: a run failed.
    """
    sites = bundle.manifest.sites
    engine = open_engine(bundle, target, watching, loaded_paths=10**6)
    if target is not None and target.form == "frozen":
        paths = [path.path for path in target.paths]
    else:
        paths = sorted({p for c in choices.choices(sites, choices.most_probable_routes(sites)) for p in c.paths})
    try:
        if not engine.routed:
            engine.run(feeds, None, None)
        for path in paths if engine.routed else []:
            engine.run(feeds, 0, np.array(path, np.int64))
    except Exception as error:  # onnxruntime's own exceptions have no common base
        raise RuntimeFailure(
            f"{bundle.path}: expected a run on {short_name(watching.provider)}, got: {str(error).strip()}; "
            "compare with provider='cpu'"
        ) from error


def _profiled(file: Path, session: Any, places: Sequence[Place]) -> list[Assigned]:
    """The nodes that ran, each once; the profile ends."""
    found: dict[tuple[str, Part | None], Assigned] = {}
    run: list[tuple[str, str, str]] = []
    for event in json.loads(Path(session.end_profiling()).read_text(encoding="utf-8")):
        name = event.get("name", "")
        if event.get("cat") == "Node" and name.endswith(_KERNEL):
            about = event["args"]
            run.append((name.removesuffix(_KERNEL), about["op_name"], short_name(about["provider"])))
        elif name == "model_run":  # comes at the end of a run
            parts = parts_in_order([node[0] for node in run], places)
            for node, part in zip(run, parts, strict=True):
                found[node[0], part] = Assigned(file.name, *node, part)
            run = []
    return list(found.values())


def _prepared(watching: Watching, file: Path, gates: dict[str, Gate], branches: Sequence[int]) -> list[Place]:
    """Where the nodes of a file lie as its session was prepared; [] where it could not be saved."""
    if file not in watching.saved:
        return []
    try:
        return places_in(read_graph(watching.saved[file]), gates, branches, ())
    except BundleError:
        return []


def _taken_whole(nodes: Sequence[Assigned], places: Sequence[Place]) -> tuple[int, ...]:
    """The sites of which a provider has an ``If`` and onnxruntime none of the nodes inside."""
    told = {node.name: node.provider for node in nodes}
    count = Counter(place.name for place in places)
    found = set()
    for place in places:
        inside = [name for name in place.inside if count[name] == 1]  # what a name says of this graph alone
        taken = place.gate is not None and told.get(place.name, "cpu") != "cpu"
        if place.gate is None or not taken or not inside or any(name in told for name in inside):
            continue
        found |= {place.gate.site}
        found |= {p.gate.site for p in places if p.gate is not None and p.name in place.inside}
    return tuple(sorted(found))
