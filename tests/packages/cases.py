"""All models of packages."""

from __future__ import annotations

from tests.packages import diffusers_models, small_packages, timm_models, torchvision_models, transformers_models

FAMILIES = (timm_models, torchvision_models, transformers_models, diffusers_models, small_packages)
CASES = [case for family in FAMILIES for case in family.CASES]
