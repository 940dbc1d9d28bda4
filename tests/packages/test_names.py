"""timm:NAME on the command line: exported and proven, with arguments and a checkpoint; names that are none are told."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.cli.test_commands import run
from tests.packages.importing import imported

pytestmark = pytest.mark.packages
MODEL = "timm:vit_tiny_patch16_224,img_size=32,patch_size=8,embed_dim=16,depth=2,num_heads=2,num_classes=4"


def test_a_name_of_timm_is_exported_and_proven(tmp_path: Path) -> None:
    timm = imported("timm")
    settings = dict(img_size=32, patch_size=8, embed_dim=16, depth=2, num_heads=2, num_classes=4)
    torch.manual_seed(7)
    torch.save(timm.create_model("vit_tiny_patch16_224", **settings).state_dict(), tmp_path / "w.pt")
    given = ("--weights", "w.pt", "--route", "blocks.*", "--keep", "0.5")
    done = run(tmp_path, "export", MODEL, "out", *given)
    assert done.returncode == 0 and "2 sites, 4 paths" in done.stdout, done
    assert run(tmp_path, "verify", "out", MODEL, *given).returncode == 0
    done = run(tmp_path, "verify", "out", MODEL, *given[2:])
    assert done.returncode == 1 and "has weights of chance" in done.stderr


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm:resnet17", "got 'resnet17'; did you mean resnet"),
        ("timm:resnet18,classes", "expected NAME,KEY=VALUE,..., got 'classes'"),
        ("timm:resnet18,colour=3", "expected timm.create_model to make it, got TypeError"),
    ],
)
def test_what_is_no_name_of_timm_exits_with_2(tmp_path: Path, name: str, message: str) -> None:
    imported("timm")
    done = run(tmp_path, "export", name, "out")
    assert done.returncode == 2 and message in " ".join(done.stderr.split()), done
