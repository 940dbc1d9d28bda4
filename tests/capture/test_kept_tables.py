"""torch's tables: taken again while nothing in them changed, and torch left as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch._export.utils
import torch.export.exported_program as exported
from onnxscript.function_libs.torch_lib import registration
from torch.onnx._internal.exporter import _decomp, _fx_passes
from torch.onnx._internal.exporter._registration import ONNXRegistry

from rr_export.capture.kept_tables import tables_kept


@pytest.fixture(autouse=True)
def torch_as_it_was() -> Iterator[None]:
    """Whatever happens inside, torch has its own functions afterwards."""

    def now() -> tuple[object, ...]:
        return (
            vars(ONNXRegistry)["from_torchlib"],
            torch._export.utils._materialize_cpp_cia_ops,
            _fx_passes.decompose_with_registry,
            exported.autograd_not_implemented,
            exported._split_decomp_table_to_cia_and_python_decomp,
            torch._ops.OperatorBase.py_impl,
        )

    before = now()
    yield
    assert now() == before


def translations_of(table: ONNXRegistry) -> dict[object, list[int]]:
    """The very translations that a table has, by operator."""
    return {name: [id(t) for t in translations] for name, translations in table.functions.items()}


def test_a_table_is_made_once_for_each_opset() -> None:
    with tables_kept():
        first = translations_of(ONNXRegistry.from_torchlib(opset_version=20))
    with tables_kept():
        assert translations_of(ONNXRegistry().from_torchlib(opset_version=20)) == first
        assert translations_of(ONNXRegistry.from_torchlib(opset_version=18)) != first
    made = translations_of(ONNXRegistry.from_torchlib(opset_version=20))
    assert made != first
    assert made.keys() == first.keys()


def test_what_an_export_adds_to_a_table_stays_its_own() -> None:
    with tables_kept():
        first = ONNXRegistry.from_torchlib(opset_version=20)
        before = translations_of(first)
        name = next(iter(first.functions))
        first.functions[name].append(first.functions[name][0])
        first.functions["rr::added"] = []
        assert translations_of(ONNXRegistry.from_torchlib(opset_version=20)) == before


def test_a_translation_that_is_registered_later_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with tables_kept():
        first = translations_of(ONNXRegistry.from_torchlib(opset_version=20))
    added = registration.Registry()
    added._registry = {k: v for k, v in registration.default_registry.items()}
    added.register(next(iter(added.values())).overloads[0], "aten::rr_export_added")
    monkeypatch.setattr(registration, "default_registry", added)
    with tables_kept():
        assert translations_of(ONNXRegistry.from_torchlib(opset_version=20)) != first


def test_an_operator_that_torch_gets_later_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of ``quantized_decomposed`` are, which torch registers once something imports them."""
    translation = next(iter(registration.default_registry.values())).overloads[0]
    added = registration.Registry()
    added._registry = {**registration.default_registry._registry}
    added.register(translation, "rr_export_tests::comes_later")
    monkeypatch.setattr(registration, "default_registry", added)
    with tables_kept():
        assert not any("comes_later" in str(name) for name in ONNXRegistry.from_torchlib(opset_version=20).functions)
    with torch.library._scoped_library("rr_export_tests", "DEF") as library:
        library.define("comes_later(Tensor x) -> Tensor")
        with tables_kept():
            assert any("comes_later" in str(name) for name in ONNXRegistry.from_torchlib(opset_version=20).functions)


def test_composite_operators_are_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[bool] = []
    utils = torch._export.utils
    original = utils._materialize_cpp_cia_ops
    monkeypatch.setattr("rr_export.capture.kept_tables._looked_up", [])
    monkeypatch.setattr(utils, "_materialize_cpp_cia_ops", lambda: looked.append(True))
    with tables_kept():
        utils._materialize_cpp_cia_ops()
        utils._materialize_cpp_cia_ops()
    with tables_kept():
        utils._materialize_cpp_cia_ops()
        assert len(looked) == 1
    with tables_kept():
        names = torch._C._dispatch_get_registrations_for_dispatch_key("CompositeImplicitAutograd")
        monkeypatch.setattr(torch._C, "_dispatch_get_registrations_for_dispatch_key", lambda key: [*names, "rr::new"])
        utils._materialize_cpp_cia_ops()
        assert len(looked) == 2
    monkeypatch.setattr(utils, "_materialize_cpp_cia_ops", original)


def test_an_error_leaves_torch_as_it_was() -> None:
    with pytest.raises(RuntimeError, match="inside"), tables_kept():
        raise RuntimeError("inside")


def test_a_table_of_decompositions_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    make = _decomp.create_onnx_friendly_decomposition_table
    monkeypatch.setattr(_decomp, "create_onnx_friendly_decomposition_table", lambda ops: asked.append(0) or make(ops))
    monkeypatch.setattr("rr_export.capture.kept_tables._decompositions", {})
    for _ in range(2):
        program = torch.export.export(_InPlace(), (torch.ones(2),), strict=False)
        with tables_kept(), torch.no_grad():
            before = program.graph_module
            made = _fx_passes.decompose_with_registry(program, ONNXRegistry.from_torchlib(opset_version=20))
            assert made.graph_module is not before  # changed in place: traced again
            assert [n.target for n in made.graph.nodes][1:-1] == [torch.ops.aten.add.Tensor] * 2
    assert len(asked) == 1


class _InPlace(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x + 1).add_(2)
