"""What the linter can say: the rules, each under a stable code, and a finding."""

from __future__ import annotations

from dataclasses import dataclass

from rr_runtime.one_line import cut_to_line

ENGINES = ("onnxruntime", "openvino")  # what may read a file
SEVERITIES = ("error", "warning", "note")  # from the worst on; the words of SARIF


@dataclass(frozen=True)
class Rule:
    """One thing that the linter looks for.

    Attributes:
        code: stable: codes are never reused.
        name: the same in words, stable too.
        severity: "error": the model is wrong, or will be; "warning": it can become wrong, or is slow; "note".
        title: what is looked for.
        effect: what will happen.
        remedy: what to do.
    """

    code: str
    name: str
    severity: str
    title: str
    effect: str
    remedy: str


@dataclass(frozen=True)
class Finding:
    """One thing that the linter reports about a file.

    Attributes:
        code: of the rule.
        severity: "error", "warning" or "note".
        file: as it was given.
        node: the name of the node, or of the value where no node is to blame; empty: the whole file.
        place: where it is: "main graph", or the branches around it, outermost first.
        message: what was found.
        effect: what will happen.
        remedy: what to do.
    """

    code: str
    severity: str
    file: str
    node: str
    place: str
    message: str
    effect: str
    remedy: str

    def __repr__(self) -> str:
        where = repr(self.node) if self.node else self.place
        return cut_to_line(f"Finding({self.code} {self.severity} at {where}: {self.message})")

    @property
    def rule(self) -> Rule:
        """The rule that it comes from."""
        return RULES[self.code]

    def __str__(self) -> str:
        """The finding as one line of text."""
        where = f"{self.node!r} in {self.place}" if self.node else self.place
        return f"{self.file}: {self.code} {self.severity}: {where}: {self.message}; {self.effect}; {self.remedy}"


_EXPLICIT = "export with rr_export, which draws every route from one random node on a required input"

