"""Decisions on one number, half precision on the way to them, and onnxruntime's own Dropouts, in foreign files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lint.test_bugs import codes, linted

HEAD = """g (float[1] x, float[4] many) => (float[1] y) <
    float[1] low = {0.3}, float[1] high = {0.7}, float[1] zero = {0}, float[1] two = {2}, float[2] both = {0.3, 0.7},
    float[1] keep = {0.8}, float[1] less = {0.5}, int64[1] first = {0}, int64[1] second = {1},
    float[4] bound = {0.3, 0.4, 0.5, 0.6}, float middle = {0.5}, bool t = {1}, bool f = {0}, float r = {0.5}> {"""

IFS = """
    z = If (p) < then_branch = t1 () => (float[1] c) {c = Neg (x)}, else_branch = e1 () => (float[1] d) {d = Abs (x)} >
    y = If (q) < then_branch = t2 () => (float[1] g) {g = Neg (z)}, else_branch = e2 () => (float[1] h) {h = Abs (z)} >
}"""
ONE, MANY = "u = RandomUniformLike (x) ", "u = RandomUniformLike (many) "


@pytest.mark.parametrize(
    "conditions",
    [
        ONE + "p = Less (u, low)  q = Less (u, high)",
        ONE + "p = Less (u, low)  q = Less (high, u)",
        ONE + "p = GreaterOrEqual (u, low)  w = Mul (u, two)  q = Greater (w, high)",
        ONE + "a = Sub (u, low)  b = Sub (u, high)  p = Less (a, zero)  q = Less (b, zero)",
        ONE + "w = Cast <to = 11> (u)  v = Cast <to = 1> (w)  p = Less (v, low)  q = Less (u, high)",
        ONE + "pq = Less (u, both)  p, q = Split <axis = 0, num_outputs = 2> (pq)",
        ONE + "pq = Less (u, both)  p = Gather (pq, first)  q = Gather (pq, second)",
        MANY + "v = Gather (u, first)  w = Gather (u, first)  p = Less (v, low)  q = Less (w, high)",
        MANY + "v = Less (u, bound)  p = Gather (v, first)  w = Less (u, high)  q = Gather (w, first)",
    ],
)
def test_bug_two_thresholds_on_one_number(conditions: str, tmp_path: Path) -> None:
    assert codes(linted(HEAD + conditions + IFS, tmp_path)) == {"RR203"}


def test_bug_two_masks_of_one_number(tmp_path: Path) -> None:
    masks = ONE + "a = Add (u, keep)  b = Add (u, less)  p = Floor (a)  q = Floor (b)  v = Div (q, less)"
    assert codes(linted(HEAD + masks + " e = Exp (x)  z = Mul (e, p)  y = Mul (z, v) }", tmp_path)) == {"RR203"}


@pytest.mark.parametrize(
    "conditions",
    [
        ONE + "p = Less (u, low)  q = GreaterOrEqual (u, low)",  # one decision, and its opposite
        ONE + "p = Less (u, low)  q = Not (p)",
        MANY + "v = Gather (u, first)  w = Gather (u, second)  p = Less (v, low)  q = Less (w, high)",
        MANY + "v = Less (u, bound)  p = Gather (v, first)  q = Gather (v, second)",
    ],
)
def test_decisions_that_do_not_share_a_number(conditions: str, tmp_path: Path) -> None:
    assert codes(linted(HEAD + conditions + IFS, tmp_path)) == set()


def test_a_tree_on_one_number_is_one_decision(tmp_path: Path) -> None:
    tree = """p = Less (u, low)  q = Less (u, high)
    y = If (q) <
        then_branch = t1 () => (float[1] c) {
            c = If (p) <
                then_branch = t2 () => (float[1] g) {g = Neg (x)}, else_branch = e2 () => (float[1] h) {h = Abs (x)}
            >
        },
        else_branch = e1 () => (float[1] d) {d = Exp (x)}
    > }"""
    assert codes(linted(HEAD + ONE + tree, tmp_path)) == set()


REDUCED = [
    "m = ReduceMean <keepdims = 0> (v)",
    "m = ReduceMax <keepdims = 0> (v)",
    "n = Neg (v)  m = ReduceSum <keepdims = 0> (n)",
    "n = Exp (v)  o = CumSum (n, first)  m = Slice (o, first, second)",
    "a, b = Split <axis = 0, num_outputs = 2> (v)  n = Max (a, b)  m = ReduceMin <keepdims = 0> (n)",
]


@pytest.mark.parametrize("reduced", REDUCED)
@pytest.mark.parametrize("half", [True, False])
def test_bug_half_precision_before_a_reduction(half: bool, reduced: str, tmp_path: Path) -> None:
    cast = "v = Cast <to = 10> (u) " if half else "v = Cast <to = 1> (u) "
    decided = f" k = Cast <to = 1> (m)  p = Less (k, middle)  q = Greater (x, zero) {IFS}"
    assert codes(linted(HEAD + MANY + cast + reduced + decided, tmp_path)) == ({"RR204"} if half else set())


def test_bug_half_precision_before_an_argmax(tmp_path: Path) -> None:
    drawn = "v = Cast <to = 10> (u)  l = Log (v)  k = ArgMax <axis = 0> (l)  y = Gather (many, k) }"
    assert codes(linted(HEAD + MANY + drawn, tmp_path)) == {"RR204"}
    assert codes(linted(HEAD + MANY + drawn.replace("10", "1"), tmp_path)) == set()


FUSED = [
    ("BitmaskDropout", "x, r, MODE"),
    ("BiasDropout", "x, low, x, r, MODE"),
    ("BitmaskBiasDropout", "x, low, x, r, MODE"),
]


@pytest.mark.parametrize(("name", "inputs"), FUSED)
@pytest.mark.parametrize("mode", ["t", "f", ""])
def test_bug_fused_dropouts_in_training_mode(name: str, inputs: str, mode: str, tmp_path: Path) -> None:
    given = inputs.replace("MODE", mode) if mode else inputs.replace(", MODE", "")
    found = linted(f"{HEAD} y = com.microsoft.{name} ({given}) }}", tmp_path, imports='"" : 20, "com.microsoft" : 1')
    assert codes(found) == ({"RR102"} if mode == "t" else set())


def test_a_dropout_with_a_seed_that_does_not_train_is_not_random(tmp_path: Path) -> None:
    both = "a = com.microsoft.BitmaskDropout <seed = 7> (x, r, f)  h = com.microsoft.MurmurHash3 <seed = 7> (first)  "
    found = linted(f"{HEAD} {both} y = Add (a, low) }}", tmp_path, imports='"" : 20, "com.microsoft" : 1')
    assert codes(found) == set()
