"""The HTML page of a model: its data, and what a browser makes of it."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
from small import normal, parse
from typer.testing import CliRunner

import ingot
from ingot.cli import app
from ingot.errors import IngotError
from ingot.frontends import load_model
from ingot.ir.work import Work
from ingot.report.cost import energy, node_macs
from ingot.report.page import Recorder, page_data, write_page
from ingot.target import native

CHROMIUM = (
    os.environ.get("CHROMIUM")
    or shutil.which("chromium")
    or shutil.which("chromium-browser")
    or shutil.which("google-chrome")
)


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    """A convolution with a normalisation that becomes part of it, in a scope, and a product of a batch N."""
    text = """net (float[N, 3, 8, 8] x) => (float[N, 10] y) {
        c = Conv <pads = [1, 1, 1, 1]> (x, w)
        n = BatchNormalization(c, scale, shift, mean, variance)
        i = Identity(n)
        r = Relu(i)
        p = GlobalAveragePool(r)
        f = Flatten(p)
        y = Gemm <transB = 1> (f, v)
    }"""
    four = {name: np.full(4, 0.5, np.float32) for name in ("scale", "shift", "mean", "variance")}
    made = parse(text, {"w": normal(4, 3, 3, 3), "v": normal(10, 4), **four})
    for node, name in zip(
        made.graph.node,
        ["/stem/conv", "/stem/norm", "/stem/id", "/stem/relu", "pool", "flat", "gemm"],
        strict=True,
    ):
        node.name = name
    return made


@pytest.fixture(scope="module")
def data(model: onnx.ModelProto) -> dict[str, Any]:
    return page_data(model)


def nodes(data: dict[str, Any], order: list[int]) -> dict[str, Any]:
    return {data["nodes"][i]["name"]: data["nodes"][i] for i in order}


def test_the_graph_before_and_after(data: dict[str, Any]) -> None:
    before, after = nodes(data, data["before"]), nodes(data, data["passes"][-1]["order"])
    assert [node["op"] for node in before.values()] == [
        "Conv", "BatchNormalization", "Identity", "Relu", "GlobalAveragePool", "Flatten", "Gemm"
    ]  # fmt: skip
    assert [node["op"] for node in after.values()] == ["Conv", "Relu", "GlobalAveragePool", "Flatten", "Gemm"]
    assert before["/stem/conv"]["scope"] == ["stem"]
    assert before["/stem/conv"]["attributes"]["pads"] == "[1, 1, 1, 1]"
    assert data["values"]["r"] | {"constant": False} == {
        "dtype": "f32",
        "shape": ["N", 4, 8, 8],
        "bytes": 4 * 256,
        "constant": False,
    }


def test_the_rule_that_took_a_node_away(data: dict[str, Any]) -> None:
    order, lost = data["before"], {}
    for one in data["passes"]:
        gone = set(order) - set(one["order"])
        lost |= {data["nodes"][i]["op"]: one["rule"] for i in gone}
        order = one["order"]
    assert lost["Identity"] == "eliminate_identity"
    assert lost["BatchNormalization"] == "fuse_conv_batch_norm"


def test_costs_of_nodes(data: dict[str, Any]) -> None:
    after = nodes(data, data["passes"][-1]["order"])
    assert data["symbols"] == {"N": 1}
    assert after["gemm"]["macs"] == 40
    assert after["gemm"]["parameters"] == 40
    assert after["gemm"]["bytes"] == 40
    assert after["/stem/relu"]["macs"] == 0
    assert sum(node["macs"] for node in after.values()) == 64 * 4 * 27 + 40


def test_the_memory_plan_has_no_overlaps(data: dict[str, Any]) -> None:
    memory = data["memory"]
    lives = memory["lives"]
    assert max(life["offset"] + life["bytes"] for life in lives) == memory["arena"] >= memory["peak"]
    for i, a in enumerate(lives):
        for b in lives[:i]:
            apart = a["last"] < b["first"] or b["last"] < a["first"]
            assert apart or a["offset"] + a["bytes"] <= b["offset"] or b["offset"] + b["bytes"] <= a["offset"]


def test_the_data_repeat_and_are_those_of_a_compilation(model: onnx.ModelProto, data: dict[str, Any]) -> None:
    recorder = Recorder(data["name"], native().name, "f32")
    ingot.compile(model, emit="source", observer=recorder)
    assert json.dumps(recorder.data(), allow_nan=False) == json.dumps(data, allow_nan=False)


def test_what_cannot_be_compiled_has_its_graph(tmp_path: Path) -> None:
    made = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 18, "own" : 1]>
        g (float[4] x) => (float[4] y) { a = Relu(x) y = own.Strange(a) }""")
    found = page_data(made)
    assert "Strange" in found["problem"]
    assert [found["nodes"][i]["op"] for i in found["before"]] == ["Relu", "own::Strange"]
    assert "memory" not in found
    if CHROMIUM:
        write_page(found, tmp_path / "page.html")
        assert "cannot be compiled" in look(
            tmp_path / "page.html", "document.getElementById('about').textContent"
        )


