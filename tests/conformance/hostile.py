"""Bundles as a stranger might make them: what is wrong with each, and the class of the error that every runtime gives.

``runtimes/SECURITY.md`` says what is defended and how. Each case is made anew from a sound one, so that no hostile file
lies about; hashes are those of the changed files, but where a hash is what is wrong: a stranger can compute them too.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

CASES = Path(__file__).with_name("cases")
MODEL, MANIFEST, GOLDEN = "model.onnx", "manifest.json", "golden.npz"
OF_THE_FOLDER = ("files", "targets", "golden", "profiles")  # keys that the manifest inside a model has not
Json = dict[str, Any]


@dataclass(frozen=True)
class Hostile:
    """One hostile bundle.

    Attributes:
        name: in words.
        make: changes a sound bundle in its folder; returns what is to be opened.
        case: the sound one.
        error: the class of the error that opening it has to give, of SPEC.md, section 10.
        checked: the error comes with the check of recorded runs only.
    """

    name: str
    make: Callable[[Path], Path]
    case: str = "layer"
    error: str = "BundleError"
    checked: bool = False

    def at(self, folder: Path) -> Path:
        """Returns what is to be opened, in a folder that is not there yet."""
        shutil.copytree(CASES / self.case, folder)
        return self.make(folder)


def read(folder: Path) -> Json:
    """Returns the manifest of a bundle."""
    found: Json = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return found


def write(folder: Path, manifest: Json | str | bytes) -> Path:
    """The bundle has this manifest; returns its folder."""
    content = manifest if isinstance(manifest, str | bytes) else json.dumps(manifest)
    (folder / MANIFEST).write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
    return folder


def told(change: Callable[[Json], object]) -> Callable[[Path], Path]:
    """Makes a bundle whose manifest is changed, also that inside its model."""

    def make(folder: Path) -> Path:
        manifest = read(folder)
        change(manifest)
        inner = {
            name: value for name, value in manifest.items() if name not in ("files", "targets", "golden", "profiles")
        }
        model = onnx.load(folder / MODEL, load_external_data=False)
        for entry in model.metadata_props:
            if entry.key == "rr.manifest":
                entry.value = json.dumps(inner)
        (folder / MODEL).write_bytes(model.SerializeToString())
        if MODEL in manifest.get("files", {}):
            record(folder, manifest)
        return write(folder, manifest)

    return make


def text(change: Callable[[str], str]) -> Callable[[Path], Path]:
    """Makes a bundle whose manifest is another text."""
    return lambda folder: write(folder, change(json.dumps(read(folder))))


def raw(change: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    """Makes a bundle whose manifest is other bytes."""
    return lambda folder: write(folder, change(json.dumps(read(folder)).encode()))


def record(folder: Path, manifest: Json, *names: str) -> None:
    """The manifest records these files as they are, or the model."""
    for name in names or (MODEL,):
        content = (folder / name).read_bytes()
        manifest["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def mended(folder: Path, *names: str) -> Path:
    """The manifest of the folder records these files as they are; returns the folder."""
    manifest = read(folder)
    record(folder, manifest, *names)
    return write(folder, manifest)


def renamed(name: str) -> Callable[[Path], Path]:
    """Makes a bundle that records one more file, of this name and with the content of its golden runs."""

    def change(manifest: Json) -> None:
        manifest["files"][name] = dict(manifest["files"][GOLDEN])

    def make(folder: Path) -> Path:
        beside = folder / name
        if "\0" not in name and beside.resolve().is_relative_to(folder) and not beside.exists():
            with contextlib.suppress(FileExistsError):
                beside.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(folder / GOLDEN, beside)
        return told(change)(folder)

    return make


def size(value: Any) -> Callable[[Path], Path]:
    """Makes a bundle that records another size of its model."""

    def make(folder: Path) -> Path:
        manifest = read(folder)
        manifest["files"][MODEL]["bytes"] = value
        return write(folder, manifest)

    return make


def content(name: str, change: Callable[[bytes], bytes], *, hashed: bool = False) -> Callable[[Path], Path]:
    """Makes a bundle one of whose files is changed, and recorded so if ``hashed``."""

    def make(folder: Path) -> Path:
        (folder / name).write_bytes(change((folder / name).read_bytes()))
        return mended(folder, name) if hashed else folder

    return make


def instead(name: str, place: Callable[[Path], object]) -> Callable[[Path], Path]:
    """Makes a bundle with something that is no file in the place of one."""

    def make(folder: Path) -> Path:
        (folder / name).unlink()
        place(folder / name)
        return folder

    return make


def weights(change: Callable[[dict[str, str]], object], *, alone: bool = False) -> Callable[[Path], Path]:
    """Makes a bundle, or its model file alone, the first of whose external tensors lies elsewhere."""

    def make(folder: Path) -> Path:
        model = onnx.load(folder / MODEL, load_external_data=False)
        tensor = next(t for t in model.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL)
        entries = {entry.key: entry.value for entry in tensor.external_data}
        change(entries)
        del tensor.external_data[:]
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=value)
        (folder / MODEL).write_bytes(model.SerializeToString())
        if alone:
            (folder / MANIFEST).unlink()
            return folder / MODEL
        return mended(folder, MODEL)

    return make


def secret(name: str, *, alone: bool = False) -> Callable[[Path], Path]:
    """As :func:`weights`: they lie in a file of the right size outside of the folder."""

    def make(folder: Path) -> Path:
        place = folder.parent / "secret.bin"
        shutil.copy(folder / f"{MODEL}.data", place)
        where = str(place) if name == "/" else name
        return weights(lambda entry: entry.update(location=where, checksum=""), alone=alone)(folder)

    return make


def policy(**changed: Any) -> Callable[[Path], Path]:
    """Makes a bundle whose first site has another policy."""
    return told(lambda manifest: manifest["sites"][0]["policy"].update(changed))


def site(change: Callable[[Json], object]) -> Callable[[Path], Path]:
    """Makes a bundle whose first site is changed."""
    return told(lambda manifest: change(manifest["sites"][0]))


def in_each_other(manifest: Json) -> None:
    """Each of two sites is called inside the other."""
    for one, other in ((0, 1), (1, 0)):
        manifest["sites"][one]["calls"] = [[[other, 0]]]


def profile(**said: Any) -> Callable[[Path], Path]:
    """Makes a bundle with one profile."""
    return told(lambda manifest: manifest.update(profiles={"p": said}))


def target(**said: Any) -> Callable[[Path], Path]:
    """Makes a bundle with one target."""
    whole = {"provider": "cpu", "form": "routed", "precision": "float32", "rtol": 1, "atol": 1, **said}
    return told(lambda manifest: manifest.update(targets={"t": whole}))


def many_calls(manifest: Json) -> None:
    """Two sites with calls that only a comparison of each with each could tell apart."""
    sites = manifest["sites"]
    sites[0]["calls"] = [[[2, 0], [1, 0]]] * 200_000
    sites[1]["calls"] = [[[0, 0]]] * 200_000


def swap(what: str, instead_of: str) -> Callable[[str], str]:
    """A text in which this stands, once, in place of something else."""

    def change(manifest: str) -> str:
        assert instead_of in manifest, instead_of
        return manifest.replace(instead_of, what, 1)

    return change


def bomb(folder: Path) -> Path:
    """The recorded runs unpack to 4 GB of zeros."""

    with (
        zipfile.ZipFile(folder / GOLDEN, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("0/input/x.npy", "w", force_zip64=True) as part,
    ):
        header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1073741824,), }"
        header += b" " * (64 - (len(header) + 11) % 64) + b"\n"
        part.write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
        for _ in range(64):
            part.write(bytes(2**26))
    return mended(folder, GOLDEN)


OUTSIDE = ("../x", "a/../../x", "/etc/hostname", "C:\\x", "C:x", "\\\\host\\x", "..\\x", "a\0b", "..", ".", "")
NO_NAME = ("./x", "a//x", "a/./x", "a/", "x ", "x.", "NUL", "nul.bin", "a/COM1.txt", "con", "a\nb", "a\x7fb")
COLLIDING = ("MODEL.ONNX", "Manifest.json", "Golden.NPZ", "model.onnx/x")
NO_SIZE = (-1, 2**63, 2**64 + 100, 1e3, 1.5, "100", True, None, 10**400)

HOSTILE: tuple[Hostile, ...] = (
    *(Hostile(f"records a file outside: {name!r}", renamed(name)) for name in OUTSIDE),
    *(Hostile(f"records a name that is none everywhere: {name!r}", renamed(name)) for name in NO_NAME),
    *(Hostile(f"records two names of one file: {name!r}", renamed(name)) for name in COLLIDING),
    *(Hostile(f"a size of {str(value)[:30]!r}", size(value)) for value in NO_SIZE),
    Hostile("weights in a file outside", secret("../secret.bin"), case="external"),
    Hostile("weights in a file outside, by its whole name", secret("/"), case="external"),
    Hostile("a file alone, weights outside", secret("../secret.bin", alone=True), case="external"),
    Hostile("a file alone, weights outside, by their whole name", secret("/", alone=True), case="external"),
    Hostile("weights in a file that is not recorded", weights(lambda e: e.update(location="other")), case="external"),
    Hostile("weights beyond their file", weights(lambda e: e.update(offset=str(2**40), checksum="")), case="external"),
    Hostile("weights before their file", weights(lambda e: e.update(offset="-4096", checksum="")), case="external"),
    Hostile("more weights than their file", weights(lambda e: e.update(length=str(2**40), checksum="")),
            case="external"),
    Hostile("weights at a place that overflows", weights(lambda e: e.update(offset=str(2**64), checksum="")),
            case="external"),
    Hostile("weights at no number", weights(lambda e: e.update(offset="one", checksum="")), case="external"),
    Hostile("a model of another hash", content(MODEL, lambda c: c[:-1] + bytes([c[-1] ^ 1]))),
    Hostile("a model cut short", content(MODEL, lambda c: c[:-1])),
    Hostile("a model that has grown", content(MODEL, lambda c: c + b"\0")),
    Hostile("a model cut short, and hashed so", content(MODEL, lambda c: c[: len(c) // 2], hashed=True)),
    Hostile("a model of nothing", content(MODEL, lambda c: b"", hashed=True)),
    Hostile("a model that is a field of 2^60 bytes",
            content(MODEL, lambda c: b"\x3a" + b"\xff" * 8 + b"\x0f", hashed=True)),
    Hostile("recorded runs cut short", content(GOLDEN, lambda c: c[: len(c) // 2], hashed=True), checked=True),
    Hostile("recorded runs that unpack to 4 GB", bomb, checked=True),
    Hostile("a folder in the place of the model", instead(MODEL, Path.mkdir)),
    Hostile("a pipe in the place of the model", instead(MODEL, os.mkfifo)),
    Hostile("a pipe in the place of the manifest", instead(MANIFEST, os.mkfifo)),
    Hostile("a device in the place of the model", instead(MODEL, lambda place: place.symlink_to("/dev/zero"))),
    Hostile("a device in the place of the manifest", instead(MANIFEST, lambda place: place.symlink_to("/dev/zero"))),
    Hostile("a link to itself in the place of the model", instead(MODEL, lambda place: place.symlink_to(place.name))),
    Hostile("a link to another file in the place of the model", instead(MODEL, lambda p: p.symlink_to("/etc/passwd"))),
    Hostile("a manifest of nothing", lambda folder: write(folder, "")),
    Hostile("a manifest of 2^25 bytes", text(lambda t: t + " " * 2**25)),
    Hostile("lists in lists, 100,000 times", text(lambda t: "[" * 100_000)),
    Hostile("objects in objects, 100,000 times", text(lambda t: '{"a":' * 100_000 + "1" + "}" * 100_000)),
    Hostile("lists in lists, one too many", text(lambda t: '{"x": ' + "[" * 200 + "]" * 200 + ", " + t[1:])),
    Hostile("a deep list under an unknown key", text(lambda t: '{"x": ' + "[" * 5000 + "]" * 5000 + ", " + t[1:])),
    Hostile("a text that never ends", text(lambda t: '{"format": "' + "x" * 2**20)),
    Hostile("more after the end", text(lambda t: t + "{}")),
    Hostile("a comment", text(lambda t: "/* */" + t)),
    Hostile("a comma too many", text(lambda t: t[:-1] + ",}")),
    Hostile("a key twice", text(lambda t: '{"format": "rr.manifest", ' + t[1:])),
    Hostile("a key twice, in an unknown one", text(lambda t: '{"x": {"a": 1, "a": 2}, ' + t[1:])),
    Hostile("a number that is none", text(lambda t: '{"x": NaN, ' + t[1:])),
    Hostile("an infinite number", text(lambda t: '{"x": -Infinity, ' + t[1:])),
    Hostile("a number with 5,000 digits", text(lambda t: '{"x": ' + "9" * 5000 + ", " + t[1:])),
    Hostile("bytes that are no text", raw(lambda c: b'{"x": "\xff", ' + c[1:])),
    Hostile("half a character", text(lambda t: '{"x": "\\ud800", ' + t[1:])),
    Hostile("half a character in a key", text(lambda t: '{"\\udc00": 1, ' + t[1:])),
    Hostile("a mark of the order of bytes", raw(lambda c: b"\xef\xbb\xbf" + c)),
    Hostile("another encoding", raw(lambda c: c.decode().encode("utf-16"))),
    Hostile("a control character in a text", text(lambda t: '{"x": "\n", ' + t[1:])),
    Hostile("a list", text(lambda t: f"[{t}]")),
    Hostile("another format", told(lambda m: m.update(format="rr.other"))),
    Hostile("a later version", told(lambda m: m.update(version=2))),
    Hostile("a version that is a text", told(lambda m: m.update(version="1"))),
    Hostile("a version that is true", told(lambda m: m.update(version=True))),
    Hostile("no sites", told(lambda m: m.update(sites=[]))),
    Hostile("a million sites",
            text(lambda t: '{"format": "rr.manifest", "version": 1, "sites": [' + "1," * 10**6 + "1]}")),
    Hostile("two sites of one name", told(lambda m: m["sites"].append(m["sites"][0]))),
    Hostile("a site of no branches", site(lambda s: s.update(branches=[]))),
    Hostile("a site in itself", site(lambda s: s.update(calls=[[[0, 0]]]))),
    Hostile("sites in each other", told(in_each_other)),
    Hostile("a call in a site that is not there", site(lambda s: s.update(calls=[[[99, 0]]]))),
    Hostile("a call in a branch that is not there", site(lambda s: s.update(calls=[[[1, 99]]]))),
    Hostile("a call in a site before the first", site(lambda s: s.update(calls=[[[-1, 0]]]))),
    Hostile("calls by the hundred thousand", told(many_calls)),
    Hostile("thresholds that are infinite", text(swap("1e999", "0.25")), case="tree"),
    Hostile("a threshold above 1", policy(thresholds=[[1.5]])),
    Hostile("a threshold below 0", policy(thresholds=[[-0.5]])),
    Hostile("a threshold that is a text", policy(thresholds=[["0.5"]])),
    Hostile("a threshold that is true", policy(thresholds=[[True]])),
    Hostile("a threshold that is another law's", policy(thresholds=[[0.123]])),
    Hostile("no thresholds", policy(thresholds=[[]])),
    Hostile("probabilities that do not sum to 1", policy(probabilities=[[0.5, 0.6]])),
    Hostile("a probability below 0", policy(probabilities=[[1.5, -0.5]], thresholds=[[1.0]])),
    Hostile("too many probabilities", policy(probabilities=[[0.2, 0.3, 0.5]], thresholds=[[0.2, 0.5]])),
    Hostile("a step of a chain without the first", policy(type="markov", chain=0, step=3)),
    Hostile("a step of a chain that overflows", policy(type="markov", chain=0, step=2**64)),
    Hostile("an input named as an output of the runtime", told(lambda m: m["inputs"][0].update(name="rr_path"))),
    Hostile("an input named as a condition", told(lambda m: m["inputs"][0].update(name="rr_gate.0.1"))),
    Hostile("an input of a size below 0", told(lambda m: m["inputs"][0].update(shape=[-1, 4]))),
    Hostile("an input of a size that overflows", told(lambda m: m["inputs"][0].update(shape=[2**70, 4]))),
    Hostile("an input of another size", told(lambda m: m["inputs"][0].update(shape=[3, 5]))),
    Hostile("an input of another type", told(lambda m: m["inputs"][0].update(dtype="float64"))),
    Hostile("an input of a type that is not there", told(lambda m: m["inputs"][0].update(dtype="object"))),
    Hostile("an output that is not there", told(lambda m: m["outputs"][0].update(name="other"))),
    Hostile("a tolerance below 0", told(lambda m: m["tolerances"].update(rtol=-1))),
    Hostile("a bound that is above the other", told(lambda m: m.update(axes={"batch": [5, 2]}))),
    Hostile("a manifest that says other than the model", text(swap('"host"', '"explicit"'))),
    Hostile("a profile of no name", told(lambda m: m.update(profiles={"": {"path": [0, 0, 0]}}))),
    Hostile("a profile of a path too short", profile(path=[0])),
    Hostile("a profile of a route that is not there", profile(path=[9, 9, 9])),
    Hostile("a profile with infinite thresholds", text(lambda t: t[:-1] + ', "profiles": {"p": {"policies": [{"type": '
            '"categorical", "probabilities": [[0.5, 0.5]], "thresholds": [[1e999]]}]}}}')),
    Hostile("a target in a file that is not recorded", target(interface="explicit", model="other.onnx")),
    Hostile("a target in a file outside", target(interface="explicit", model="../model.onnx")),
    Hostile("a target of a form that is not there", target(form="exec")),
    Hostile("a target that runs operators of a file that is not recorded",
            target(interface="explicit", model="model.onnx", operators="../lib.so")),
    Hostile("a recorded run of a seed that overflows", told(lambda m: m["golden"][0].update(seed=2**63))),
    Hostile("a recorded run of a path too long", told(lambda m: m["golden"][0].update(taken=[0] * 99))),
)  # fmt: skip
"""What every runtime refuses, and how."""


def by_name() -> Mapping[str, Hostile]:
    """Returns the hostile bundles by their names, which are all different."""
    named = {one.name: one for one in HOSTILE}
    assert len(named) == len(HOSTILE)
    return named
