"""Semantic search with an exported encoder alone: numpy, tokenizers and rr_runtime, no torch.

The documents are what the functions of Python's standard library say of themselves (the first sentence of each
docstring); the queries are questions of people, each with the function that answers it.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rr_export.quality.calibration import expected_calibration_error
from rr_runtime import Session

Embeddings = NDArray[np.float32]  # float32 [N, C], rows of length 1
Tokenizer = Callable[[Sequence[str]], dict[str, NDArray[np.int64]]]

MODULES = (
    *("base64", "bisect", "calendar", "cmath", "collections", "contextlib", "copy", "csv", "datetime", "difflib"),
    *("email.utils", "filecmp", "fnmatch", "fractions", "functools", "getpass", "glob", "gzip", "heapq", "hmac"),
    *("html", "inspect", "io", "itertools", "json", "keyword", "linecache", "math", "mimetypes", "operator", "os"),
    *("os.path", "pathlib", "platform", "pprint", "random", "re", "secrets", "shlex", "shutil", "socket"),
    *("statistics", "string", "subprocess", "tempfile", "textwrap", "threading", "time", "timeit", "traceback"),
    *("unicodedata", "urllib.parse", "urllib.request", "uuid", "warnings", "webbrowser", "zipfile", "zlib"),
)
WORDS = range(2, 31)  # one word says too little, more than 30 are a listing
SCALE = 20.0  # of similarities: of 10, 15, ..., 50 the likeliest, by names with the pretrained model on all layers
SHORT = 5  # letters of a name that says too little to be a query
QUERIES = {
    "how do I compute the greatest common divisor": "math.gcd",
    "smallest number that two integers both divide": "math.lcm",
    "the number of ways to pick k things out of n": "math.comb",
    "convert an angle from radians to degrees": "math.degrees",
    "straight line distance between two points": "math.dist",
    "round a number up": "math.ceil",
    "is the number infinite": "math.isinf",
    "is it a leap year": "calendar.isleap",
    "which day of the week is a date": "calendar.weekday",
    "delete a whole directory and everything inside": "shutil.rmtree",
    "how much free space is left on the disk": "shutil.disk_usage",
    "find where a program is installed": "shutil.which",
    "what folder am I in right now": "os.getcwd",
    "how many processors does this computer have": "os.cpu_count",
    "does this file exist": "os.path.exists",
    "last part of a file path": "os.path.basename",
    "how big is this file": "os.path.getsize",
    "do two files have the same content": "filecmp.cmp",
    "create a temporary folder": "tempfile.mkdtemp",
    "ask the user for a password without showing it": "getpass.getpass",
    "shuffle a deck of cards": "random.shuffle",
    "draw a number from the bell curve": "random.gauss",
    "a new random identifier": "uuid.uuid4",
    "the value that occurs most often in my data": "statistics.mode",
    "how widely are the numbers spread": "statistics.stdev",
    "the middle value of a list of numbers": "statistics.median",
    "remove common leading spaces from a block of text": "textwrap.dedent",
    "break long text into lines of a given width": "textwrap.wrap",
    "split a shell command into words": "shlex.split",
    "find words that are spelled nearly the same": "difflib.get_close_matches",
    "join a base address and a relative link": "urllib.parse.urljoin",
    "show a web page to the user": "webbrowser.open",
    "guess the kind of a file from its name": "mimetypes.guess_type",
    "make special characters like < safe for a web page": "html.escape",
    "a random text that is safe to use in links": "secrets.token_urlsafe",
    "make a copy of an object including everything it contains": "copy.deepcopy",
    "turn an object into a JSON string": "json.dumps",
    "pretty print nested data": "pprint.pprint",
    "the n biggest items of a collection": "heapq.nlargest",
    "insert into a list and keep it in order": "bisect.insort",
    "which operating system is this": "platform.system",
    "read the source code of a function": "inspect.getsource",
    "replace all matches of a regular expression": "re.sub",
    "measure how long a piece of code takes": "timeit.timeit",
    "remember results so that they are not computed twice": "functools.cache",
    "make data smaller": "zlib.compress",
}


@dataclass(frozen=True)
class Corpus:
    """What is searched, and what for.

    Attributes:
        names: of the functions, such as ``math.gcd``.
        documents: one sentence per name.
        queries: the questions.
        answers: int64 [Q], the right document of every question.
    """

    names: tuple[str, ...]
    documents: tuple[str, ...]
    queries: tuple[str, ...]
    answers: NDArray[np.int64]


def read_corpus() -> Corpus:
    """Returns the documents of this Python's standard library, and the queries whose answers are among them."""
    found: dict[str, str] = {}
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        public = getattr(module, "__all__", None) or [n for n in dir(module) if not n.startswith("_")]
        for name in sorted(public):
            value = getattr(module, name, None)
            sentence = _first_sentence(inspect.getdoc(value)) if inspect.isroutine(value) else ""
            if len(sentence.split()) in WORDS and "->" not in sentence:  # not a signature
                found.setdefault(sentence, f"{module_name}.{name}")
    names = tuple(found.values())
    known = {query: names.index(answer) for query, answer in QUERIES.items() if answer in found.values()}
    return Corpus(names, tuple(found), tuple(known), np.array(list(known.values()), dtype=np.int64))


