"""The examples of torch's own database of export, as torch has them. None decides at random: one path each.

The option ``kwargs`` of some is the third argument of ``rr.export``; their example arguments are not all tensors.
"""

from __future__ import annotations

import copy
from typing import Any

from torch import nn
from torch._export.db.case import ExportCase
from torch._export.db.examples import all_examples

from tests.zoo.case import Case

# By example, what the message of the refusal matches.
REFUSED = {
    "dynamic_shape_map": r"form in ONNX",  # torch.onnx.export 2.13 has nothing for `map`
    "dynamic_shape_round": r"stay dynamic",
    "scalar_output": r"tensors as outputs",
    # What lies in torch's own modules is taken for torch at work: no decision, and no line of an author's.
    "cond_closed_over_variable": r"form in ONNX",
    "tensor_setattr": r"decides the same way",
}


def _case(name: str, example: ExportCase) -> Case:
    def make() -> tuple[nn.Module, tuple[Any, ...]]:
        # Some change their attributes, some their arguments.
        return copy.deepcopy(example.model).eval(), copy.deepcopy(example.example_args)

    options: dict[str, Any] = {}
    if example.example_kwargs:
        options["kwargs"] = example.example_kwargs
    if example.dynamic_shapes is not None:
        options["dynamic_shapes"] = example.dynamic_shapes
    refuses = REFUSED.get(name, "")
    return Case(f"export_db/{name}", make, 0 if refuses else 1, refuses=refuses, options=options)


CASES = [_case(name, example) for name, example in sorted(all_examples().items())]
