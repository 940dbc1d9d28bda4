"""Any exception of capture, said in our words: where, what was expected, what to do. The original stays chained.

Texts of torch stay out: they name its internals, lines of ours, and colours. What the model's own code raises is
quoted.
"""

from __future__ import annotations

import dis
import importlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType

import torch

from rr_export.capture.size_guards import Asked, line_of_multiple, line_that_fixes
from rr_export.capture.user_lines import line_of_error, line_of_trace
from rr_export.errors import CaptureError, RRExportError

_CONDITION = "code whose sizes, indices and conditions on tensors can be captured"
_LOOP = (
    "write a condition as one tensor, such as (a == b).all(), an index as a loop, `for i, layer in enumerate(layers): "
    "if k == i: x = layer(x)`, and a size as one that x.shape gives"
)
_AXIS = "compute with x.shape instead of numbers, or leave the axis out of dynamic_shapes"
# errors that torch does not raise with texts of its own
_PYTHONS = (
    *(AttributeError, KeyError, IndexError, NameError, ImportError, ZeroDivisionError, RecursionError),
    *(StopIteration, OverflowError),
)
# how Python itself words a TypeError
_PYTHONS_TEXTS = re.compile(
    r"unsupported operand|object is not \w|not supported between|(takes|missing) .*argument|unexpected keyword argument"
)
_WANTED = {"GuardOnDataDependentSymNode", "DataDependentOutputException", "DynamicOutputShapeException"}
_KERNELS = {
    "grouped_mm": 'load the model with experts_implementation="batched_mm"',
    "flash_attn": 'load the model with attn_implementation="sdpa"',
    "flex_attention": 'load the model with attn_implementation="sdpa"',
}


@contextmanager
def in_our_words(
    fixed: Mapping[tuple[str, int], str] | None = None,
    program: torch.export.ExportedProgram | None = None,
    asked: Asked | None = None,
) -> Iterator[None]:
    """Inside, what is raised is one of our errors, or becomes a CaptureError.

    Args:
        fixed: where axes that are to stay dynamic were fixed, by input and axis; filled in while the block runs.
        program: what is translated to ONNX in the block.
        asked: conditions on sizes that the block went by; filled in while it runs.
    """
    try:
        yield
    except RRExportError:
        raise
    except Exception as error:
        own = next((cause for cause in _chain(error) if isinstance(cause, RRExportError)), None)
        raise (own or _said(error, fixed or {}, program, asked or [])) from error


def _said(
    error: BaseException,
    fixed: Mapping[tuple[str, int], str],
    program: torch.export.ExportedProgram | None,
    asked: Asked,
) -> CaptureError:
    where = line_of_error(error) or "capture"
    causes = list(_chain(error))
    texts = " ".join(str(cause) for cause in causes)
    names = {type(cause).__name__ for cause in causes}
    if "DynamicCache" in texts or "Cache'> in output" in texts:
        return _error(where, "tensors as outputs", "a cache", "pass use_cache=False")
    if "No ONNX function found" in texts or "ConversionError" in names:
        return _untranslated(texts, program)
    if reads_the_input(error):
        return _error(where, _CONDITION, "a number of the input that is used as one", _LOOP)
    if "onstraints violated" in texts or "specialized" in texts:
        return _fixed_axis(line_of_error(error) or line_that_fixes(asked) or where, texts, fixed)
    if "Expected op to be '=='" in texts:  # torch bounds an axis by whole numbers, and asserts that it can
        where = line_of_multiple(asked) or where
        return _error(where, "conditions on sizes that bound an axis", "one that is not a whole number", _AXIS)
    if "not a known type" in texts or "unsupported output type" in texts.lower():
        return _error(where, "tensors as inputs and outputs", "objects of another type", "return and take tensors")
    return _error(
        where, "code that torch.export can follow", described(error), "write that part with functions of torch"
    )


def reads_the_input(error: BaseException) -> bool:
    """Returns whether torch found that a number of the input is wanted, as a size, an index or a condition."""
    return any(type(cause).__name__ in _WANTED for cause in _chain(error))


