"""A target of a bundle, as what is compared with the bundle's own model."""

from __future__ import annotations

import numpy as np

from rr_export.laws.plan import Plan
from rr_export.lowering.deciding_slice import Path_
from rr_export.parity.compare import Arrays
from rr_export.parity.subject import Answer, answer_of
from rr_runtime import Session


class TargetFile:
    """A target, called like the file that it stands for.

    Attributes:
        interface: none of a file's; what it takes is its session's matter.
        session: the runtime's session on it.
        plan: the bundle's sites.
    """

    interface = "target"

    def __init__(self, session: Session, plan: Plan) -> None:
        self.session, self.plan = session, plan

    def on_path(self, inputs: Arrays, path: Path_) -> Answer:
        """Returns what the target gives when forced to ``path``."""
        if not self.plan.sites:
            return Answer(self.session.run(inputs).outputs, np.empty(0, np.int64))
        return answer_of(self.session.run(inputs, path=list(path)))

    def on_seed(self, inputs: Arrays, seed: int, path: Path_ | None = None) -> Answer:
        """Returns what the target gives with ``seed``, where ``path`` does not force a route."""
        return answer_of(self.session.run(inputs, seed=seed, path=None if path is None else list(path)))
