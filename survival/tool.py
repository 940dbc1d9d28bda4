"""What a tool is: a row of the matrix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


@dataclass(frozen=True)
class Tolerance:
    """How far outputs may lie from the exported file's on the same path.

    Attributes:
        rtol: relative to each value.
        atol: absolute.
        share: instead, the root mean square of the differences may be this share of the output's standard deviation.
    """

    rtol: float = 1e-4
    atol: float = 1e-5
    share: float = 0.0

    def __str__(self) -> str:
        """The tolerance in words."""
        return f"{self.share:.0%} of the deviation" if self.share else f"rtol {self.rtol:g}, atol {self.atol:g}"


EXACT = Tolerance()
HALF = Tolerance(share=0.03)  # float16 has 11 bits
EIGHT_BITS = Tolerance(share=0.25)
CALIBRATED = Tolerance(share=0.6)  # activations, too, in ranges that were seen on a few paths
FOUR_BITS = Tolerance(share=0.5)


@dataclass(frozen=True)
class Tool:
    """One tool with its options.

    Attributes:
        name: in the table.
        packages: what must be installed; the first one's version is shown.
        summary: what it does, in one line.
        run: reads the first file and writes the second; raises where it refuses.
        kind: "rewriter", "quantiser", "precision" or "reader".
        tolerance: of outputs.
        engine: what runs the written file.
        suffix: of the written file.
        fixes_batch: it is asked to make the batch axis static.
    """

    name: str
    packages: tuple[str, ...]
    summary: str
    run: Callable[[Path, Path], None]
    kind: str = "rewriter"
    tolerance: Tolerance = EXACT
    engine: str = "onnxruntime"
    suffix: str = ".onnx"
    fixes_batch: bool = False

    def versions(self) -> dict[str, str]:
        """Returns the installed version of each package.

        Raises:
            ModuleNotFoundError: one is not installed.
        """
        try:
            return {package: version(package) for package in self.packages}
        except PackageNotFoundError as error:
            raise ModuleNotFoundError(
                f"{self.name}: expected the package {error.name}, which is not installed; pip install "
                "'rr-export[survival]'"
            ) from error
