"""Sessions in processes that were forked: a script, which prints as JSON what each process drew."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rr_runtime import BundleError, Session
from tests.runtime import handmade


def in_children(count: int, do: Callable[[], Any]) -> list[Any]:
    """Returns what each of some forked processes found."""
    found = []
    for _ in range(count):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(writing, json.dumps(do()).encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as text:
            found.append(json.loads(text.read()))
        os.waitpid(child, 0)
    return found


def main(path: Path, replaced: Path) -> dict[str, Any]:
    os.chdir(path.parent)
    session, inputs = Session(path.name, threads=1), handmade.example()

    def paths() -> list[list[int]]:
        os.chdir("/")  # as daemons do
        return [handmade.path_of(session.run(inputs).outputs["y"], inputs) for _ in range(12)]

    def refusal() -> str:
        try:
            session.run(inputs)
        except BundleError as error:
            return str(error)
        return "ran"

    session.run(inputs)
    found = {"drawn": in_children(6, paths), "parent": paths()}
    if path.is_file():
        path.write_bytes(replaced.read_bytes())
    else:
        path.rename(path.with_name("gone"))
        replaced.rename(path)
    return {**found, "changed": in_children(1, refusal)[0], "still": refusal()}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]))))
