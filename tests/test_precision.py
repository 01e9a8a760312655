"""bf16: compiled kernels beside the interpreter and beside f32, the same bits for any threads, refusals, and the loss told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from small import SMALL, normal, parse
from typer.testing import CliRunner

import ingot
from ingot.cli import app
from ingot.errors import IngotError
from ingot.oracle import interpret_model
from ingot.report.accuracy import accuracy
from ingot.target import TARGETS, cpu_features, native
from ingot.testing import EXACT, REDUCED, Array, Feed, assert_close, lengths

BF16 = TARGETS["avx512_bf16"]
needs_bf16 = pytest.mark.skipif(
    not BF16.cpu_flags <= cpu_features(), reason="this machine cannot multiply in bf16"
)


def chain(channels: int, features: int, size: int = 9) -> onnx.ModelProto:
    """Convolutions of every kind around a channel count: pointwise, 3x3 with and without stride, a residual, a class."""
    text = f"""net (float[N, {channels}, {size}, {size}] x) => (float[N, 10] y) {{
        a = Conv <pads = [1, 1, 1, 1]> (x, w0, b0)
        b = Relu(a)
        c = Conv <pads = [1, 1, 1, 1]> (b, w1)
        d = Add(b, c)
        e = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (d, w2)
        f = Sigmoid(e)
        g = MaxPool <kernel_shape = [2, 2]> (f)
        h = GlobalAveragePool(g)
        i = Flatten(h)
        y = Gemm(i, w3, b3)
    }}"""
    scale = np.float32(0.1)
    return parse(
        text,
        {
            "w0": normal(features, channels, 3, 3) * scale,
            "b0": normal(features),
            "w1": normal(features, features, 3, 3) * scale,
            "w2": normal(features, features, 3, 3) * scale,
            "w3": normal(features, 10),
            "b3": normal(10),
        },
    )


def attention(tokens: int, width: int, heads: int = 2) -> onnx.ModelProto:
    """A transformer layer: products of two tensors, softmax, normalisation, GELU."""
    inner = width // heads
    text = f"""net (float[N, {tokens}, {width}] x) => (float[N, {tokens}, {width}] y) {{
        q0 = MatMul(x, wq)  k0 = MatMul(x, wk)  v0 = MatMul(x, wv)
        q1 = Reshape(q0, split)  k1 = Reshape(k0, split)  v1 = Reshape(v0, split)
        q = Transpose <perm = [0, 2, 1, 3]> (q1)
        k = Transpose <perm = [0, 2, 3, 1]> (k1)
        v = Transpose <perm = [0, 2, 1, 3]> (v1)
        s0 = MatMul(q, k)
        s1 = Mul(s0, scale)
        s = Softmax <axis = -1> (s1)
        o0 = MatMul(s, v)
        o1 = Transpose <perm = [0, 2, 1, 3]> (o0)
        o2 = Reshape(o1, join)
        o = MatMul(o2, wo)
        r = Add(x, o)
        n = LayerNormalization <axis = -1> (r, g, b)
        u = MatMul(n, wu)
        e0 = Mul(u, half)  e1 = Erf(e0)  e2 = Add(e1, one)  e = Mul(u, e2)
        d = MatMul(e, wd)
        y = Add(n, d)
    }}"""
    scale = np.float32(width**-0.5)
    weights = {name: normal(width, width, seed=i) * scale for i, name in enumerate(("wq", "wk", "wv", "wo"))}
    return parse(
        text,
        {
            **weights,
            "split": np.array([0, tokens, heads, inner], np.int64),
            "join": np.array([0, tokens, width], np.int64),
            "scale": np.array(inner**-0.5, np.float32),
            "half": np.array(0.5**0.5, np.float32),
            "one": np.array(1, np.float32),
            "g": np.ones(width, np.float32),
            "b": np.zeros(width, np.float32),
            "wu": normal(width, 2 * width) * scale,
            "wd": normal(2 * width, width) * scale,
        },
    )


MODELS: dict[str, tuple[onnx.ModelProto, Feed]] = {
    **{
        f"chain_{channels}_{features}": (chain(channels, features), {"x": normal(2, channels, 9, 9)})
        for channels, features in ((1, 2), (2, 15), (3, 16), (4, 17), (5, 24), (16, 32), (17, 33))
    },
    **{
        f"attention_{tokens}_{width}": (attention(tokens, width), {"x": normal(2, tokens, width)})
        for tokens, width in ((1, 2), (5, 30), (17, 34), (33, 48), (64, 32))
    },
}


def run(model: onnx.ModelProto, feed: Feed, threads: int = 1, **options: Any) -> list[Array]:
    return list(ingot.load(ingot.compile(model, **options), threads=threads).run(None, feed))


@pytest.mark.parametrize("name", MODELS)
def test_the_interpreter_is_near_to_f32(name: str) -> None:
    model, feed = MODELS[name]
    wanted = interpret_model(model, "avx512")(feed)
    got = interpret_model(model, "avx512_bf16", precision="bf16")(feed)
    assert any((a != b).any() for a, b in zip(got, wanted, strict=True))
    for a, b in zip(got, wanted, strict=True):
        assert_close(a, b, REDUCED, **lengths(model))


@needs_bf16
@pytest.mark.parametrize("name", MODELS)
def test_compiled_is_as_interpreted(name: str) -> None:
    model, feed = MODELS[name]
    got = run(model, feed, precision="bf16")
    for a, b in zip(got, interpret_model(model, "avx512_bf16", precision="bf16")(feed), strict=True):
        assert_close(a, b, REDUCED, **lengths(model))


@needs_bf16
@pytest.mark.parametrize("name", [name for name in SMALL if name != "attention"])
def test_every_kind_of_kernel(name: str) -> None:
    """Without the one whose softmax of large scores magnifies the rounding of what it is fed."""
    model = SMALL[name].make()
    exact, session = (ingot.load(ingot.compile(model, precision=p)) for p in ("f32", "bf16"))
    for feed in SMALL[name].feeds(session.get_inputs()):
        for got, wanted in zip(session.run(None, feed), exact.run(None, feed), strict=True):
            assert_close(got, wanted, REDUCED, **lengths(model))


@needs_bf16
@pytest.mark.parametrize("name", ["chain_16_32", "attention_64_32"])
def test_threads_and_other_rows_change_no_bit(name: str) -> None:
    model, feed = MODELS[name]
    session = ingot.load(ingot.compile(model, precision="bf16"), threads=2)
    both = session.run(None, feed)
    for one, two in zip(run(model, feed, precision="bf16"), both, strict=True):
        assert_close(one, two, EXACT)
    for alone, together in zip(session.run(None, {"x": feed["x"][1:]}), both, strict=True):
        assert_close(alone, together[1:], EXACT)


def test_the_weights_and_the_arena_halve() -> None:
    model, _ = MODELS["chain_16_32"]
    f32, bf16 = (
        ingot.compile(model, target="avx512_bf16", precision=p, winograd_error=0) for p in ("f32", "bf16")
    )
    assert bf16.manifest["precision"] == bf16.report["precision"] == "bf16"
    assert bf16.report["weights_bytes"] < 0.6 * f32.report["weights_bytes"]
    assert bf16.report["arena_bytes"] < 0.8 * f32.report["arena_bytes"]


@pytest.mark.parametrize("target", ["generic", "avx2", "avx512"])
def test_a_target_without_it_refuses(target: str) -> None:
    with pytest.raises(IngotError) as caught:
        ingot.compile(MODELS["chain_1_2"][0], target=target, precision="bf16")
    assert caught.value.code == "precision-unsupported"
    assert "avx512_bf16" in caught.value.remedy


def test_native_is_a_target_with_it_or_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingot.target.cpu_features", lambda: BF16.cpu_flags)
    monkeypatch.setattr("ingot.target.platform.machine", lambda: "x86_64")
    assert native("bf16") is BF16
    assert native() is TARGETS["avx512"]
    monkeypatch.setattr("ingot.target.cpu_features", lambda: TARGETS["avx512"].cpu_flags)
    with pytest.raises(IngotError, match="precision-unsupported"):
        native("bf16")


@needs_bf16
@pytest.mark.parametrize("emit", ["library", "static"])
def test_the_command_tells_the_loss(emit: str, tmp_path: Path) -> None:
    model, feed = MODELS["chain_3_16"]
    onnx.save(model, tmp_path / "net.onnx")
    np.save(tmp_path / "x.npy", feed["x"])
    arguments = ["compile", str(tmp_path / "net.onnx"), "--precision", "bf16", "--emit", emit]
    arguments += ["-o", str(tmp_path / "net.ingot")]
    told = CliRunner().invoke(app, arguments)
    assert told.exit_code == 0, told.output
    shown = " ".join(told.output.replace("│", " ").split())
    assert "y differs from f32 by 0.0" in shown
    assert "top 1 equal in" in shown
    told = CliRunner().invoke(app, [*arguments, "--input", f"x={tmp_path / 'x.npy'}", "--json"])
    (report,) = json.loads(told.stdout)["packages"]
    (loss,) = report["accuracy"]["outputs"]
    assert (report["precision"], report["accuracy"]["runs"], loss["name"]) == ("bf16", 1, "y")
    exact, got = run(model, feed)[0], run(model, feed, precision="bf16")[0]
    assert loss["relative"] == pytest.approx(np.linalg.norm(got - exact) / np.linalg.norm(exact), rel=1e-3)
    assert loss["top1"] == (got.argmax(1) == exact.argmax(1)).mean()
    manifest = json.loads((tmp_path / "net.ingot" / "manifest.json").read_text())
    assert manifest["accuracy"] == report["accuracy"]


def test_a_loss_that_cannot_be_measured_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = MODELS["chain_1_2"]
    package = ingot.compile(model, target="avx512_bf16", precision="bf16")
    monkeypatch.setattr("ingot.report.accuracy.runs_here", lambda target: False)
    assert accuracy(model, package).to_dict() == {"reason": "this machine cannot run avx512_bf16"}


def test_the_polynomial_for_erf() -> None:
    model = parse("net (float[n] x) => (float[n] y) { y = Erf(x) }")
    x = np.array([*np.linspace(-4, 4, 801), 0, -0.0, 1e-3, np.inf, -np.inf, np.nan], np.float32)
    got = interpret_model(model, "avx512_bf16", precision="bf16")({"x": x})[0]
    wanted = interpret_model(model, "avx512_bf16")({"x": x})[0]
    assert_close(got, wanted, REDUCED)
    assert (got != wanted).any()


def test_the_polynomial_in_gelu() -> None:
    text = "net (float[n] x) => (float[n] y) { s = Mul(x, w)  e = Erf(s)  d = Add(e, one)  p = Mul(x, d)  y = Mul(p, half) }"
    constants = {"w": np.float32(np.sqrt(0.5)), "one": np.float32(1), "half": np.float32(0.5)}
    model = parse(text, {name: np.array(value) for name, value in constants.items()})
    x = np.array([*np.linspace(-6, 6, 1201), 0, -0.0, 1e-3, np.nan], np.float32)
    got = interpret_model(model, "avx512_bf16", precision="bf16")({"x": x})[0]
    wanted = interpret_model(model, "avx512_bf16")({"x": x})[0]
    assert_close(got, wanted, REDUCED)
    assert (got != wanted).any()
