"""Files of others: empty, cut short and doubtful ones are refused in words, by one error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rr_runtime.array_files import read_array, read_arrays, read_json_file
from rr_runtime.errors import BundleError
from rr_runtime.manifest import Manifest


@pytest.fixture
def files(tmp_path: Path) -> Path:
    np.save(tmp_path / "x.npy", np.arange(3))
    np.savez(tmp_path / "x.npz", x=np.arange(3))
    return tmp_path


@pytest.mark.parametrize("size", [0, 1, 5, 20, -1])
def test_bug_a_file_that_is_empty_or_cut_short(size: int, files: Path) -> None:
    for name, read in (("x.npy", read_array), ("x.npz", read_arrays)):
        cut = files / f"cut.{name}"
        cut.write_bytes((files / name).read_bytes()[:size])
        kind = cut.suffix
        with pytest.raises(
            ValueError, match=rf"^here: expected a {kind} file, got .*{cut.name}: .*; write it with numpy"
        ):
            read(cut, "here")


def test_whole_files_are_read(files: Path) -> None:
    np.testing.assert_array_equal(read_array(files / "x.npy", "here"), np.arange(3))
    np.testing.assert_array_equal(read_arrays(files / "x.npz", "here")["x"], np.arange(3))
    with pytest.raises(ValueError, match=r"expected a .npy file, got .* an archive of several arrays"):
        read_array(files / "x.npz", "here")


@pytest.mark.parametrize("text", ['{"x": 1, "x": 2}', '{"x": {"y": 1, "y": 1}}'])
def test_bug_a_key_that_stands_twice_is_refused(text: str, files: Path) -> None:
    (files / "x.json").write_text(text)
    with pytest.raises(ValueError, match=r"here: expected a JSON file, got the key '[xy]' twice; mend it"):
        read_json_file(files / "x.json", "here")
    with pytest.raises(BundleError, match=r"expected JSON, got ValueError: the key '[xy]' twice; "):
        Manifest.parse(text)