_ALL = (
    # The file itself
    Rule(
        "RR001",
        "not-compared",
        "note",
        "a part of the file that could not be looked at",
        "findings that need it are missing",
        "lint again with the whole file",
    ),
    # Random nodes
    Rule(
        "RR101",
        "bernoulli",
        "error",
        "Bernoulli",
        "ONNX Runtime gives 1 with probability 1 - p, and optimisers merge equal ones and fold constant ones",
        "compare one uniform draw with p instead; " + _EXPLICIT,
    ),
    Rule(
        "RR102",
        "training-dropout",
        "error",
        "Dropout in training mode",
        "ONNX Runtime's optimiser removes those between layers and runs those at an input or output, others merge "
        "equal ones: the file is neither in training nor in evaluation mode",
        "export in evaluation mode; where the dropping is meant, make it a site",
    ),
    Rule(
        "RR103",
        "tied-streams",
        "error",
        "several random nodes in one file",
        "ONNX Runtime seeds each node's generator with the seed plus the node's index, so their numbers are tied to "
        "each other: on the first run they nearly agree",
        "draw one vector for all decisions; " + _EXPLICIT,
    ),
    Rule(
        "RR104",
        "random-in-branch",
        "warning",
        "a random node inside a branch",
        "its stream depends on which branches ran before, and no caller can fix or force it",
        "draw in the main graph and pass the number into the branch",
    ),
    Rule(
        "RR105",
        "foldable-random",
        "error",
        "a random node that depends on constants only",
        "optimisers compute it once and store the result: the route is frozen without a message",
        "let it depend on the value of a required input; " + _EXPLICIT,
    ),
    Rule(
        "RR106",
        "random-opset",
        "error",
        "a random node at opset 22 or later",
        "ONNX Runtime has no CPU kernels for it and refuses the file",
        "export with an opset of 18 to 21",
    ),
    Rule(
        "RR107",
        "seed-attribute",
        "warning",
        "a random node with a seed attribute",
        "every session repeats the same numbers, and another platform has others for the same seed",
        "drop the attribute and feed the seed as an input",
    ),
    Rule(
        "RR108",
        "low-precision-random",
        "error",
        "a random node in half precision",
        "ONNX Runtime's CPU provider has no kernel for it, and 10 bits cannot hold a probability",
        "keep random nodes in float32 (block them in the converter)",
    ),
    Rule(
        "RR109",
        "multinomial-rank",
        "error",
        "Multinomial on something else than a matrix",
        "ONNX Runtime cannot load the file",
        "give it [batch, classes], or compare one uniform draw with cumulative probabilities",
    ),
    Rule(
        "RR110",
        "multinomial-replacement",
        "warning",
        "Multinomial that draws several samples",
        "it draws with replacement, whatever the source model asked for: a class can come twice",
        "draw without replacement by the largest of log-probabilities plus Gumbel noise",
    ),
    # Decisions
    Rule(
        "RR201",
        "constant-decision",
        "error",
        "a choice between two computations that depends on constants only",
        "the same side is taken in every run: the route is frozen",
        "use the file from before the tool that folded it; " + _EXPLICIT,
    ),
    Rule(
        "RR202",
        "frozen-draw",
        "warning",
        "a stored constant that bears the name of a random number",
        "a tool computed a random node once and stored the result: every run is the same",
        "repeat the conversion without constant folding; " + _EXPLICIT,
    ),
    Rule(
        "RR203",
        "shared-draw",
        "warning",
        "several decisions that share one random number",
        "they are not independent: all of them agree in every run",
        "give each decision its own element of one random vector; " + _EXPLICIT,
    ),
    Rule(
        "RR204",
        "low-precision-decision",
        "error",
        "a random decision in half precision",
        "probabilities are rounded to 11 bits: the law of the routes has changed",
        "keep draws, thresholds and comparisons in float32 (block them in the converter)",
    ),
    Rule(
        "RR205",
        "default-input",
        "error",
        "an input that decides or draws and has a default",
        "optimisers fold the default into the graph, and JavaScript's onnxruntime ignores what is fed to it",
        "drop the initializer of that name, so that the input is required",
    ),
    Rule(
        "RR206",
        "branch-type",
        "error",
        "branches whose outputs differ in type or rank",
        "the file is not valid, or what follows gets another type than it was made for",
        "cast, or give the branches outputs of one type and rank",
    ),
    Rule(
        "RR207",
        "branch-shape",
        "warning",
        "branches whose outputs differ in size",
        "what follows gets other sizes on another route: static engines refuse or miscompute it",
        "give the branches outputs of equal sizes",
    ),
    Rule(
        "RR208",
        "lost-activation",
        "error",
        "a value that a branch takes from before its quantisation",
        "the quantiser has moved the activation into QuantizeLinear, and the branch reads the value without it",
        "quantise again with extra_options={'QDQKeepRemovableActivations': True}",
    ),
    # The contract that the file's own manifest states
    Rule(
        "RR301",
        "frozen-site",
        "error",
        "a site of the manifest that no longer decides anything",
        "its route is reported but not taken: a tool has frozen it",
        "use the file from before that tool, or `rr-export verify FILE --against BUNDLE` to see what is left",
    ),
    Rule(
        "RR302",
        "merged-sites",
        "error",
        "sites of the manifest that share one decision",
        "their routes are no longer independent: a tool has merged them",
        "use the file from before that tool",
    ),
    Rule(
        "RR303",
        "broken-contract",
        "error",
        "a graph that is not what its manifest says",
        "runtimes refuse the file or feed it wrongly",
        "use the file from before the tool that changed it",
    ),
    Rule(
        "RR304",
        "changed-law",
        "error",
        "routes that do not follow the draws and thresholds of the manifest",
        "seeds give other paths than everywhere else, and branches other frequencies",
        "use the file from before the tool that changed it",
    ),
    # Weights
    Rule(
        "RR401",
        "outer-weight",
        "warning",
        "a weight that is used two or more branches deeper than it is stored",
        "ONNX Runtime does not prepack it: its product takes about 1.2 times as long",
        "store it in every branch that uses it; `bundle.save(..., external_data=True)` does, at one offset",
    ),
    Rule(
        "RR402",
        "duplicate-weight",
        "warning",
        "equal weights that are stored more than once",
        "the file is larger than it need be",
        "store one and refer to it; with external data give both the same offset",
    ),
    # Engines other than ONNX Runtime, where the caller names one
    Rule(
        "RR501",
        "int64-draws",
        "error",
        "draws that are made with 64-bit integers",
        "OpenVINO's own reader computes them wrongly, without an error: all routes come out alike",
        "export with interface='host', or run it through ONNX Runtime's OpenVINO provider",
    ),
    Rule(
        "RR502",
        "engine-random",
        "error",
        "a random node",
        "OpenVINO draws with a generator of its own, and freezes what it can compute when it compiles",
        "export with interface='host'",
    ),
)

RULES = {rule.code: rule for rule in _ALL}
