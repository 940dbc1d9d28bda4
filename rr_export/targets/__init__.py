"""Other forms of a routed model, each for one execution provider, made from its bundle alone."""

from __future__ import annotations

from rr_export.targets.freeze import freeze
from rr_export.targets.package import package
from rr_export.targets.provider_table import TARGETS, ProviderNeeds, find_target

__all__ = ["TARGETS", "ProviderNeeds", "find_target", "freeze", "package"]