def name_queries(corpus: Corpus) -> Corpus:
    """Returns the corpus with the names of its functions as queries, such as "get close matches".

    They are many and nobody wrote them for this search, so paths are chosen by them and judged by the questions.
    """
    words = [name.rpartition(".")[2].replace("_", " ") for name in corpus.names]
    kept = [i for i, word in enumerate(words) if len(word) > SHORT]
    return replace(corpus, queries=tuple(words[i] for i in kept), answers=np.array(kept, dtype=np.int64))


def read_tokenizer(folder: Path) -> Tokenizer:
    """Returns a function from sentences to ``input_ids`` and ``attention_mask``, int64 [N, T]."""
    from tokenizers import Tokenizer as Words

    words = Words.from_file(str(folder / "tokenizer.json"))
    words.no_truncation()
    words.enable_padding()

    def tokens(sentences: Sequence[str]) -> dict[str, NDArray[np.int64]]:
        rows = words.encode_batch(list(sentences))
        return {
            "input_ids": np.array([row.ids for row in rows], dtype=np.int64),
            "attention_mask": np.array([row.attention_mask for row in rows], dtype=np.int64),
        }

    return tokens


def embed(
    session: Session, tokens: Tokenizer, sentences: Sequence[str], path: Sequence[int], *, batch: int = 32
) -> Embeddings:
    """Returns the embeddings of the sentences on one path, in the order of the sentences."""
    order = sorted(range(len(sentences)), key=lambda i: len(sentences[i]))  # little padding
    rows: dict[int, NDArray[np.float32]] = {}
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        found = session.run(tokens([sentences[i] for i in chosen]), path=path).outputs["embedding"]
        rows.update(zip(chosen, found, strict=True))
    return np.stack([rows[i] for i in range(len(sentences))])


def mean_embedding(parts: Sequence[Embeddings]) -> Embeddings:
    """Returns the ensemble of several runs: the mean of their embeddings, scaled to length 1 again."""
    mean = np.mean(np.stack(list(parts)), axis=0, dtype=np.float32)
    scaled: Embeddings = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    return scaled


def mrr(queries: Embeddings, documents: Embeddings, answers: NDArray[np.int64]) -> float:
    """Returns the mean of 1 / rank of the answers."""
    return float((1 / ranks(queries, documents, answers)).mean())


def calibration_error(queries: Embeddings, documents: Embeddings, answers: NDArray[np.int64]) -> float:
    """Returns how far the certainty of what is found first is from how often it is the answer, in [0, 1].

    The probabilities of a query's documents are the softmax of ``SCALE`` times their similarities; see
    :func:`rr_export.quality.calibration.expected_calibration_error`.
    """
    scores = SCALE * (queries.astype(np.float64) @ documents.T)
    likely = np.exp(scores - scores.max(1, keepdims=True))
    return expected_calibration_error(likely / likely.sum(1, keepdims=True), answers)


def ranks(queries: Embeddings, documents: Embeddings, answers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns the rank of every query's answer among all documents by cosine similarity, int64 [Q], 1 is first."""
    scores = queries @ documents.T
    right = scores[np.arange(len(answers)), answers]
    above: NDArray[np.int64] = (scores > right[:, None]).sum(1)
    return above + 1


def _first_sentence(doc: str | None) -> str:
    paragraph = " ".join((doc or "").strip().split("\n\n")[0].split())
    return re.split(r"(?<=[.!?])\s", paragraph)[0]
