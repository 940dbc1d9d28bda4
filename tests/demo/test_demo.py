"""The demo: the pretrained encoder is exported and proven on all its paths, and searches with the file alone."""

from __future__ import annotations

import importlib.util
import itertools
import json
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

import rr_export as rr
from rr_export.demo import DemoError, encoder, run_demo
from rr_export.demo import model as demo_model
from rr_export.demo.delta import DELTA
from rr_export.demo.measure import measure_search
from rr_export.demo.model import embed_by_model, plain_encoder, weights_folder
from rr_export.demo.search import embed, mean_embedding, ranks, read_corpus, read_tokenizer
from rr_export.demo.show import ensemble_table, path_table, search_table
from rr_export.demo.worth import front_of, read_rivals, verdict
from rr_export.errors import BundleError
from rr_runtime import Session

FULL = (1,) * 6

needs_extra = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in demo_model.PACKAGES), reason="the demo needs the extra demo"
)


def tensors_of(file: Path) -> dict[str, np.ndarray]:
    """What a file of safetensors holds, read by its format: a length, a JSON header, bytes."""
    content = file.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header.pop("__metadata__")
    assert {row["dtype"] for row in header.values()} == {"F16"}
    return {
        name: np.frombuffer(content[start:][slice(*row["data_offsets"])], np.float16).reshape(row["shape"])
        for name, row in header.items()
    }


