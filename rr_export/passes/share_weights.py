"""With external data, weights that several deep leaves share become an initializer of each, stored once.

before:  main { w; If { If { MatMul(x, w) } { MatMul(y, w) } } }
after:   main { If { If { w; MatMul(x, w) } { w@2; MatMul(y, w@2) } } }    w and w@2 name the same bytes of the file

The new initializers share one tensor object, by which the writer of external data knows them again.
"""

from __future__ import annotations

import onnx_ir as ir

from rr_export.passes.place_weights import weight_users


def copy_shared_weights(model: ir.Model, *, deeper_than: int = 1) -> bool:
    """Every weight used by deep leaves only is an initializer of each; returns whether anything changed.

    Args:
        model: a lowered model.
        deeper_than: as for :func:`~rr_export.passes.place_weights`.
    """
    changed = False
    for value, graphs in weight_users(model).items():
        if len(graphs) < 2 or any(level <= deeper_than for _, level in graphs):
            continue
        assert value.name is not None
        name = value.name
        del model.graph.initializers[name]
        for number, (leaf, _) in enumerate(graphs):
            copy = ir.Value(
                name=name if number == 0 else f"{name}@{number + 1}",
                type=value.type,
                shape=value.shape,
                const_value=value.const_value,
            )
            leaf.register_initializer(copy)
            for usage in [u for u in value.uses() if u.node.graph is leaf]:
                usage.node.replace_input_with(usage.idx, copy)
        changed = True
    return changed
