"""Saves that are killed, or that run at once: a script for a process of its own, which prints what each left behind.

Arguments: a folder with the bundles ``first`` and ``second``, and what to do: ``each`` kills a save before its first
operation on files, before its second, and so on; ``swap`` does so on a system that cannot let folders change places;
``random`` kills at random moments; ``file`` kills saves to a single file; ``together`` lets two processes save at once.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.modules["rr_export"] = package = types.ModuleType("rr_export")  # its parts without torch, whose threads do not fork
package.__path__ = [str(Path(__file__).parents[2] / "rr_export")]

from rr_export.bundle import atomic_write  # noqa: E402
from rr_export.bundle.bundle import Bundle  # noqa: E402
from rr_export.bundle.bundle_reader import load  # noqa: E402
from rr_export.errors import BundleError  # noqa: E402

OPERATIONS = ("open", "os.", "shutil.", "tempfile.", "ctypes.dlsym")  # begin the names of audit events on files


def in_child(do: Callable[[], Any], *, killed_at: int = 0, killed_after: float = 0.0) -> int:
    """Returns how a child that does something ended: 0, 1 where a BundleError was raised, or -9 where it was killed.

    Args:
        do: what it does.
        killed_at: the number of the operation on files before which it is killed; 0: none.
        killed_after: seconds; 0: never.
    """
    child = os.fork()
    if child == 0:
        count = 0

        def watch(event: str, _: Any) -> None:
            nonlocal count
            count += event.startswith(OPERATIONS)
            if killed_at and count >= killed_at and event != "os.kill":
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        try:
            do()
        except BundleError as error:
            print(error, file=sys.stderr)
            os._exit(1)
        os._exit(0)
    if killed_after:
        time.sleep(killed_after)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def hidden(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if entry.name.startswith("."))


def killed_saves(folder: Path, name: str, moments: Callable[[int], dict[str, Any]], count: int) -> dict[str, Any]:
    """Returns what saves over an earlier bundle left: which bundle was there, and what was beside it after the next."""
    first, second = load(folder / "first"), load(folder / "second")
    place = folder / "work" / name
    kinds = {json.dumps(bundle.manifest): which for which, bundle in (("first", first), ("second", second))}
    found: list[str] = []
    left: set[str] = set()
    stayed: list[str] = []
    for number in range(1, count + 1):
        first.save(place, overwrite=True)
        stayed += hidden(place.parent)
        ended = in_child(lambda: second.save(place, overwrite=True), **moments(number))
        left |= set(hidden(place.parent))
        found.append(kinds[json.dumps(load(place).manifest)])
        if ended == 0 and "killed_at" in moments(number):
            break
    return {"found": found, "ended": ended, "left": len(left), "stayed": stayed}


def together(folder: Path) -> dict[str, Any]:
    """Returns what two processes that save at once left: over each other, and to a place that was free."""
    bundles = [load(folder / name) for name in ("first", "second")]
    place = folder / "work" / "out"

    def at_once(save: Callable[[Bundle], Any]) -> list[int]:
        start = time.time() + 0.2
        children = []
        for bundle in bundles:
            child = os.fork()
            if child == 0:
                time.sleep(max(0.0, start - time.time()))
                os._exit(in_child(lambda bundle=bundle: save(bundle)))
            children.append(child)
        return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]

    over = at_once(lambda bundle: [bundle.save(place, overwrite=True) for _ in range(10)])
    load(place)
    new = [sorted(at_once(lambda bundle, k=k: bundle.save(place.with_name(f"new{k}")))) for k in range(5)]
    files = [sorted(at_once(lambda bundle, k=k: bundle.save(place.with_name(f"new{k}.onnx")))) for k in range(5)]
    return {"over": over, "new": new, "files": files, "hidden": hidden(place.parent)}


def main(folder: Path, what: str) -> dict[str, Any]:
    (folder / "work").mkdir()
    if what == "together":
        return together(folder)
    if what == "random":
        times = random.Random(0)
        return killed_saves(folder, "out", lambda _: {"killed_after": times.uniform(0.001, 0.06)}, 25)
    if what == "swap":
        atomic_write.exchange = lambda *_: False
    name = "out.onnx" if what == "file" else "out"
    return killed_saves(folder, name, lambda number: {"killed_at": number}, 1000)


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2])))