@pytest.mark.parametrize(
    ("text", "constants", "macs"),
    [
        ("(float[2, 5, 3] x) => (float[2, 5, 7] y) { y = MatMul(x, w) }", {"w": (3, 7)}, 2 * 5 * 7 * 3),
        ("(float[3, 5] x) => (float[5, 7] y) { y = Gemm <transA = 1> (x, w) }", {"w": (3, 7)}, 5 * 7 * 3),
        (
            "(float[1, 4, 6, 6] x) => (float[1, 8, 6, 6] y) { y = Conv <group = 2, pads = [1, 1, 1, 1]> (x, w) }",
            {"w": (8, 2, 3, 3)},
            8 * 36 * 2 * 9,
        ),
        (
            "(float[1, 4, 6, 6] x) => (float[1, 5, 12, 12] y) { y = ConvTranspose <strides = [2, 2]> (x, w) }",
            {"w": (4, 5, 2, 2)},
            4 * 36 * 5 * 4,
        ),
        (
            'g (float[2, 3, 4] x) => (float[2, 3, 5] y) { y = Einsum <equation = "...ij, jk -> ...ik"> (x, w) }'[2:],
            {"w": (4, 5)},
            2 * 3 * 4 * 5,
        ),
        (
            "(float[6, 2, 3] x) => (float[6, 1, 2, 4] y) { y = LSTM <hidden_size = 4> (x, w, r) }",
            {"w": (1, 16, 3), "r": (1, 16, 4)},
            6 * 2 * 16 * (3 + 4),
        ),
        ("(float[2, 3] x) => (float[2, 3] y) { y = Relu(x) }", {}, 0),
    ],
    ids=["matmul", "gemm", "conv", "conv_transpose", "einsum", "lstm", "relu"],
)  # fmt: skip
def test_multiply_adds(text: str, constants: dict[str, tuple[int, ...]], macs: int) -> None:
    made = ir.from_proto(parse(f"g {text}", {name: normal(*shape) for name, shape in constants.items()}))
    shapes = {**{v.name: v.shape for v in made.graph.inputs}, **constants}
    shapes |= {v.name: v.shape for v in made.graph.outputs}
    assert node_macs(made.graph[0], lambda value: list(shapes[value.name])) == macs
    assert node_macs(made.graph[0], lambda value: None) == (None if macs else 0)


def test_shapes_that_onnx_does_not_infer() -> None:
    """A size that is computed: what the program knows of it counts the multiply-adds of what comes after."""
    text = """g (float[1, 3, H, 8] x) => (float[] y) {
        s = Shape <start = 2> (x)
        half = Div(s, two)
        r = Resize <axes = [2, 3], mode = "nearest"> (x, , , half)
        y = Conv (r, w)
    }"""
    found = page_data(parse(text, {"w": normal(5, 3, 1, 1), "two": np.array([2], np.int64)}))
    assert not found["problem"]
    (conv,) = (n for n in found["nodes"] if n["op"] == "Conv")
    height = found["symbols"]["H"] // 2
    assert conv["macs"] == 5 * 3 * height * 4
    assert conv["bytes"] == 4 * 5 * height * 4
    assert found["values"]["r"]["shape"][:2] == [1, 3]
    assert "?" not in found["values"]["y"]["shape"]


