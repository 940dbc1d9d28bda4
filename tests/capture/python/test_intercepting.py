from __future__ import annotations

import random
import threading
import types
from typing import Any

import numpy as np
import pytest
import torch

from rr_export.capture.python.intercepting import called_in_place, intercepted, original_of, reseeds, stand_ins


def space(**names: Any) -> types.ModuleType:
    """Returns a module with these names."""
    module = types.ModuleType("space")
    vars(module).update(names)
    return module


def named(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return function.__name__, args, kwargs


def test_every_way_to_draw_is_handed_over() -> None:
    module = space(mine=random.random, yours=np.random.rand, nothing=len)
    with intercepted(named, [module]):
        assert module.mine() == random.random() == ("random", (), {})
        assert module.yours(2) == np.random.rand(2) == ("rand", (2,), {})
        assert torch.rand(2, dtype=torch.float64) == ("rand", (2,), {"dtype": torch.float64})
        assert torch.ones(1).bernoulli_(0.5)[0] == "bernoulli_"
        assert (torch.manual_seed(1), random.seed(2)) == (("manual_seed", (1,), {}), ("seed", (2,), {}))
        assert torch.cond(True, len, max, ([1],)) == ("cond", (True, len, max, ([1],)), {})
        assert module.nothing([1]) == 1
    assert isinstance(module.mine(), float)


def test_other_functions_of_torch_are_told_of() -> None:
    one = torch.ones(())
    with intercepted(named, after=lambda function, args, kwargs, result: (function, args, result)):
        function, args, result = torch.neg(one)
    assert (function, args, result.item()) == (torch.neg, (one,), -1)


def test_inner_block_hears_and_then_the_outer_one_again() -> None:
    real, module = random.random, space(draw=random.random)
    with intercepted(lambda *call: "outer", [module]):
        put = module.draw
        with intercepted(lambda *call: "inner", [module]):
            assert (module.draw(), random.random(), torch.rand(1)) == ("inner",) * 3
            assert module.draw is put
        assert (module.draw(), random.random(), torch.rand(1)) == ("outer",) * 3
    assert module.draw is random.random is real


def test_stand_ins_do_as_ever_until_a_block_begins() -> None:
    real, module = random.random, space(draw=random.random)
    with stand_ins([module]):
        assert original_of(module.draw) is real is not module.draw
        random.seed(3)
        drawn = module.draw()
        with intercepted(named, [module]):
            assert module.draw() == ("random", (), {})
    random.seed(3)
    assert (module.draw is real, real()) == (True, drawn)


def test_name_that_is_bound_inside_a_block_is_found_by_the_next() -> None:
    module = space()
    with stand_ins([module]):
        original = original_of(random.random)
        module.late = original
        with intercepted(named, [module]):
            assert module.late() == ("random", (), {})
        assert module.late is original


@pytest.mark.parametrize("block", [stand_ins, lambda modules: intercepted(named, modules)])
def test_everything_is_back_after_an_error(block: Any) -> None:
    module = space(draw=random.random)
    before = module.draw, random.random, np.random.rand, torch.cond, torch.manual_seed
    with pytest.raises(KeyError), block([module]):
        assert original_of(module.draw) is not module.draw
        raise KeyError
    assert (module.draw, random.random, np.random.rand, torch.cond, torch.manual_seed) == before
    assert isinstance(torch.rand(1), torch.Tensor)


def test_another_thread_draws_as_ever() -> None:
    module, drawn = space(draw=random.random), []
    thread = threading.Thread(target=lambda: drawn.extend((module.draw(), random.random(), torch.rand(()).item())))
    with intercepted(named, [module]):
        thread.start()
        thread.join()
        assert module.draw() == ("random", (), {})
    assert [type(number) for number in drawn] == [float] * 3


def test_block_of_another_thread_keeps_the_stand_ins_of_this_one() -> None:
    module, heard = space(draw=random.random), []

    def block() -> None:
        with intercepted(lambda *call: "theirs", [module]):
            heard.append(module.draw())

    with intercepted(lambda *call: "mine", [module]):
        thread = threading.Thread(target=block)
        thread.start()
        thread.join()
        assert (heard, module.draw()) == (["theirs"], "mine")


def test_functions_that_reseed_are_known_and_cond_is_called_in_place() -> None:
    functions = (torch.manual_seed, random.seed, np.random.default_rng, random.random, torch.rand)
    assert [reseeds(f) for f in functions] == [True, True, True, False, False]
    cond = original_of(torch.cond)
    assert called_in_place(cond, (torch.tensor(False), max, min, (1, 2)), {}) == 1
    assert called_in_place(cond, (), {"pred": True, "true_fn": max, "false_fn": min, "operands": (1, 2)}) == 2
    assert called_in_place(max, ([1, 2],), {"default": 0}) == 2
