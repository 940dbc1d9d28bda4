"""Tutorials as programs: a page's files are written, its commands and code run, and what they print is compared.

``python -m tests.docs.tutorial docs/tutorials/ci.md`` runs a page in an empty folder, and writes what it prints.

A block with a title is a file; other Python runs in one namespace per page; in a console block each ``$`` line is a
command, and what follows it is its output. An output may leave words out: ``[...]``. What a page prints of a model
that it trains differs from machine to machine; such a page says so in the comment TRAINED.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import linecache
import os
import re
import runpy
import shlex
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from rr_export.cli.console import err, out
from website.links import ROOT

WIDTH = 100  # of the terminal
LEFT_OUT = "[...]"  # where an output of a page is cut
TRAINED = "<!-- numbers, paths and how many there are differ from machine to machine -->"
_BLOCK = re.compile(
    r"^```(?P<language>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
_FIGURE = re.compile(
    r"\b\d+\.\d+(?:\.\d+)*(?:e[-+]?\d+)?\b|\b\d+e[-+]?\d+\b|(?<=free draws: )\d+|(?<=difference )0\b|(?<=at most )0\b"
)
_PROGRESS = re.compile(
    r"^(?:(?:export|verify|packag|calibrat|search)ing(?: \.\.\.|: .*)|\w+ on \w+ \.\.\.)\n", re.MULTILINE
)  # a bar, in a terminal
_DRAWN = re.compile(r"[\u2500-\u257f]+")  # the lines of tables


@dataclass(frozen=True)
class Step:
    """What a page does: a file, code or a command, and what it says that is printed.

    Attributes:
        kind: "file", "python" or "command".
        text: the content, the code or the command.
        title: of a file, its name.
        printed: as the page says.
        span: where that stands in the page.
    """

    kind: str
    text: str
    title: str = ""
    printed: str = ""
    span: tuple[int, int] = (0, 0)


def steps(page: str) -> Iterator[Step]:
    """Yields the steps of a page, in its order."""
    blocks = list(_BLOCK.finditer(page))
    for number, block in enumerate(blocks):
        language, title, text = block["language"], block["title"], block["text"]
        if title:
            yield Step("file", text, title)
        elif language == "python":
            following = blocks[number + 1] if number + 1 < len(blocks) else None
            shown = following is not None and following["language"] == "text"
            printed, span = (following["text"], following.span("text")) if shown and following else ("", (0, 0))
            yield Step("python", text, printed=printed, span=span)
        elif language == "console":
            for command in re.finditer(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE):
                start = block.start("text")
                yield Step("command", command[1], "", command[2], (start + command.start(2), start + command.end(2)))


@dataclass
class Place:
    """The folder of a reader, who does step by step what a page says.

    Attributes:
        folder: an empty folder.
        code: the exit code of the last command.
        names: of the code that ran.
        others: modules of this process that have the names of files of the page, and come back after it.
    """

    folder: Path
    code: int = 0
    names: dict[str, object] = field(default_factory=lambda: {"__name__": "__main__"})
    others: dict[str, ModuleType] = field(default_factory=dict)

    def do(self, step: Step) -> str:
        """Does one step; returns what it printed."""
        if step.kind == "file":
            place = self.folder / step.title
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(step.text)
            if place.suffix == ".py" and place.stem in sys.modules:  # of the same name, from elsewhere
                self.others[place.stem] = sys.modules.pop(place.stem)
            return ""
        if step.kind == "python":
            return self._printed(lambda: exec(compile(step.text, "page.py", "exec"), self.names))
        if step.text == "echo $?":
            return f"{self.code}\n"
        program, *arguments = shlex.split(step.text, comments=True)
        own = {"rr-export": _rr_export, "rr-runtime": _rr_runtime, "python": _python}
        if program in own and (program != "python" or arguments[0].endswith(".py")):  # here: torch is imported already
            return self._printed(lambda: own[program](arguments))
        done = subprocess.run(
            ["bash", "-c", step.text], capture_output=True, text=True, timeout=300, env=_environment()
        )
        self.code = done.returncode
        return done.stdout + done.stderr

    def _printed(self, act: Callable[[], object]) -> str:
        text = io.StringIO()
        self.code = 0
        with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
            try:
                act()
            except SystemExit as ended:
                self.code = ended.code if isinstance(ended.code, int) else int(bool(ended.code))
            finally:
                self._forget_modules()
        return re.sub(r" +$", "", _PROGRESS.sub("", text.getvalue()), flags=re.MULTILINE)

    def _forget_modules(self) -> None:
        """The reader's next process reads its files anew."""
        for name, module in list(sys.modules.items()):
            if Path(getattr(module, "__file__", None) or "/").is_relative_to(self.folder):
                del sys.modules[name]
        importlib.invalidate_caches()
        linecache.checkcache()


def differs(expected: str, got: str, *, trained: bool = False) -> str:
    """Returns what is missing or too much in an output, "" where it is as the page says.

    Tables wrap differently from terminal to terminal, and figures differ from machine to machine: what is compared are
    the words, in any order. Of what was trained, numbers are not, nor how often a word is there.
    """
    wanted, found = _words(expected), _words(got)
    if trained:
        wanted, found = _kinds(wanted), _kinds(found)
    missing = wanted - found
    excess = found - wanted if LEFT_OUT not in expected else Counter()
    return "".join(f" {sign}{word}" for sign, words in (("-", missing), ("+", excess)) for word in sorted(words))


def _words(text: str) -> Counter[str]:
    plain = _FIGURE.sub("#", _DRAWN.sub(" ", text)).replace(LEFT_OUT, " ")
    return Counter(plain.split())


def _kinds(words: Counter[str]) -> Counter[str]:
    """Every word once, and every number or list of numbers as "#"."""
    return Counter({re.sub(r"[#\d]+(?:,[#\d]+)*", "#", word).rstrip(",;%]") for word in words})


def _rr_export(arguments: list[str]) -> None:
    from rr_export.cli import main

    main(arguments)


def _rr_runtime(arguments: list[str]) -> None:
    from rr_runtime.cli import run_command

    sys.exit(run_command(arguments))


def _python(arguments: list[str]) -> None:
    runpy.run_path(arguments[0], run_name="__main__")


def _environment() -> dict[str, str]:
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "runtimes" / "python")))
    return os.environ | {"PYTHONPATH": paths, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


@contextlib.contextmanager
def reader(folder: Path) -> Iterator[Place]:
    """Inside, the folder is that of the process, and its modules are imported."""
    before, widths = (list(sys.path), sys.dont_write_bytecode), [console.width for console in (out, err)]
    out.width = err.width = WIDTH
    sys.dont_write_bytecode = True  # files change faster than their times tell
    sys.path.insert(0, str(folder))
    try:
        with contextlib.chdir(folder):
            place = Place(folder.resolve())
            yield place
            sys.modules.update(place.others)
    finally:
        sys.path[:], sys.dont_write_bytecode = before
        out.width, err.width = widths


def main(file: Path) -> None:
    """Runs a page, and writes what was printed into it."""
    page = file.read_text(encoding="utf-8")
    written, end = "", 0
    with tempfile.TemporaryDirectory() as scratch, reader(Path(scratch)) as place:
        for step in steps(page):
            printed = place.do(step)
            if step.span != (0, 0) and LEFT_OUT not in step.printed:
                written, end = written + page[end : step.span[0]] + printed, step.span[1]
    file.write_text(written + page[end:], encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