def test_the_work_of_a_loop_is_that_of_its_turns() -> None:
    made = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 18]>
        g (float[4, 4] x) => (float[4, 4] y) <bool go = {1}, int64 turns = {100}> {
            y = Loop (turns, go, x) <body = b (int64 i, bool c, float[4, 4] a) => (bool d, float[4, 4] e) {
                d = Identity(c) f = MatMul(a, a) e = Tanh(f)
            }>
        }""")
    found = page_data(made)
    assert [node["scope"] for node in nodes(found, found["before"]).values()] == [[], *[["Loop -> y"]] * 3]
    assert found["run"]["macs"] == 100 * 64


def test_energy_adds_up() -> None:
    found = energy([Work(macs=10, flops=25, bytes=8), Work(macs=0, flops=0, bytes=8)], "f32")
    assert found["arithmetic"] == pytest.approx((10 * 4.6 + 5 * 0.9) * 1e-12)
    assert found["cache"] == pytest.approx(200e-12)
    assert found["dram"] == pytest.approx(2600e-12)
    assert energy([Work(10, 20, 0)], "bf16")["arithmetic"] == pytest.approx(20e-12)


def test_the_command_line_writes_pages(model: onnx.ModelProto, tmp_path: Path) -> None:
    source, page = tmp_path / "net.onnx", tmp_path / "page.html"
    onnx.save(model, source)
    run = CliRunner().invoke
    shown = run(app, ["inspect", str(source), "--html", str(page), "--shape", "x:2x3x8x8"])
    assert shown.exit_code == 0
    assert data_of(page)["values"]["y"]["shape"] == [2, 10]
    options = ["-o", str(tmp_path / "net.ingot"), "--emit", "source", "--target", "generic,avx2"]
    assert run(app, ["compile", str(source), *options, "--report", str(page)]).exit_code == 0
    assert data_of(tmp_path / "page.avx2.html")["target"] == "avx2"
    assert run(app, ["inspect", str(tmp_path / "net.generic.ingot"), "--html", str(page)]).exit_code == 0
    assert data_of(page)["manifest"]["target"]["name"] == "generic"
    nowhere = run(app, ["compile", str(source), *options, "--report", str(tmp_path / "no/page.html")])
    assert nowhere.exit_code == 2


def test_a_page_is_one_file_that_names_no_other(data: dict[str, Any], tmp_path: Path) -> None:
    write_page({**data, "producer": "</script><b>&"}, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert re.findall(r"<link|<img|<iframe|@import|\bsrc=|\bfetch\(|XMLHttpRequest|url\(", text) == []
    assert text.count("</script>") == 1
    assert data_of(tmp_path / "page.html")["producer"] == "</script><b>&"
    with pytest.raises(IngotError) as caught:
        write_page(data, tmp_path / "none" / "page.html")
    assert caught.value.code == "output-unwritable"


def data_of(page: Path) -> Any:
    found = re.search(r"^const DATA = (.*);$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert found
    return json.loads(found[1])


needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium: install the package chromium, or name a browser in CHROMIUM"
)


def look(page: Path, expression: str) -> Any:
    """What a JavaScript expression gives in the page, once it is drawn; an error of the page fails."""
    script = f"""<script>document.body.dataset.found = JSON.stringify({expression});</script>"""
    catch = "<script>window.onerror = (text) => { document.documentElement.dataset.error = text; };</script>"
    probe = page.with_suffix(".probe.html")
    probe.write_text(
        page.read_text(encoding="utf-8")
        .replace("<head>", f"<head>{catch}")
        .replace("</body>", f"{script}</body>"),
        encoding="utf-8",
    )
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={page.parent / 'browser'}", "--virtual-time-budget=10000", "--dump-dom", probe.as_uri(),
    ]  # fmt: skip
    dom = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    error = re.search(r'data-error="([^"]*)"', dom)
    assert error is None, html.unescape(error[1] if error else "")
    found = re.search(r'data-found="([^"]*)"', dom)
    assert found, dom[:500]
    return json.loads(html.unescape(found[1]))


TEXTS = (
    "(at) => [...document.querySelectorAll(at)].filter((e) => e.checkVisibility()).map((e) => e.textContent)"
)


@needs_browser
def test_a_browser_draws_the_page(data: dict[str, Any], tmp_path: Path) -> None:
    write_page(data, tmp_path / "page.html")
    seen = look(
        tmp_path / "page.html",
        f"""(() => {{
            const texts = {TEXTS}, found = {{}};
            found.tiles = texts(".tile b");
            found.rows = texts("#outline .name");
            found.boxes = texts("#drawing .box text:first-of-type");
            document.querySelector("#outline .row").click();
            found.inside = texts("#outline .inside .name");
            found.within = texts("#drawing .box text:first-of-type");
            document.querySelector("#outline .inside .row").click();
            found.details = texts("#details")[0];
            document.querySelector("#moments").value = 0;
            document.querySelector("#moments").dispatchEvent(new Event("change"));
            document.querySelector("#outline .row").click();
            found.before = texts("#outline .inside .op");
            for (const tab of ["passes", "memory", "kernels", "energy"]) {{
                document.querySelector(`[data-tab=${{tab}}]`).click();
                found[tab] = texts(`#${{tab}}`)[0];
            }}
            document.querySelector("[data-tab=memory]").click();
            found.lives = document.querySelectorAll("#arena rect").length;
            document.querySelector("#search").value = "gemm";
            document.querySelector("#search").dispatchEvent(new Event("input"));
            found.search = texts("#outline .op");
            return found;
        }})()""",
    )
    assert seen["tiles"][0] == "7 → 5"
    assert seen["rows"] == ["stem", "pool", "flat", "gemm"]
    assert seen["boxes"] == ["x", "stem", "GlobalAveragePool", "Flatten", "Gemm", "y"]
    assert seen["inside"] == ["/stem/conv", "/stem/relu"]
    assert seen["within"] == ["x", "Conv", "Relu", "r"]
    assert "6,912" in seen["details"]
    assert "[1, 1, 1, 1]" in seen["details"]
    assert seen["before"] == ["Conv", "BatchNormalization", "Identity", "Relu"]
    assert "fuse_conv_batch_norm" in seen["passes"]
    assert "BatchNormalization" in seen["passes"]
    assert seen["lives"] == len(data["memory"]["lives"])
    assert all(operation["kernel"] in seen["kernels"] for operation in data["operations"])
    assert "estimate" in seen["energy"]
    assert "Horowitz" in seen["energy"]
    assert seen["search"] == ["Gemm"]


@needs_browser
@pytest.mark.parametrize("scoped", [True, False], ids=["scopes", "runs"])
def test_a_browser_takes_3000_nodes_a_piece_at_a_time(scoped: bool, tmp_path: Path) -> None:
    steps = [
        onnx.helper.make_node(
            "Neg", [f"v{i}"], [f"v{i + 1}"], name=f"/part{i // 100}/step{i}" if scoped else f"step{i}"
        )
        for i in range(3000)
    ]
    ends = [onnx.helper.make_tensor_value_info(name, 1, [4]) for name in ("v0", "v3000")]
    made = onnx.helper.make_model(
        onnx.helper.make_graph(steps, "long", ends[:1], ends[1:]),
        opset_imports=[onnx.helper.make_opsetid("", 18)],
    )
    recorder = Recorder("long", "generic", "f32")
    recorder.loaded(load_model(made))
    write_page(recorder.data(), tmp_path / "page.html")
    seen = look(
        tmp_path / "page.html",
        f"""(() => {{
            const texts = {TEXTS}, found = {{}};
            found.rows = texts("#outline .row").length;
            found.boxes = texts("#drawing .box").length;
            document.querySelector("[data-tab=nodes]").click();
            found.table = texts("#nodes tbody tr").length;
            found.elements = document.querySelectorAll("*").length;
            document.querySelector("[data-tab=graph]").click();
            document.querySelector("#search").value = "step2999";
            document.querySelector("#search").dispatchEvent(new Event("input"));
            document.querySelector("#outline .row").click();
            found.box = texts("#drawing .box.on text")[0];
            return found;
        }})()""",
    )
    assert seen["rows"] == (30 if scoped else 55)
    assert seen["boxes"] == seen["rows"] + 2
    assert seen["table"] == 200
    assert seen["elements"] < 3000
    assert seen["box"] == "Neg"


@needs_browser
def test_a_browser_shows_a_package(model: onnx.ModelProto, tmp_path: Path) -> None:
    package = ingot.compile(model, emit="source", name="net")
    write_page(page_data(package.save(tmp_path / "net.ingot")), tmp_path / "page.html")
    text = look(tmp_path / "page.html", "document.body.innerText")
    assert "net.weights" in text
    assert package.manifest["kernels"][0]["name"] in text
