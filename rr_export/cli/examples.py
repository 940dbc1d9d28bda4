"""Examples of every command, which its long help ends with."""

from __future__ import annotations

# Command -> (what it does, how it is called). They work one after the other, those of export first.
EXAMPLES = {
    "export": (
        ("A function of yours becomes a folder:", "rr-export export my_models:encoder out/"),
        (
            "A folder of Hugging Face, whose layers are to be skipped at random:",
            "rr-export export hf:minilm routed/ --route 'encoder.layer.*' --keep 0.8",
        ),
        (
            "With the form that an NPU wants, at a fixed size:",
            "rr-export export my_models:encoder phone/ --target qnn --size batch=1",
        ),
    ),
    "verify": (
        ("Against the model, with a report for CI:", "rr-export verify out/ my_models:encoder --junit parity.xml"),
        (
            "What a tool made of it, against what it came from:",
            "rr-export verify quantised.onnx --against out/ --share 0.1",
        ),
        ("All its forms for providers, here:", "rr-export verify phone/ --target all --provider cpu"),
    ),
    "diff": (
        ("Two bundles:", "rr-export diff released/ out/ --markdown summary.md"),
        (
            "A bundle and a model, an error where laws or paths changed:",
            "rr-export diff out/ my_models:encoder --fail-on laws,paths",
        ),
    ),
    "inspect": (
        ("What a run costs at batch 8:", "rr-export inspect out/ --size batch=8"),
        ("With what was measured:", "rr-export inspect out/ bench.json"),
    ),
    "lint": (
        ("Any ONNX file:", "rr-export lint model.onnx"),
        ("For code scanning:", "rr-export lint out/ --format sarif --output lint.sarif"),
    ),
    "run": (
        ("On recorded inputs, on a given path:", "rr-export run out/ --golden 0 --path 1,0,1,1"),
        ("Mean and deviation over 100 paths:", "rr-export run out/ --input x=x.npy --runs 100 --output mean.npz"),
        (
            "As many runs as a standard error of .01 needs, at most 4096:",
            "rr-export run out/ --input x=x.npy --runs 4096 --until 0.01 --draws stratified",
        ),
    ),
    "profile": (
        ("Another law over the same file:", "rr-export profile out/ half --keep 0.5"),
        (
            "And what was measured of it:",
            "rr-export profile out/ half --keep 0.5 --overwrite --cost 0.6 --quality 0.81 --metric accuracy",
        ),
        (
            "One path, by a name:",
            "rr-export profile out/ short --path 1,0,0,1 --cost 0.5 --quality 0.7 --metric accuracy",
        ),
        (
            "The laws of some sites:",
            "rr-export profile out/ late --law 'layers.[23]=0.5,0.5' --law layers.0=0,1",
        ),
        ("None of that name any more:", "rr-export profile out/ late --remove"),
    ),
    "menu": (
        ("What a budget gets:", "rr-export menu out/"),
        ("A picture of it:", "rr-export menu out/ --plot menu.svg"),
    ),
    "package": (
        (
            "8 bits for an NPU, in a folder for the device alone:",
            "rr-export package out/ device/ --target qnn --size batch=1 --precision qdq --only",
        ),
        (
            "Static files of the 8 best paths:",
            "rr-export package out/ best/ --target cuda --frozen 8 --best my_models:score",
        ),
    ),
    "prune": (
        (
            "What one profile takes, which is the law of all runs then:",
            "rr-export prune out/ -o small/ --profile short",
        ),
    ),
    "freeze": (("One path as an ordinary ONNX file:", "rr-export freeze out/ path.onnx --path 1,0,1,1"),),
    "doctor": (
        ("What is here:", "rr-export doctor"),
        ("What each provider would do with a bundle:", "rr-export doctor out/"),
    ),
    "place": (("Where nodes run, and whether skipping saves anything:", "rr-export place out/ --provider cpu"),),
    "bench": (
        ("The law of latency over paths:", "rr-export bench out/ --plot latency.svg"),
        ("What is fastest here, kept for Session(provider='auto'):", "rr-export bench out/ --record"),
    ),
    "search": (
        (
            "The paths of which none is both better and cheaper, and a menu of them for sessions with a budget:",
            "rr-export search out/ --data my_models:rows --metric my_models:accuracy --costs flops --menu",
        ),
        (
            "Where it was interrupted, the same call goes on; --costs bench.json takes what was measured:",
            "rr-export search out/ --data my_models:rows --metric my_models:accuracy --costs flops --results kept",
        ),
    ),
    "attribute": (
        (
            "Which layers matter, kept for a report:",
            "rr-export attribute out/ --data my_models:rows --metric my_models:accuracy --json attribution.json",
        ),
        (
            "Beside a path that skips all four:",
            "rr-export attribute out/ --data my_models:rows --metric my_models:accuracy --baseline 0,0,0,0",
        ),
    ),
    "report": (
        ("What is known of a bundle, as a page:", "rr-export report out/ -o report.html"),
        ("With figures that it does not keep:", "rr-export report out/ bench.json attribution.json -o report.html -f"),
    ),
    "fit": (
        (
            "60 % of the dearest path on average, by `rr-export bench out/ --json bench.json`:",
            "rr-export fit out/ --budget 0.6 --costs bench.json --name fast",
        ),
        (
            "95 % of runs within half of its FLOPs:",
            "rr-export fit out/ --budget 0.5 --costs flops --percentile 95 --name small",
        ),
    ),
    "explain": (("What is said of a damaged or missing bundle:", "rr-export explain bundle"),),
    "demo": (("The whole way, into a folder:", "rr-export demo --output out/demo"),),
}


def epilog_of(command: str) -> str:
    """Returns what the long help of a command ends with."""
    lines = [line for text, call in EXAMPLES.get(command, ()) for line in (f"  {text}", f"    $ {call}")]
    return "\n".join(["\b", "Examples:", *lines])
