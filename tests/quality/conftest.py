"""The routed classifier, exported and saved once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import rr_export as rr
from tests.quality.routed import batches, routed


@pytest.fixture(scope="package")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle folder; tests must not change it."""
    example = torch.from_numpy(batches()[0][0]["x"])
    bundle = rr.export(routed(), (example,), dynamic_shapes={"x": {0: "batch"}})
    plan = bundle.plan
    bundle = bundle.with_profile("even", plan.with_policies([rr.Uniform(2)] * 4))
    bundle = bundle.with_profile("one", next(path for path in plan.paths() if -1 in path))
    return bundle.save(tmp_path_factory.mktemp("quality") / "out")
