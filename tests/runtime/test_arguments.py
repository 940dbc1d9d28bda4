"""The arguments of a run: inputs, seeds and paths, and one error for each wrong one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rr_runtime import Session
from rr_runtime.arguments import KNOWN_SHAPES, InputCheck
from rr_runtime.manifest import Tensor

from . import handmade
from .handmade import ROUTED, assert_outputs

# Inputs


def change(name: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda inputs: {**inputs, name: value}


@pytest.mark.parametrize(
    ("edit", "error", "message"),
    [
        (lambda _: {}, ValueError, r"^input 'x': expected x: float32 .*, offset: .*, got none; pass .* x, offset$"),
        (lambda i: {"x": i["x"]}, ValueError, r"^input 'offset': expected .*, got 'x'; pass the missing offset$"),
        (
            lambda i: {"x": i["x"], "ofset": i["offset"]},
            ValueError,
            r"^input 'ofset': expected only .*, got an unknown name; did you mean 'offset'\?$",
        ),
        (change("zzz", 1), ValueError, r"^input 'zzz': expected only .*, got an unknown name; remove it$"),
        (
            change("rr_seed", np.array(7)),
            ValueError,
            r"^input 'rr_seed': expected the model's own .*; pass seed= or path=",
        ),
        (change("rr_path", np.array([1, 0, 0])), ValueError, r"^input 'rr_path': expected the model's own inputs"),
        (lambda i: {**i, 3: 1}, ValueError, r"^input 3: expected only .*, got an unknown name; "),
        (
            lambda i: list(i.values()),
            TypeError,
            r"^inputs: expected a mapping of names to arrays, got list; pass a dict$",
        ),
        (lambda i: i["x"], TypeError, r"^inputs: expected a mapping .*, got ndarray; pass a dict$"),
        (
            change("x", np.ones((2, 4))),
            TypeError,
            r"^input 'x': expected float32, got float64; convert .*astype\('float32'",
        ),
        (change("x", np.ones((2, 4), np.float16)), TypeError, r"^input 'x': expected float32, got float16; convert"),
        (change("x", np.ones((2, 4), np.int64)), TypeError, r"^input 'x': expected float32, got int64; convert"),
        (change("x", np.ones((2, 4), ">f4")), TypeError, r"^input 'x': expected float32, got >f4; convert"),
        (change("offset", np.ones(2, np.int32)), TypeError, r"^input 'offset': expected int64, got int32; convert"),
        (change("offset", np.ones(2, bool)), TypeError, r"^input 'offset': expected int64, got bool; convert"),
        (
            change("offset", [0.5, 1]),
            TypeError,
            r"^input 'offset': expected int64, got Python values .* float64; pass int64$",
        ),
        (
            change("offset", [True, False]),
            TypeError,
            r"^input 'offset': expected int64, got Python values .* bool; pass",
        ),
        (
            change("offset", ["1", "2"]),
            TypeError,
            r"^input 'offset': expected int64, got Python values .*; pass int64$",
        ),
        (
            change("offset", None),
            TypeError,
            r"^input 'offset': expected int64, got Python values .* object; pass int64$",
        ),
        (
            change("offset", [2**63, 2**63]),
            ValueError,
            r"^input 'offset': expected numbers that int64 holds, got 9223.*; pass",
        ),
        (
            change("x", [[1e39, 0, 0, 0]] * 2),
            ValueError,
            r"^input 'x': expected numbers that float32 holds, got 1e\+39; ",
        ),
        (change("x", [[2**24 + 1, 0, 0, 0]] * 2), ValueError, r"^input 'x': expected .* float32 holds, got 16777217; "),
        (
            change("x", [[1, 2], [3]]),
            TypeError,
            r"^input 'x': expected float32 numbers, got list \(.*\); pass a numpy array$",
        ),
        (
            change("x", np.ones(4, np.float32)),
            ValueError,
            r"^input 'x': expected rank 2, \[batch, 4\], got shape \(4,\); ",
        ),
        (
            change("x", np.float32(1)),
            ValueError,
            r"^input 'x': expected rank 2, \[batch, 4\], got shape \(\); reshape it$",
        ),
        (
            change("x", np.ones((2, 5), np.float32)),
            ValueError,
            r"^input 'x': expected size 4 on axis 1 of .*, got 5; reshape",
        ),
        (
            change("offset", np.arange(3)),
            ValueError,
            r"^input 'offset': expected batch = 2 on axis 0 of \[batch\], as in input 'x', got 3; pass inputs of one",
        ),
    ],
)
def test_wrong_inputs_are_named(
    explicit: Session, edit: Callable[[dict[str, Any]], Any], error: type[Exception], message: str
) -> None:
    explicit.run(handmade.example(), seed=0)  # what was right before is not looked at again; this is not
    with pytest.raises(error, match=message):
        explicit.run(edit(handmade.example()), seed=0)


def test_shapes_that_were_right_are_recognised_and_no_others() -> None:
    """Each shape is right by itself, but not beside that of another input; and no more are kept than a few."""
    declared = [Tensor("x", "float32", ("n", 2)), Tensor("y", "int64", ("n",))]
    check = InputCheck(declared, {"n": (1, KNOWN_SHAPES + 8)}).check
    for n in range(1, KNOWN_SHAPES + 9):
        inputs = {"y": np.zeros(n, np.int64), "x": np.zeros((n, 2), np.float32)}
        for _ in range(2):
            found = check(inputs)
            assert list(found) == ["x", "y"] and all(found[name] is inputs[name] for name in inputs)
            assert found is not inputs
        with pytest.raises(ValueError, match=r"^input 'y': expected n = \d+ on axis 0"):
            check(inputs | {"y": np.zeros(n % KNOWN_SHAPES + 1 + (n == KNOWN_SHAPES), np.int64)})
        with pytest.raises(TypeError, match=r"^input 'x': expected float32, got float64"):
            check(inputs | {"x": np.zeros((n, 2))})
        with pytest.raises(ValueError, match=r"^input 'z': expected only"):
            check(inputs | {"z": 1})
    with pytest.raises(ValueError, match=r"^inputs: expected n of at least 1 and at most 72, got 73"):
        check({"x": np.zeros((73, 2), np.float32), "y": np.zeros(73, np.int64)})


class Offering:
    """Something that is no numpy array but offers one."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        if self.array is None:
            raise TypeError("on another device")
        return self.array


