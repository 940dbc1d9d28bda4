"""Training for routes: gradients of learned probabilities, losses over paths, and laws that change with the steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rr_export.extras import told_extra
from rr_runtime.lazy_names import import_when_asked

if TYPE_CHECKING:
    from rr_export.training.live_law import LiveLaw, live_law
    from rr_export.training.path_losses import (
        consistency,
        distillation,
        importance_balance,
        load_balance,
        sandwich_loss,
        sandwich_paths,
    )
    from rr_export.training.relaxation import relaxed_choice
    from rr_export.training.sampling import Sampling, ScoreFunction, StraightThrough, sampled
    from rr_export.training.schedules import annealed, layer_policies, linear_depth, set_policies, shrinking_depth

__all__ = [
    "LiveLaw",
    "Sampling",
    "ScoreFunction",
    "StraightThrough",
    "annealed",
    "consistency",
    "distillation",
    "importance_balance",
    "layer_policies",
    "linear_depth",
    "live_law",
    "load_balance",
    "relaxed_choice",
    "sampled",
    "sandwich_loss",
    "sandwich_paths",
    "set_policies",
    "shrinking_depth",
]

_HOMES = {
    "LiveLaw": "rr_export.training.live_law",
    "Sampling": "rr_export.training.sampling",
    "ScoreFunction": "rr_export.training.sampling",
    "StraightThrough": "rr_export.training.sampling",
    "annealed": "rr_export.training.schedules",
    "consistency": "rr_export.training.path_losses",
    "distillation": "rr_export.training.path_losses",
    "importance_balance": "rr_export.training.path_losses",
    "layer_policies": "rr_export.training.schedules",
    "linear_depth": "rr_export.training.schedules",
    "live_law": "rr_export.training.live_law",
    "load_balance": "rr_export.training.path_losses",
    "relaxed_choice": "rr_export.training.relaxation",
    "sampled": "rr_export.training.sampling",
    "sandwich_loss": "rr_export.training.path_losses",
    "sandwich_paths": "rr_export.training.path_losses",
    "set_policies": "rr_export.training.schedules",
    "shrinking_depth": "rr_export.training.schedules",
}

import_when_asked(__name__, _HOMES, told_extra)
