"""Choices of kernels: every candidate computes the same, the search keeps only what is faster, results are kept."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir
import pytest
from small import normal, parse
from typer.testing import CliRunner

import ingot
from ingot.cli import app
from ingot.compiler import schedule
from ingot.errors import IngotError
from ingot.graph.pipeline import optimize
from ingot.ir.interpret import interpret
from ingot.ir.nodes import DTYPES, Acc
from ingot.ir.program import Map, Operation, Tensor
from ingot.ir.verify import verify_kernel
from ingot.kernels.builder import Built, Packed
from ingot.kernels.choice import KERNELS, LAYOUTS, METHODS, Candidate, Choices
from ingot.kernels.select import build
from ingot.report.candidates import candidates
from ingot.schedule.layout import Layout
from ingot.target import TARGETS, resolve
from ingot.testing import CLOSE, EXACT, Array, assert_close, lengths, reference
from ingot.tune import search as searching
from ingot.tune.results import Result, kernel_key, load_results, machine_key, save_results
from ingot.tune.search import Search, Seconds, Variant


def network(channels: int = 32, size: int = 9) -> onnx.ModelProto:
    """A pointwise, a depthwise, a strided and a 3x3 convolution, with padding and an epilogue that reads."""
    text = f"""net (float[1, 3, {size}, {size}] x) => (float[1, {channels}, {size}, {size}] y) {{
        a = Conv (x, w0)
        b = Conv <group = {channels}, pads = [1, 1, 1, 1]> (a, w1)
        c = Relu(b)
        d = Conv <pads = [1, 1, 1, 1]> (c, w2)
        y = Add(d, a)
    }}"""
    weights = {
        "w0": normal(channels, 3, 1, 1),
        "w1": normal(channels, 1, 3, 3, seed=1),
        "w2": normal(channels, channels, 3, 3, seed=2),
    }
    return parse(text, weights)


def products() -> onnx.ModelProto:
    """A product of two computed tensors and one with constant weights."""
    text = """net (float[2, 21, 8] a, float[2, 8, 40] b) => (float[2, 21, 37] y) {
        c = MatMul(a, b) d = Relu(c) y = MatMul(d, w)
    }"""
    return parse(text, {"w": normal(40, 37)})


def strided() -> onnx.ModelProto:
    text = """net (float[1, 16, 15, 15] x) => (float[1, 70, 7, 7] y) { y = Conv <strides = [2, 2]> (x, w) }"""
    return parse(text, {"w": normal(70, 16, 3, 3)})


NETWORKS: dict[str, Callable[[], onnx.ModelProto]] = {
    "network": network,
    "products": products,
    "strided": strided,
}


def steps_of(
    model: onnx.ModelProto, target: str, choices: Choices | None = None
) -> list[tuple[Operation, Built, Mapping[Tensor, Layout]]]:
    graph = onnx_ir.from_proto(model)
    optimize(graph)
    _, assigned, steps = schedule(graph, "net", resolve(target), None, choices)
    return [(step.operation, step.built, assigned.layouts) for step in steps]


def interpreted(built: Built, layouts: Mapping[Tensor, Layout]) -> list[Array]:
    """The buffers of a kernel after it ran on random ones."""
    verify_kernel(built.kernel)
    buffers: list[Array] = []
    for i, argument in enumerate(built.arguments):
        if isinstance(argument, Packed):
            buffers.append(argument.data.reshape(-1).copy())
            continue
        size = layouts[argument.root].size(argument.root.shape).value - argument.start
        buffers.append(normal(size, seed=i).astype(DTYPES[argument.root.dtype]))
    interpret(built.kernel, buffers, {})
    return [b for b, a in zip(buffers, built.arguments, strict=True) if not isinstance(a, Packed)]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", NETWORKS)
def test_all_candidates_of_a_kernel_give_the_same_bits(name: str, target: str) -> None:
    compared = set()
    for operation, built, layouts in steps_of(NETWORKS[name](), target, Choices({})):
        if len(built.candidates) < 2:
            continue
        wanted = interpreted(built, layouts)
        for candidate in built.candidates[1:]:
            other = build(operation, layouts, resolve(target), candidate.name)
            assert [c.name for c in other.candidates] == [c.name for c in built.candidates]
            for mine, theirs in zip(interpreted(other, layouts), wanted, strict=True):
                assert_close(mine, theirs, EXACT)
            compared.add(type(operation).__name__)
    assert compared >= {"network": {"Dense", "Reduce"}, "products": {"MatMul"}, "strided": {"Dense"}}[name]


def test_the_first_candidate_is_the_default() -> None:
    for operation, built, layouts in steps_of(network(), "avx512"):
        names = [c.name for c in built.candidates]
        assert len(set(names)) == len(names)
        for wanted in (names[0] if names else None, "no such candidate"):
            again = build(operation, layouts, resolve("avx512"), wanted)
            assert again.kernel == built.kernel
        costs = [c.cost for c in built.candidates]
        assert not costs or min(costs) >= costs[0] * 0.99


def tuning_file(folder: Path, picks: Mapping[str, str], target: str = "native") -> Path:
    """A tuning file of this machine."""
    file = folder / "tuning.json"
    save_results(file, machine_key(resolve(target)), {key: Result(pick) for key, pick in picks.items()})
    return file


def choices_of(model: onnx.ModelProto, target: str = "native") -> Choices:
    choices = Choices({})
    steps_of(model, target, choices)
    return choices


def test_every_method_of_a_convolution_computes_it(tmp_path: Path) -> None:
    sites = choices_of(network()).sites
    (method,) = [key for key, site in sites.items() if site.stage == METHODS]
    assert {"direct"} < set(sites[method].candidates)
    model, feed = network(), {"x": normal(1, 3, 9, 9)}
    (wanted,) = reference(model, feed)
    for name in sites[method].candidates:
        package = ingot.compile(model, tuning=tuning_file(tmp_path, {method: name}))
        assert package.manifest["tuned"].get(method, sites[method].picked) == name
        names = " ".join(kernel["name"] for kernel in package.manifest["kernels"])
        assert ("winograd" in names) == (name != "direct")
        (got,) = ingot.load(package).run(None, feed)
        assert_close(got, wanted, CLOSE, **lengths(model))


def test_layouts_of_a_whole_program_are_a_choice(tmp_path: Path) -> None:
    sites = choices_of(network()).sites
    (layouts,) = [key for key, site in sites.items() if site.stage == LAYOUTS]
    names = list(sites[layouts].candidates)
    assert names[0] == "searched"
    assert len(names) > 1
    model, feed = network(), {"x": normal(1, 3, 9, 9)}
    (wanted,) = reference(model, feed)
    plain = ingot.compile(model)
    for name in names:
        package = ingot.compile(model, tuning=tuning_file(tmp_path, {layouts: name}))
        assert package.manifest["tuned"].get(layouts, names[0]) == name
        if name in plain.manifest["layout"]["single"]:
            assert package.manifest["layout"]["cycles"] == plain.manifest["layout"]["single"][name]
        (got,) = ingot.load(package).run(None, feed)
        assert_close(got, wanted, CLOSE, **lengths(model))


def test_a_key_names_the_computation_and_not_the_model() -> None:
    def keys(model: onnx.ModelProto, target: str = "avx512") -> list[str]:
        return [kernel_key(o, b, []) for o, b, _ in steps_of(model, target) if len(b.candidates) > 1]

    renamed = network()
    for node in renamed.graph.node:
        node.name = f"other_{node.name}"
    assert keys(renamed) == keys(network())
    assert not set(keys(network(size=13))) & set(keys(network()))
    assert not set(keys(network(channels=48))) & set(keys(network()))
    assert not set(keys(network(), "avx2")) & set(keys(network()))


# The search, with times that are made up


def fake(times: Mapping[tuple[str, str], float], whole: Mapping[str, float]) -> Search:
    """A search over a model with the choices "m" (a method, which has the choice "k" if its pick is "two") and "s".

    times: seconds of a choice's candidate. whole: seconds of the model by its picks, as "two fast plain".
    """
    candidates: dict[str, list[str]] = {}
    for key, name in times:
        candidates.setdefault(key, []).append(name)

    def make(picks: Mapping[str, str], *, clocks: bool, known: Variant | None = None) -> Variant:
        choices, operations = Choices(picks), []
        for key, names in candidates.items():
            if key == "k" and choices.sites["m"].picked != "two":
                continue
            operation = Map(Tensor(key, "f32", ()), (), Acc("f32"))
            operations.append(operation)
            choices.pick(
                key,
                [Candidate(n, 1.0, None) for n in names],
                operation,
                stage=METHODS if key == "m" else KERNELS,
            )
            choices.decided(key, [operation])
        return Variant(None, "net", choices.sites, operations, [], {}, None, clocks)  # type: ignore[arg-type]

    def spent(variant: Variant) -> Seconds:
        if variant.clocks:
            return np.array([times[key, site.picked] for key, site in variant.sites.items()])
        return np.array([whole[" ".join(site.picked for site in variant.sites.values())]])

    return Search(make, {}, lambda a, b, seconds: (spent(a), spent(b)))


TIMES = {
    ("m", "one"): 4.0, ("m", "two"): 2.0, ("k", "slow"): 2.0, ("k", "fast"): 1.5, ("k", "faster"): 1.0,
    ("s", "plain"): 1.0, ("s", "other"): 0.99,
}  # fmt: skip


def test_the_search_finds_the_fastest_of_each_choice() -> None:
    search = fake(TIMES, {"one plain": 5.0, "two faster plain": 3.0})
    search.run(1e6)
    assert search.verdict() == (5.0, 3.0)
    assert search.picks() == {"m": "two", "k": "faster", "s": "plain"}
    for (key, name), seconds in TIMES.items():
        assert search.results[key].seconds[name] == pytest.approx(seconds)


@pytest.mark.parametrize("tuned", [4.99, 5.0, 7.0])
def test_what_is_not_faster_as_a_whole_is_not_kept(tuned: float) -> None:
    search = fake(TIMES, {"one plain": 5.0, "two faster plain": tuned})
    search.run(1e6)
    assert search.verdict() == (5.0, 5.0)
    assert search.picks() == {"m": "one", "k": "slow", "s": "plain"}
    assert search.make(search.picks(), clocks=False).sites["m"].picked == "one"


def test_a_gain_that_may_be_noise_changes_nothing() -> None:
    times = {key: 1.0 if key[1] in ("one", "slow", "plain") else 0.985 for key in TIMES}
    search = fake(times, {"one plain": 5.0})
    search.run(1e6)
    assert search.verdict() == (5.0, 5.0)
    assert search.picks() == {"m": "one", "s": "plain"}


def test_a_lucky_time_is_taken_again() -> None:
    search = fake(TIMES, {"one plain": 5.0})
    compare = search.compare
    lucky = {"two", "fast", "other"}

    def once(a: Variant, b: Variant, seconds: float) -> tuple[Seconds, Seconds]:
        before, after = compare(a, b, seconds)
        if b.clocks:
            for i, site in enumerate(b.sites.values()):
                slow = site.picked not in ("one", "slow", "plain")
                after[i] = before.max() * (0.1 if slow and site.picked in lucky else 1.0)
                lucky.discard(site.picked)
        return before, after

    search.compare = once
    search.run(1e6)
    assert search.picks()["m"] == "one"
    assert search.picks()["s"] == "plain"


def test_the_search_goes_on_where_it_ended() -> None:
    first = fake(TIMES, {})
    first.run(1e-9)
    assert first.results["m"].pick == "two"
    assert "k" not in first.results
    second = fake(TIMES, {"one plain": 5.0, "two faster plain": 3.0})
    second.results = first.results
    tried: list[Mapping[str, str]] = []
    make = second.make

    def watched(picks: Mapping[str, str], **more: Any) -> Variant:
        tried.append(dict(picks))
        return make(picks, **more)

    second.make = watched
    second.run(1e6)
    assert second.picks() == {"m": "two", "k": "faster", "s": "plain"}
    assert all(picks["m"] == "two" for picks in tried)


def test_what_a_verdict_left_out_stays_out_while_later_choices_are_searched() -> None:
    first = fake(TIMES, {"one plain": 5.0, "two faster plain": 5.0})
    first.run(1e6)
    first.verdict()
    second = fake({**TIMES, ("s", "new"): 0.5}, {})
    second.results = first.results
    second.run(1e6)
    assert second.picks() == {"m": "one", "k": "slow", "s": "new"}


def test_choices_that_decide_no_time_are_searched_no_further() -> None:
    times = {key: 1e-4 if key[0] == "s" else spent for key, spent in TIMES.items()}
    search = fake({**times, ("s", "third"): 1e-5}, {})
    search.run(1e6)
    assert set(search.results["k"].seconds) == {"slow", "fast", "faster"}
    assert set(search.results["s"].seconds) == {"plain", "other"}


# The search, with real times, which decide nothing here


def test_a_tuned_model_computes_the_same(tmp_path: Path) -> None:
    file = tmp_path / "tuning.json"
    model, feed = products(), {"a": normal(2, 21, 8), "b": normal(2, 8, 40)}
    told: list[tuple[str, int, int]] = []
    tuned = ingot.compile(model, tune=0.5, tuning=file, progress=lambda *at: told.append(at))
    plain = ingot.compile(model)
    assert tuned.report["tuned_seconds"] <= tuned.report["untuned_seconds"]
    assert ("tune", 100, 100) in told or any(at[0] == "tune" and at[1] > 0 for at in told)
    for mine, wanted in zip(
        ingot.load(tuned).run(None, feed), ingot.load(plain).run(None, feed), strict=True
    ):
        assert_close(mine, wanted, EXACT)
    results = load_results(file)[machine_key(resolve("native"))]
    assert {key: r.pick for key, r in results.items() if tuned.manifest["tuned"].get(key)} == tuned.manifest[
        "tuned"
    ]
    again = ingot.compile(model, tuning=file)
    assert again.manifest["tuned"] == tuned.manifest["tuned"]
    assert again.files == tuned.files


def test_results_are_used_only_where_they_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, site = next((k, s) for k, s in choices_of(products()).sites.items())
    other = list(site.candidates)[1]
    file = tuning_file(tmp_path, {key: other})
    monkeypatch.setenv("INGOT_TUNING", str(file))
    plain, named = ingot.compile(products()), ingot.compile(products(), tuning=file)
    assert plain.manifest["tuned"] == {}
    assert named.manifest["tuned"] == {key: other}
    assert named.report["tuned"] == 1
    assert plain.files != named.files
    assert ingot.compile(products(), tuning=str(file)).files == named.files
    nothing = tuning_file(tmp_path, {key: "no such candidate"})
    assert ingot.compile(products(), tuning=nothing).files == plain.files


@pytest.mark.parametrize("given", [False, True])
def test_where_results_go(given: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INGOT_TUNING", str(tmp_path / "deep" / "usual.json"))
    ingot.compile(products(), tune=0.01, tuning=tmp_path / "named.json" if given else None)
    found = {path.name for path in tmp_path.rglob("*")}
    assert found == ({"named.json"} if given else {"deep", "usual.json"})


# The file


def code_of(call: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    with pytest.raises(IngotError) as caught:
        call(*args, **kwargs)
    assert caught.value.remedy
    return caught.value.code


def test_results_round_trip(tmp_path: Path) -> None:
    file = tmp_path / "new" / "tuning.json"
    first = {"b": Result("x", {"x": 1.5e-6, "y": 2e-3}), "a": Result("y")}
    save_results(file, "one", first)
    assert load_results(file) == {"one": first}
    text = file.read_text()
    save_results(file, "one", dict(reversed(list(first.items()))))
    assert file.read_text() == text
    save_results(file, "two", {"a": Result("z")})
    save_results(file, "one", {"a": Result("x")})
    assert load_results(file) == {"one": {"a": Result("x"), "b": first["b"]}, "two": {"a": Result("z")}}
    assert [path.name for path in file.parent.iterdir()] == ["tuning.json"]


def test_results_that_are_saved_at_once_are_all_kept(tmp_path: Path) -> None:
    file = tmp_path / "tuning.json"
    threads = [
        threading.Thread(target=save_results, args=(file, "one", {str(i): Result("x")})) for i in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert load_results(file)["one"].keys() == {str(i) for i in range(16)}


GOOD = {"format": 1, "machines": {"one": {"a": {"pick": "x", "seconds": {"x": 1e-6}}}}}


def entry(**changes: Any) -> str:
    return json.dumps({"format": 1, "machines": {"one": {"a": {"pick": "x", "seconds": {}, **changes}}}})


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "null", "{", "\udc80", '{"format": 2, "machines": {}}', '{"format": 1}',
        '{"format": 1, "machines": []}', '{"format": 1, "machines": {"one": 3}}',
        '{"format": 1, "machines": {"one": {"a": {"seconds": {}}}}}', entry(pick=3), entry(seconds=[]),
        entry(seconds={"x": "fast"}), entry(seconds={"x": -1}), entry(seconds={"x": float("nan")}),
        "[" * 100_000,
    ],
)  # fmt: skip
def test_bad_files(text: str, tmp_path: Path) -> None:
    file = tmp_path / "tuning.json"
    file.write_bytes(text.encode(errors="surrogateescape"))
    assert code_of(load_results, file) == "tuning-invalid"
    assert code_of(ingot.compile, products(), tuning=file) == "tuning-invalid"
    assert code_of(ingot.compile, products(), tuning=file, tune=1.0) == "tuning-invalid"
    file.write_text(json.dumps(GOOD))
    assert load_results(file) == {"one": {"a": Result("x", {"x": 1e-6})}}


def test_files_that_are_none(tmp_path: Path) -> None:
    assert code_of(ingot.compile, products(), tuning=tmp_path / "missing.json") == "tuning-invalid"
    assert code_of(ingot.compile, products(), tuning=tmp_path) == "tuning-invalid"
    (tmp_path / "file").touch()
    for place in (tmp_path / "file" / "tuning.json", Path("/proc/tuning.json")):
        assert code_of(save_results, place, "one", {}) in ("output-unwritable", "tuning-invalid")


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("inf"), float("nan")])
def test_times_that_are_none(seconds: float) -> None:
    assert code_of(ingot.compile, products(), tune=seconds) == "option-invalid"


def test_a_target_that_does_not_run_here_is_not_tuned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "runs_here", lambda target: False)
    assert code_of(ingot.compile, products(), target="avx2", tune=1.0) == "target-mismatch"
    assert code_of(candidates, products(), target="avx2") == "target-mismatch"


# Commands


def command(*words: str | Path) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200", "TERM": "dumb"})


@pytest.fixture
def model(tmp_path: Path) -> Path:
    onnx.save(products(), tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


def test_compile_takes_the_time_and_the_file(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "tuning.json"
    words = ("compile", model, "-o", tmp_path / "net.ingot", "--tuning", file)
    assert command(*words).exit_code == 2
    done = command(*words, "--tune", "0.1")
    assert done.exit_code == 0, done.output
    assert "as fast as untuned" in done.output
    assert load_results(file).keys() == {machine_key(resolve("native"))}
    again = command(*words, "--json")
    assert again.exit_code == 0
    assert json.loads(again.stdout)["packages"][0]["tuned"] == len(
        ingot.Package.open(tmp_path / "net.ingot").manifest["tuned"]
    )


def test_candidates_are_shown_with_the_pick(model: Path, tmp_path: Path) -> None:
    shown = command("bench", model, "--candidates", "--seconds", "0.01", "--json", tmp_path / "found.json")
    assert shown.exit_code == 0, shown.output
    found = json.loads((tmp_path / "found.json").read_text())
    assert shown.output.count("<--") - shown.output.count("(<--)") == len(found["choices"]) >= 2
    for choice in found["choices"]:
        first = choice["candidates"][0]
        assert choice["picked"] == first["name"]
        assert first["predicted"] == 1.0
        assert all(c["seconds"] > 0 and c["gflops"] > 0 for c in choice["candidates"])
    assert f"{found['ratio']:.3f}x" in shown.output.splitlines()[-1]


@pytest.mark.parametrize("option", ["--profile", "--against=none", "--threads=2"])
def test_candidates_are_of_ingot_alone(option: str, model: Path) -> None:
    assert command("bench", model, "--candidates", option).exit_code == 2


def test_candidates_are_of_models(model: Path) -> None:
    assert code_of(candidates, ingot.compile(model)) == "option-invalid"