@pytest.mark.parametrize(
    "x",
    [
        pytest.param([[1, 2, 3, 4], [5, 6, 7, 8]], id="integers"),
        pytest.param([[1.0, 2, 3, 4], (5, 6, 7, 8)], id="floats"),
        pytest.param(np.arange(1, 9, dtype=np.float32).reshape(4, 2, order="F").reshape(2, 4), id="array"),
        pytest.param(np.arange(1, 9, dtype=np.float32).reshape(2, 4).copy(order="F"), id="column-major"),
        pytest.param(np.arange(2, 18, dtype=np.float32).reshape(2, 8)[:, ::2] / 2, id="strided"),
        pytest.param(Offering(np.arange(1, 9, dtype=np.float32).reshape(2, 4)), id="array-like"),
    ],
)
def test_lists_and_any_layout_are_taken(explicit: Session, x: Any) -> None:
    result = explicit.run({"x": x, "offset": [0, 100]}, path=[1, 1, 0])
    values = np.asarray(x, np.float32) if not isinstance(x, Offering) else x.array
    assert_outputs(result.outputs, handmade.forward({"x": values, "offset": np.array([0, 100])}, [1, 1, 0]))


def test_array_likes_are_not_cast_either(explicit: Session) -> None:
    with pytest.raises(TypeError, match=r"^input 'x': expected float32, got float64; convert it yourself"):
        explicit.run({**handmade.example(), "x": Offering(np.ones((2, 4)))})
    with pytest.raises(
        TypeError, match=r"^input 'x': expected float32 numbers, got Offering \(on another device\); pass"
    ):
        explicit.run({**handmade.example(), "x": Offering(None)})


def test_floats_are_rounded_to_the_declared_width(explicit: Session) -> None:
    result = explicit.run({"x": [[0.1, 0.2, 0.3, float("inf")]], "offset": [0]}, path=[0, 0, 0])
    assert result.outputs["y"].tolist() == (np.array([[0.1, 0.2, 0.3, np.inf]], np.float32) * 2).tolist()


def test_empty_lists_are_taken(explicit: Session) -> None:
    result = explicit.run({"x": np.ones((0, 4), np.float32), "offset": []}, seed=0)
    assert result.outputs["count"].tolist() == []


