"""Reads the program of a segments target, and holds that it makes every value before it is used."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NoReturn

from rr_runtime.errors import BundleError
from rr_runtime.json_node import DAMAGED, Node
from rr_runtime.segment_program import Around, Branch, Choose, Run, Step, walk


def read_program(node: Node, branches: Sequence[int], files: Collection[str]) -> tuple[Step, ...]:
    """Returns the steps of a program.

    Args:
        node: the list of steps.
        branches: the number of branches of every site.
        files: the names of the files that it may run.

    Raises:
        BundleError: a key is missing or wrong, a file is not one of these, or a site has not as many branches.
    """

    def read_step(node: Node) -> Step:
        run = node.optional("run")
        if run is not None:
            model = read_file_name(run, files)
            return Run(model, node.key("inputs").each(Node.text), node.key("outputs").each(Node.text))
        site = node.key("site").integer(0, len(branches) - 1)
        outputs = node.key("outputs").each(Node.text)
        found = node.key("branches").each(read_branch)
        if len(found) != branches[site] or any(len(b.results) != len(outputs) for b in found):
            node.key("branches").fail(f"{branches[site]} branches, each with {len(outputs)} results")
        return Choose(site, outputs, found)

    def read_branch(node: Node) -> Branch:
        return Branch(node.key("steps").each(read_step), node.key("results").each(Node.text))

    return node.each(read_step)


def read_file_name(node: Node, files: Collection[str]) -> str:
    """Returns a text that is the name of one of the recorded files."""
    name = node.text()
    return name if name in files else node.fail("the name of a recorded file")


def check_values(program: Sequence[Step], inputs: Collection[str], outputs: Collection[str], where: str) -> None:
    """Raises a BundleError where a step uses a value that is not there yet, or an output is not there at the end.

    Args:
        program: the steps.
        inputs: the values that are there at the start.
        outputs: the values that must be there at the end.
        where: the program's place, for messages.
    """
    made: dict[Around, set[str]] = {(): set(inputs)}  # what is there inside these branches and not further out

    def need(names: Collection[str], around: Around) -> None:
        for name in names:
            if not any(name in made.get(around[:depth], ()) for depth in range(len(around) + 1)):
                _undefined(where, name)

    for step, around in walk(program):
        if isinstance(step, Run):
            need(step.inputs, around)
        else:
            for number, branch in enumerate(step.branches):
                inside = (*around, (step.site, number))
                need(branch.results, inside)
                made.pop(inside, None)
        made.setdefault(around, set()).update(step.outputs)
    missing = set(outputs) - made[()]
    if missing:
        _undefined(where, min(missing))


def _undefined(where: str, name: str) -> NoReturn:
    raise BundleError(f"{where}: expected steps that make the value {name!r} before it is used, got none; {DAMAGED}")