def merged(pretrained: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """The pretrained weights with the committed delta, in numpy."""
    delta = {name: array.astype(np.float32) for name, array in tensors_of(DELTA).items()}
    found = {name: tensor.numpy().copy() for name, tensor in pretrained.items()}
    for name, array in delta.items():
        if name.endswith(".b"):
            found[name[:-2] + ".weight"] += array @ delta[name[:-2] + ".a"]
        elif not name.endswith(".a"):
            assert found[name].shape == array.shape
            found[name] = array
    return found


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def case() -> dict[str, Any]:
    """The encoder, loaded where nothing may be downloaded."""

    def refuse(*_: Any) -> None:
        raise AssertionError("the demo opened a connection")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        return encoder()


@pytest.fixture(scope="module")
def folder(case: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("demo") / "bundle"
    rr.export(**case).save(place)
    return place


@needs_extra
def test_encoder_is_proven_on_all_paths(case: dict[str, Any], folder: Path) -> None:
    report = rr.verify(folder, **{name: case[name] for name in ("model", "args", "kwargs")})
    paths = next(check for check in report.checks if check.name == "paths")
    assert paths.figures["paths"] == paths.figures["of"] == 64
    assert paths.figures["largest_difference"] < 1e-5
    assert {name.split("=")[0] for name in paths.figures["other_sizes"]} == {"batch", "sequence"}


@needs_extra
def test_file_alone_embeds_like_the_pretrained_model_with_the_delta(folder: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    sentences = ["A cat sits on the mat.", "Compute the greatest common divisor of two numbers.", "Rain"]
    words = AutoTokenizer.from_pretrained(weights_folder(), local_files_only=True)
    inputs = words(sentences, padding=True, return_tensors="pt")
    model = AutoModel.from_pretrained(weights_folder(), local_files_only=True).eval()
    model.load_state_dict({name: torch.from_numpy(array) for name, array in merged(model.state_dict()).items()})
    with torch.no_grad():
        hidden = model(**inputs).last_hidden_state
    mask = inputs["attention_mask"].unsqueeze(-1)
    expected = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1).numpy()
    session = Session(folder, threads=1)
    got = embed(session, read_tokenizer(weights_folder()), sentences, FULL, batch=2)
    np.testing.assert_allclose(got, expected, atol=1e-5)


@needs_extra
def test_weights_are_the_pretrained_ones_but_for_the_delta(case: dict[str, Any]) -> None:
    from transformers import AutoModel

    expected = AutoModel.from_pretrained(weights_folder(), local_files_only=True, add_pooling_layer=False).state_dict()
    bare = encoder(delta=False)["model"].transformer.state_dict()
    assert bare.keys() == expected.keys()
    assert all(torch.equal(bare[name], expected[name]) for name in expected)
    trained = case["model"].transformer.state_dict()
    assert trained.keys() == expected.keys()
    for name, array in merged(expected).items():
        np.testing.assert_allclose(trained[name].numpy(), array, rtol=0, atol=1e-6, err_msg=name)
    changed = {name for name in expected if not torch.equal(trained[name], expected[name])}
    assert changed == {name for name in expected if name.startswith("encoder.layer.")}


@needs_extra
def test_short_paths_are_nearer_to_the_pretrained_model_than_untrained(case: dict[str, Any]) -> None:
    corpus, tokens = read_corpus(), read_tokenizer(weights_folder())
    full = embed_by_model(plain_encoder(), tokens, corpus.queries, progress=silent)
    cosines = {}
    for name, model in (("trained", case["model"]), ("untrained", encoder(delta=False)["model"])):
        for path in read_rivals().static:
            with rr.forced(model, np.array(path)):
                found = embed_by_model(model, tokens, corpus.queries, progress=silent)
            cosines[name, sum(path)] = float((found * full).sum(1).mean())
    stated = {5: 0.91, 4: 0.88, 3: 0.85, 2: 0.76}
    assert {layers for layers in stated if cosines["trained", layers] < stated[layers]} == set()
    assert all(cosines["trained", k] > cosines["untrained", k] + 0.05 for k in stated)


@needs_extra
def test_ensemble_of_the_runtime_is_the_mean_over_its_paths(folder: Path) -> None:
    session, tokens = Session(folder, threads=1), read_tokenizer(weights_folder())
    feeds = tokens(["find a file", "sort a list"])
    ensemble = session.ensemble(feeds, runs=5, seed=3)
    assert ensemble.paths is not None
    parts = [session.run(feeds, path=path).outputs["embedding"] for path in ensemble.paths]
    np.testing.assert_allclose(ensemble.mean["embedding"], np.mean(parts, axis=0), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(mean_embedding(parts), axis=1), 1, atol=1e-6)


@needs_extra
@pytest.mark.slow
def test_search_gets_better_with_layers_and_runs(folder: Path, case: dict[str, Any]) -> None:
    corpus = read_corpus()
    tokens, rivals = read_tokenizer(weights_folder()), read_rivals()
    index = embed_by_model(plain_encoder(), tokens, corpus.documents, progress=silent)
    stages: list[str] = []
    figures = measure_search(
        Session(folder, threads=1),
        tokens,
        corpus,
        index,
        progress=lambda stage, done, total: stages.append(stage),
    )
    assert [f.path for f in figures.paths] == list(itertools.product((0, 1), repeat=6))
    assert len(set(stages)) == 3
    # Finding by chance gives 1/rank of about 0.01.
    assert figures.full.mrr > 0.5
    assert figures.full.cosine == pytest.approx(1, abs=1e-5)
    by_layers = [np.mean([f.quality.cosine for f in figures.paths if f.layers == k]) for k in range(7)]
    assert by_layers == sorted(by_layers)
    # Skipping everything saves most of the time, generously bounded: other work may share the machine.
    assert figures.paths[0].time < 0.5 < figures.paths[-1].time
    spread = [np.std([q.mrr for q in e.qualities]) for e in figures.ensembles]
    assert spread[-1] < spread[0]
    found = {f.path: f for f in figures.paths}
    if len(corpus.documents) == rivals.documents:  # those of the Python that the figures were measured with
        gained = [found[path].names - rivals.untrained[path].quality for path in rivals.static]
        assert min(gained) > 0.01
        assert max(abs(found[path].names - worth.quality) for path, worth in rivals.static.items()) < 0.03
        assert all(found[path].calibration < rivals.untrained[path].calibration for path in rivals.static)
        assert found[1, 1, 0, 1, 0, 1].quality.mrr > 0.64
        assert found[1, 0, 0, 1, 0, 1].quality.mrr > 0.63  # untrained: 0.57
    assert "Routing pays where" in verdict(front_of(figures), figures, rivals)
    law = rr.plan_of(case["model"]).kept_counts()
    assert path_table(figures, corpus, law).row_count == 7
    assert ensemble_table(figures).row_count == len(figures.ensembles) + 1
    assert search_table(figures, corpus).row_count > 0


@needs_extra
@pytest.mark.slow
def test_demo_prints_its_tables_and_replaces_only_its_own_bundle(tmp_path: Path) -> None:
    console = Console(record=True, width=100)
    run_demo(tmp_path / "demo", keep=0.5, delta=False, console=console)
    run_demo(tmp_path / "demo", keep=0.8, console=console)
    text = console.export_text()
    assert "64 of 64 paths" in text
    assert text.count("full path") >= 2
    assert (tmp_path / "demo" / "parity.json").exists()
    session = Session(tmp_path / "demo")
    assert session.check() > 0
    feeds = read_tokenizer(weights_folder())(["find a file"])
    quick = session.run(feeds, budget=0.6).path
    assert quick is not None and 0 < quick.sum() < 6
    assert (tmp_path / "demo.png").read_bytes().startswith(b"\x89PNG")
    assert text.count("Routing pays where") == 1  # of the trained one
    (tmp_path / "demo.png").write_text("mine")
    with pytest.raises(ValueError, match="demo: "):
        run_demo(tmp_path / "demo", console=console)
    assert (tmp_path / "demo.png").read_text() == "mine"

    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(BundleError, match="choose another place"):
        run_demo(tmp_path / "other", console=console)
    assert (tmp_path / "other" / "notes.txt").read_text() == "mine"


def silent(what: str, done: int, total: int) -> None:
    """No progress is shown."""


def test_missing_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_model, "find_spec", lambda name: None)
    with pytest.raises(DemoError, match=r"demo: expected transformers .* got no module .*; install rr-export\[demo\]"):
        encoder()


def test_corpus_holds_the_answers() -> None:
    corpus = read_corpus()
    assert len(corpus.documents) > 300
    assert len(set(corpus.documents)) == len(corpus.documents) == len(corpus.names)
    assert len(corpus.queries) > 30
    assert corpus.names[corpus.answers[0]] == "math.gcd"


def test_ranks_count_what_is_nearer_than_the_answer() -> None:
    documents = np.eye(3, dtype=np.float32)
    queries = np.array([[0.9, 0.4, 0.1], [0.9, 0.4, 0.1]], dtype=np.float32)
    assert ranks(queries, documents, np.array([0, 2])).tolist() == [1, 3]