def test_inputs_are_left_alone(explicit: Session) -> None:
    inputs = handmade.example()
    for array in inputs.values():
        array.flags.writeable = False
    explicit.run(inputs, seed=0)
    assert list(inputs) == ["x", "offset"]


# Seeds and paths


@pytest.mark.parametrize("seed", [-1, 2**63, np.int64(-1)])
def test_seeds_out_of_range_are_refused(explicit: Session, seed: int) -> None:
    with pytest.raises(ValueError, match=rf"^seed: expected 0 <= seed < 2\*\*63, got {seed}; pass one in that range"):
        explicit.run(handmade.example(), seed=seed)


@pytest.mark.parametrize("seed", [True, 1.0, "7", [1]])
def test_seeds_of_other_types_are_refused(explicit: Session, seed: Any) -> None:
    with pytest.raises(TypeError, match=r"^seed: expected an integer, got \w+ .*; pass 0 <= seed"):
        explicit.run(handmade.example(), seed=seed)


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ([1, 0], ValueError, r"^path: expected 3 integers, .*, got 2; pass .* each of outer, outer.b.inner, head$"),
        ([], ValueError, r"^path: expected 3 integers, one per site, got 0; "),
        ([0, 0, 0, 0], ValueError, r"^path: expected 3 integers, one per site, got 4; "),
        (
            np.zeros((1, 3), np.int64),
            ValueError,
            r"^path: expected 3 .*, got an array of shape \(1, 3\); pass one dimension",
        ),
        (np.array(1), ValueError, r"^path: expected 3 .*, got an array of shape \(\); pass one dimension$"),
        (np.zeros(3), TypeError, r"^path: expected 3 integers, one per site, got an array of float64; pass int64$"),
        (np.zeros(3, bool), TypeError, r"^path: expected 3 .*, got an array of bool; pass int64$"),
        ([1, 0.0, 0], TypeError, r"^path\[1\], site 'outer.b.inner': expected an integer, got float 0.0; pass an int$"),
        ([True, 0, 0], TypeError, r"^path\[0\], site 'outer': expected an integer, got bool True; pass an int$"),
        (["1", 0, 0], TypeError, r"^path\[0\], site 'outer': expected an integer, got str '1'; pass an int$"),
        ([None, 0, 0], TypeError, r"^path\[0\], site 'outer': expected an integer, got NoneType None; "),
        ("101", TypeError, r"^path: expected 3 integers, one per site, got str; pass a list$"),
        (7, TypeError, r"^path: expected 3 integers, one per site, got int; pass a list$"),
        (
            [3, 0, 0],
            ValueError,
            r"^path\[0\], site 'outer': expected -1 \(draw\) or 0..2, got 3; .* are 0 twice, 1 nested, 2 less$",
        ),
        (
            [0, 0, 2],
            ValueError,
            r"^path\[2\], site 'head': expected -1 \(draw\) or 0..1, got 2; its branches are 0 skip, 1",
        ),
        ([0, -2, 0], ValueError, r"^path\[1\], site 'outer.b.inner': expected -1 \(draw\) or 0..1, got -2; "),
        (
            [2**70, 0, 0],
            ValueError,
            r"^path\[0\], site 'outer': expected -1 \(draw\) or 0..2, got 1180591620717411303424; ",
        ),
        (
            np.array([2**64 - 1, 0, 0], np.uint64),
            ValueError,
            r"^path\[0\], site 'outer': .*, got 18446744073709551615; ",
        ),
    ],
    ids=repr,
)
@pytest.mark.parametrize("interface", ROUTED)
def test_wrong_paths_are_named(
    sessions: dict[str, Session], interface: str, path: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        sessions[interface].run(handmade.example(), path=path)


@pytest.mark.parametrize(
    "path",
    [(1, 0, 1), np.array([1, 0, 1], np.int8), [np.int32(1), 0, 1], iter([1, 0, 1])],
    ids=lambda p: type(p).__name__,
)
def test_paths_of_integers_of_any_kind_are_taken(explicit: Session, path: Any) -> None:
    result = explicit.run(handmade.example(), path=path)
    assert result.path is not None
    assert result.path.tolist() == [1, 0, 1]