@contextmanager
def model_runs() -> Iterator[None]:
    """Inside, where the captured model runs by itself, what is raised is one of our errors, or becomes one."""
    try:
        yield
    except RRExportError:
        raise
    except Exception as error:
        where = line_of_error(error) or "export"
        raise _error(
            where, "a model that runs by itself as it was captured", described(error), "mend what it does there"
        ) from error


def described(error: BaseException) -> str:
    """Returns type and text of an error that the model's code raised; of one of torch, the type alone."""
    name = f"{'an' if type(error).__name__[:1] in 'AEIOU' else 'a'} {type(error).__name__}"
    if not _is_pythons(error) and not _raised_by_user(error):
        return f"{name} from torch"
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip().partition("\n")[0]
    return f"{name}: {text[:200]}" if text else name


def _error(where: str, expected: str, got: str, do: str) -> CaptureError:
    return CaptureError(f"{where}: expected {expected}, got {got}; {do}")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        error = error.__cause__ or error.__context__


def _untranslated(texts: str, program: torch.export.ExportedProgram | None) -> CaptureError:
    """An operator that has no form in ONNX."""
    found = re.search(r"target=torch\.ops\.([\w.]+)|op='([\w.:]+)'", texts)
    operator = next((name for name in found.groups() if name), "") if found else ""
    nodes = [n for n in program.graph.nodes if operator and _is_made_of(str(n.target), operator)] if program else []
    where = next(filter(None, (line_of_trace(n.meta.get("stack_trace") or "") for n in nodes)), "capture")
    way = next((do for kernel, do in _KERNELS.items() if kernel in operator), "write it with other operators of torch")
    got = f"{operator.removesuffix('.default')}, which has none" if operator else "one that has none"
    return _error(where, "operators that have a form in ONNX", got, way)


def _is_made_of(target: str, operator: str) -> bool:
    """Whether what a program calls becomes an operator: ``aten.linalg_svd.default`` and ``aten._linalg_svd``."""
    one, other = (name.split(".")[1].lstrip("_") if "." in name else name for name in (target, operator))
    return one.startswith(other) or other.startswith(one)


def _fixed_axis(where: str, texts: str, fixed: Mapping[tuple[str, int], str]) -> CaptureError:
    """An axis that is to stay dynamic, and does not."""
    found = re.search(r"marked (\w+) as dynamic but your code specialized it to be a constant \((\d+)\)", texts)
    axis = f"the axis {found[1]!r}" if found else "the dynamic axes"
    got = f"code that fixes it to {found[2]}" if found else "code that ties them to a number, or to one another"
    places = "; ".join(f"{place} fixes axis {number} of {name!r}" for (name, number), place in fixed.items())
    return _error(where, f"{axis} to stay dynamic", f"{got}{f' ({places})' if places else ''}", _AXIS)


def _is_pythons(error: BaseException) -> bool:
    """Whether Python itself, or numpy, raises such an error; ValueErrors of torch come from frames of its own."""
    if isinstance(error, _PYTHONS) or _PYTHONS_TEXTS.search(str(error)) is not None:
        return True
    return isinstance(error, ValueError) and _outside_torch(error) is not None


def _raised_by_user(error: BaseException) -> bool:
    """Whether the innermost frame raises the error itself, and is none of torch."""
    trace = _outside_torch(error)
    return trace is not None and trace.tb_frame.f_code.co_code[trace.tb_lasti] == dis.opmap["RAISE_VARARGS"]


def _outside_torch(error: BaseException) -> TracebackType | None:
    """Where the innermost frame is; None: in torch."""
    trace: TracebackType | None = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0] == "torch":
        return None
    return trace


@contextmanager
def without_printed_graphs() -> Iterator[None]:
    """Inside, torch.export does not print the graph that it had when it failed."""
    space = vars(importlib.import_module("torch.export._trace"))
    space["print"] = lambda *values, **options: None
    try:
        yield
    finally:
        del space["print"]
