"""What reports are made of: pictures, inputs, classes, timings."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import numpy as np
import onnx
import pytest
from PIL import Image
from small import normal, parse
from typer.testing import CliRunner

import ingot
from ingot.cli import app
from ingot.errors import IngotError
from ingot.report import doctor, peers
from ingot.report.bench import BenchReport, Timing, _difference, bench, interleave
from ingot.report.build import parse_bytes
from ingot.report.inference import best_classes, save_outputs
from ingot.report.inputs import bind_symbols, make_inputs, parse_inputs, parse_shapes
from ingot.report.peak import MEMORY, bandwidth_size, peak_flops, read_bandwidth
from ingot.report.peers import PEERS, Job, Peer, open_peer, ready_peer
from ingot.report.pictures import PRESETS, Preprocess, for_input, load_picture, preprocess_of
from ingot.report.profile import profile
from ingot.runtime.ports import DTYPES, Port
from ingot.target import native
from ingot.testing import CLOSE, EXACT, assert_close, data_root, reference

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """40 wide, 20 high: left half red, right half blue."""
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, :20, 0] = 255
    pixels[:, 20:, 2] = 255
    Image.fromarray(pixels).save(tmp_path / "flag.png")
    return tmp_path / "flag.png"


def code_of(call: Any, *args: Any, **kwargs: Any) -> str:
    """The code of the IngotError that a call must raise."""
    with pytest.raises(IngotError) as caught:
        call(*args, **kwargs)
    assert caught.value.remedy
    return caught.value.code


@pytest.mark.parametrize(
    ("name", "red"),
    [
        ("unit", [1.0, 0.0, 0.0]),
        ("raw255", [255.0, 0.0, 0.0]),
        ("ultraface", [1.0, -127 / 128, -127 / 128]),
        ("caffe_bgr", [-104.0, -117.0, 132.0]),
        ("imagenet", [(1 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225]),
    ],
)
def test_presets_scale_and_order_channels(name: str, red: list[float], picture: Path) -> None:
    array = load_picture(picture, PRESETS[name], (1, 3, 224, 224))
    assert array.shape == (1, 3, 224, 224)
    assert array.dtype == np.float32
    assert array.flags.c_contiguous
    np.testing.assert_array_max_ulp(array[0, :, 100, 5], np.array(red, np.float32), 2)


@pytest.mark.parametrize(
    ("resize", "colours"), [("stretch", "red"), ("short_side", "red"), ("letterbox", "grey")]
)
def test_ways_to_resize(resize: Any, colours: str, picture: Path) -> None:
    array = load_picture(picture, Preprocess(size=(30, 30), resize=resize))[0]
    assert array.shape[1:] == {"stretch": (30, 30), "short_side": (30, 60), "letterbox": (30, 30)}[resize]
    expected = {"red": [255, 0, 0], "grey": [114, 114, 114]}[colours]
    assert array[:, 2, 2].tolist() == expected


def test_crop_is_central(picture: Path) -> None:
    array = load_picture(picture, Preprocess(crop=(4, 2)))[0]
    assert array.shape == (3, 4, 2)
    assert array[:, 0, 0].tolist() == [255, 0, 0]
    assert array[:, 0, 1].tolist() == [0, 0, 255]


def test_a_crop_past_the_edge_is_black(picture: Path) -> None:
    assert load_picture(picture, Preprocess(crop=(40, 40)))[0, :, 0, 0].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1, 3, 227, 227), (1, 3, 227, 227)),
        (("N", 3, "H", "W"), (1, 3, 224, 224)),
        ((1, 192, 192, 3), (1, 192, 192, 3)),
        ((1, 1, 28, 28), (1, 1, 28, 28)),
    ],
)
def test_the_model_decides_layout_and_crop(shape: Any, expected: tuple[int, ...], picture: Path) -> None:
    chosen = for_input(Preprocess(size=(256, 256), crop="model"), shape)
    assert load_picture(picture, chosen, shape).shape == expected


def test_the_model_decides_the_size_when_nothing_else_does(picture: Path) -> None:
    assert load_picture(picture, PRESETS["unit"], (1, 3, 7, 9)).shape == (1, 3, 7, 9)
    assert load_picture(picture, PRESETS["unit"]).shape == (1, 3, 20, 40)


def test_an_orientation_in_the_file_is_applied(tmp_path: Path) -> None:
    flat = Image.new("RGB", (8, 4))
    exif = flat.getexif()
    exif[0x0112] = 6
    flat.save(tmp_path / "turned.jpg", exif=exif)
    assert load_picture(tmp_path / "turned.jpg", Preprocess()).shape == (1, 3, 8, 4)


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n broken"])
def test_pictures_that_are_none(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(content)
    assert code_of(load_picture, tmp_path / "x.png", Preprocess()) == "input-unreadable"


def test_a_picture_that_is_cut_short(picture: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(picture)
    picture.write_bytes(picture.read_bytes()[:3000])
    assert code_of(load_picture, picture, Preprocess()) == "input-unreadable"


def test_preprocessing_from_json(tmp_path: Path) -> None:
    spec = {"size": 8, "crop": [4, 6], "channels": "bgr", "mean": 1, "std": [1, 2, 3], "filter": "nearest"}
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    expected = Preprocess(
        size=(8, 8), crop=(4, 6), channels="bgr", mean=(1.0,), std=(1.0, 2.0, 3.0), filter="nearest"
    )
    for source in (spec, json.dumps(spec), str(tmp_path / "spec.json"), expected):
        assert preprocess_of(source) == expected
    assert preprocess_of("imagenet") == PRESETS["imagenet"]
    assert preprocess_of(None) == PRESETS["unit"]


@pytest.mark.parametrize(
    "spec",
    [
        "no-such-preset",
        "{broken",
        "[1]",
        {"sizes": 8},
        {"size": "big"},
        {"size": [8]},
        {"size": 0},
        {"resize": "squeeze"},
        {"std": 0},
        {"mean": [1, 2]},
        {"scale": None},
    ],
)
def test_preprocessing_that_makes_no_sense(spec: Any) -> None:
    assert code_of(preprocess_of, spec) == "option-invalid"


def test_shapes() -> None:
    assert parse_shapes(["x:1x3x224x224", "in:0:batch,8", "s:", "y:Nx3"]) == {
        "x": (1, 3, 224, 224),
        "in:0": ("batch", 8),
        "s": (),
        "y": ("N", 3),
    }


@pytest.mark.parametrize("text", ["x", ":1x3", "x:1xx3", "x:1.5x2", "x:-1x3", "x:1x3x"])
def test_shapes_that_are_none(text: str) -> None:
    assert code_of(parse_shapes, [text]) == "option-invalid"


def test_inputs_by_name(tmp_path: Path) -> None:
    (tmp_path / "a=b.npy").write_bytes(b"")
    assert parse_inputs(["x=a.npy", "y=random"], ["x", "y"]) == {"x": "a.npy", "y": "random"}
    assert parse_inputs(["a.npy"], ["x"]) == {"x": "a.npy"}
    assert parse_inputs([str(tmp_path / "a=b.npy")], ["x"]) == {"x": str(tmp_path / "a=b.npy")}
    assert code_of(parse_inputs, ["z=a.npy"], ["x", "y"]) == "input-name"
    assert code_of(parse_inputs, ["a.npy"], ["x", "y"]) == "option-invalid"


IDS = Port("ids", "int64", ("batch", "length"))
MASK = Port("mask", "int64", ("batch", "length"))
IMAGE = Port("image", "float32", ("batch", 3, 8, 8))


def test_symbols_get_values() -> None:
    assert bind_symbols([IMAGE], {}) == {"batch": 1}
    assert bind_symbols([IDS, MASK], {"mask": (2, 128)}) == {"batch": 2, "length": 128}
    assert bind_symbols([IDS], {"ids": ("batch", 7)}) == {"batch": 1, "length": 7}
    assert code_of(bind_symbols, [IDS], {}) == "shape-unknown"
    assert code_of(bind_symbols, [IDS], {"ids": (1, 2, 3)}) == "input-rank"


@pytest.mark.parametrize("name", [name for name, dtype in DTYPES.items() if dtype.extension])
def test_random_inputs_of_types_that_numpy_lacks(name: str) -> None:
    model = parse(f"net ({name}[4,9] x) => (float[4,9] y) {{ y = Cast<to=1>(x) }}", opset=25)
    session = ingot.load(ingot.compile(model, target="generic"))
    arrays = make_inputs(session.get_inputs())
    assert arrays["x"].dtype.name == DTYPES[name].extension
    assert np.isfinite(arrays["x"].astype(np.float32)).all()
    (y,) = session.run(None, arrays)
    assert_close(y, arrays["x"].astype(np.float32), EXACT)


def test_random_inputs_repeat_and_are_small() -> None:
    ports = [IMAGE, IDS, Port("flag", "bool", ()), Port("half", "float16", (2,))]
    first, second = (make_inputs(ports, shapes={"ids": (4, 16)}) for _ in range(2))
    assert {name: (array.shape, array.dtype.name) for name, array in first.items()} == {
        "image": ((4, 3, 8, 8), "float32"),
        "ids": ((4, 16), "int64"),
        "flag": ((), "bool"),
        "half": ((2,), "float16"),
    }
    for name, array in first.items():
        assert_close(np.asarray(array), np.asarray(second[name]), EXACT)
    assert set(np.unique(first["ids"])) == {0, 1}


def test_inputs_from_files(picture: Path, tmp_path: Path) -> None:
    ids = np.arange(6, dtype=np.int64).reshape(2, 3)
    np.save(tmp_path / "ids.npy", ids)
    arrays = make_inputs([IDS, MASK], {"ids": str(tmp_path / "ids.npy")})
    assert_close(arrays["ids"], ids, EXACT)
    assert arrays["mask"].shape == (2, 3)
    assert make_inputs([IMAGE], {"image": str(picture)})["image"].shape == (1, 3, 8, 8)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", None])
def test_arrays_that_cannot_be_read(content: bytes | None, tmp_path: Path) -> None:
    if content is None:
        np.save(tmp_path / "x.npy", np.array([{"a": "pickle"}], dtype=object), allow_pickle=True)
    else:
        (tmp_path / "x.npy").write_bytes(content)
    assert code_of(make_inputs, [IMAGE], {"image": str(tmp_path / "x.npy")}) == "input-unreadable"


def test_classes_of_probabilities_and_of_logits() -> None:
    ((first, second),) = best_classes(np.array([[0.1, 0.7, 0.2]], np.float32), ["a", "b"], 2)
    assert (first.index, first.label, second.label) == (1, "b", "class 2")
    assert first.probability == first.score
    ((best,),) = best_classes(np.array([2.0, 1.0], np.float32), None, 1)
    assert best.score == 2.0
    assert best.probability == pytest.approx(1 / (1 + np.exp(-1)))


@pytest.mark.parametrize("shape", [(5,), (1, 5), (3, 5), (1, 5, 1, 1), (2, 5, 1)])
def test_outputs_that_are_scores(shape: tuple[int, ...]) -> None:
    rows = best_classes(np.ones(shape, np.float32), None, 2)
    assert [len(row) for row in rows] == [2] * (1 if len(shape) == 1 else shape[0])


@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (2, 3, 4), (1, 5, 2, 2), (99, 5), (0, 5), (1, 0)])
def test_outputs_that_are_not_scores(shape: tuple[int, ...]) -> None:
    assert best_classes(np.ones(shape, np.float32), None, 2) == []
    assert best_classes(np.ones((1, 5), np.int64), None, 2) == []


def test_outputs_are_written_under_safe_names(tmp_path: Path) -> None:
    paths = save_outputs({"a/../b:0": np.ones(2)}, tmp_path / "out")
    assert [path.name for path in paths] == ["a____b_0.npy"]
    assert code_of(save_outputs, {}, "/proc/nowhere") == "output-unwritable"


def test_runs_take_turns() -> None:
    order: list[str] = []
    times = interleave({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, runs=3000)
    assert min(times["a"].runs, times["b"].runs) >= 3000
    changes = sum(1 for i in range(1, len(order)) if order[i] != order[i - 1])
    assert changes >= 4
    assert times["a"].p10 <= times["a"].median <= times["a"].p90


def test_a_report_gives_ratios_and_shares() -> None:
    ours, theirs = Timing(0.5, 0.4, 0.6, 9), Timing(1.0, 0.9, 1.1, 9)
    report = BenchReport("net", "avx2", 1, {"x": [1]}, ours, {"peer": theirs}, {"peer": 0.0}, 10**9, 8e9, 1e9)
    assert report.ratios == {"peer": 2.0}
    table = report.to_dict()
    assert table["gflops"] == 4.0
    assert table["share_of_peak"] == 0.5
    json.dumps(table)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (np.ones(3), np.ones(4)),
        (np.array([1.0, np.nan]), np.array([1.0, 2.0])),
        (np.array([1.0, 2.0]), np.array([1.0, 2.1])),
        (np.array([1, 2]), np.array([1, 3])),
    ],
)
def test_outputs_that_differ(ours: Any, theirs: Any) -> None:
    assert code_of(_difference, "peer", ["y"], [ours], [theirs]) == "outputs-differ"


def test_outputs_that_do_not_differ() -> None:
    same = np.array([1.0, np.nan, np.inf])
    assert _difference("peer", ["y", "z"], [same, np.ones(0)], [same.copy(), np.ones(0)]) == 0.0
    assert _difference("peer", ["y"], [np.array([1.0, 2.0])], [np.array([1.0, 2.0001])]) == pytest.approx(
        5e-5, rel=0.01
    )


@pytest.mark.parametrize(
    ("text", "count"), [("4096", 4096), ("512K", 524288), ("1.5 GiB", 1610612736), ("2mb", 2097152)]
)
def test_numbers_of_bytes(text: str, count: int) -> None:
    assert parse_bytes(text) == count


def test_a_peak_is_measured() -> None:
    assert peak_flops(native().name) > 1e8
    assert read_bandwidth(native().name) > 1e8
    assert read_bandwidth(native().name, 2, bandwidth_size(100_000)) > 1e8
    assert [bandwidth_size(n) for n in (0, 1 << 20, (1 << 20) + 1, 1 << 40)] == [
        1 << 14,
        1 << 20,
        1 << 21,
        MEMORY,
    ]


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
        ({"/proc/self/cgroup": "0::/a\n", "/sys/fs/cgroup/a/cpu.max": "max 100000\n"}, None),
        (
            {
                "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000\n",
                "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            2.0,
        ),
        (
            {
                "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            None,
        ),
        ({}, None),
    ],
)
def test_quotas(files: dict[str, str], quota: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_read", lambda path: files.get(str(path), ""))
    assert doctor.cpu_quota() == quota


def network(width: int = 24) -> onnx.ModelProto:
    """[1,3,17,17] -> [1,10]: a convolution, a depthwise one, pooling, a product."""
    text = f"""net (float[N, 3, 17, 17] x) => (float[N, 10] y) {{
        a = Conv <pads = [1, 1, 1, 1]> (x, w0, b0)
        b = Relu(a)
        c = Conv <group = {width}, pads = [1, 1, 1, 1]> (b, w1)
        d = GlobalAveragePool(c)
        e = Flatten(d)
        y = Gemm(e, w2, b2)
    }}"""
    weights = {"w0": normal(width, 3, 3, 3), "b0": normal(width), "w1": normal(width, 1, 3, 3)}
    return parse(text, weights | {"w2": normal(width, 10), "b2": normal(10)})


def test_a_profile_lists_every_kernel_and_sums_to_the_run() -> None:
    model = network(64)
    found = profile(model, shapes={"x": (1, 3, 17, 17)}, runs=30)
    package = ingot.compile(model, shapes={"x": (1, 3, 17, 17)})
    assert {k.name for k in found.kernels} == {k["name"] for k in package.manifest["kernels"]}
    total = sum(k.seconds for k in found.kernels)
    assert 0.2 * found.seconds < total < 1.2 * found.seconds
    assert sum(found.kinds.values()) == pytest.approx(total)
    assert [k.seconds for k in found.kernels] == sorted((k.seconds for k in found.kernels), reverse=True)
    assert sum(k.calls for k in found.kernels) == sum(k["calls"] for k in package.manifest["kernels"])
    assert all(k.nodes and k.flops is not None and k.bytes for k in found.kernels)
    direct = 17 * 17 * 64 * 27 + 17 * 17 * 64 * 9 + 64 * 10
    assert package.manifest["macs"] == direct
    without_padding = direct - (51 * 51 - 49 * 49) * 64 * 3
    assert 2 * without_padding <= sum(k.flops or 0 for k in found.kernels) < 3 * direct
    json.dumps(found.to_dict())


def test_a_profile_counts_for_the_sizes_that_ran() -> None:
    one, three = (profile(network(), shapes={"x": (n, 3, 17, 17)}, runs=5) for n in (1, 3))
    assert sum(k.flops or 0 for k in three.kernels) == 3 * sum(k.flops or 0 for k in one.kernels)
    symbolic = profile(network(), inputs={"x": normal(3, 3, 17, 17)}, runs=5)
    assert sum(k.flops or 0 for k in symbolic.kernels) == sum(k.flops or 0 for k in three.kernels)


def test_winograd_counts_as_it_computes_and_as_the_model_says() -> None:
    text = (
        "net (float[1, 64, 28, 28] x) => (float[1, 64, 28, 28] y) { y = Conv <pads = [1, 1, 1, 1]> (x, w) }"
    )
    model = parse(text, {"w": normal(64, 64, 3, 3)})
    package = ingot.compile(model, target="avx2", emit="source", profile=True)
    assert "winograd" in " ".join(name for name, _ in package.report["steps"])
    assert package.manifest["macs"] == 28 * 28 * 64 * 64 * 9
    found = profile(model, runs=5)
    products = [k for k in found.kernels if k.kind == "dense"]
    assert sum(k.flops or 0 for k in products) < 2 * package.manifest["macs"]


def test_only_a_profile_has_clocks() -> None:
    plain, timed = (ingot.compile(network(), emit="source", profile=on) for on in (False, True))
    assert plain.files["net.c"] != timed.files["net.c"]
    assert b"clock" not in plain.files["net.c"]
    assert {**plain.files, "net.c": b""} == {**timed.files, "net.c": b""}
    assert plain.manifest == timed.manifest
    assert code_of(profile, plain) == "option-invalid"


def test_the_command_shows_a_profile(tmp_path: Path) -> None:
    onnx.save(network(), tmp_path / "net.onnx")
    words = ["bench", str(tmp_path / "net.onnx"), "--profile", "--runs", "5"]
    result = CliRunner().invoke(app, words, env={"COLUMNS": "160", "TERM": "dumb"})
    assert result.exit_code == 0, result.output
    assert "GFLOP/s" in result.output
    assert "in kernels: " in result.output
    told = json.loads(CliRunner().invoke(app, [*words, "--against", "none", "--json", "-"]).stdout)
    assert told["kernels"][0]["seconds"] > 0
    refused = CliRunner().invoke(app, [*words, "--against", "onnxruntime"])
    assert (refused.exit_code, "option-invalid" in refused.output) == (2, True)


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Adds a peer: its name and what opens a job."""

    def add(name: str, opens: Callable[..., Any], module: str = "json") -> None:
        peer = Peer((module,), "threads {threads}", lambda job: job.model, opens)
        monkeypatch.setitem(PEERS, name, peer)

    return add


def test_a_peer_that_is_missing_names_the_extra(fakes: Any) -> None:
    fakes("ghost", lambda job: None, module="no_such_module")
    with pytest.raises(IngotError, match=r"ingot\[bench\]") as caught:
        bench(network(), ["ghost"], shapes={"x": (1, 3, 17, 17)})
    assert caught.value.code == "peer-missing"
    assert code_of(bench, network(), ["abacus"]) == "peer-missing"


def test_peers_that_refuse_or_differ_are_named_and_not_timed(fakes: Any) -> None:
    def same(job: Job) -> Any:
        return lambda: reference(job.model, dict(job.feed))

    def refuse(job: Job) -> Any:
        os.write(1, b"nine lines of banner\n")
        raise ValueError("no such layer")

    def fail(job: Job) -> Any:
        return lambda: [][0]

    fakes("twin", same)
    fakes("odd", lambda job: lambda: [y + 1 for y in same(job)()])
    fakes("picky", refuse)
    fakes("broken", fail)
    names = ["twin", "odd", "picky", "broken"]
    report = bench(network(), names, shapes={"x": (1, 3, 17, 17)}, runs=10, threads=2)
    assert list(report.peers) == list(report.ratios) == ["twin"]
    assert report.best == "twin"
    assert report.settings["twin"] == "threads 2"
    assert set(report.skipped) == {"odd", "picky", "broken"}
    assert "disagree" in report.skipped["odd"]
    assert "no such layer; nine lines" in report.skipped["picky"]
    json.dumps(report.to_dict())
    assert code_of(bench, network(), ["odd", "picky"], shapes={"x": (1, 3, 17, 17)}) == "outputs-differ"
    alone = bench(network(), ["picky"], shapes={"x": (1, 3, 17, 17)}, runs=10)
    assert (alone.peers, alone.best, alone.to_dict()["ratio"]) == ({}, None, None)


@pytest.mark.parametrize("name", [name for name in PEERS if name != "litert"])
def test_what_a_peer_computes(name: str) -> None:
    peer = PEERS[name]
    if not peer.installed:
        pytest.skip(f"{name} is not installed: pip install 'ingot[{peer.extra}]'")
    model = network()
    (expected,) = reference(model, {"x": normal(1, 3, 17, 17)})
    job = Job(peers.model_file(model), {"x": normal(1, 3, 17, 17)}, {"y": (1, 10)}, 1)
    ready = ready_peer(name, job)
    assert ready_peer(name, job) == ready
    run = open_peer(name, ready)
    for _ in range(2):
        (actual,) = run()
        assert_close(np.array(actual), expected, CLOSE, reduction=1000)
    assert peer.version
    assert peer.library_bytes > 1 << 20


def test_litert_takes_its_own_files_alone() -> None:
    peer = PEERS["litert"]
    if not peer.installed:
        pytest.skip(f"litert is not installed: pip install 'ingot[{peer.extra}]'")
    job = Job(peers.model_file(network()), {"x": normal(1, 3, 17, 17)}, {"y": (1, 10)})
    assert code_of(ready_peer, "litert", job) == "peer-missing"


def scripts(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of bench/."""
    monkeypatch.syspath_prepend(ROOT / "bench")
    return importlib.import_module(name)


def a_result() -> dict[str, Any]:
    """Two models, one of them on two threads, one peer that differs from one of them."""

    def report(
        threads: int, ours: float, theirs: dict[str, float], skipped: dict[str, str]
    ) -> dict[str, Any]:
        return BenchReport(
            "net", "avx2", threads, {"x": [1]}, Timing(ours, ours, 2 * ours, 9),
            {name: Timing(t, t, t, 9) for name, t in theirs.items()}, dict.fromkeys(theirs, 0.0),
            10**6, 100e9, 30e9, 10**5, 90e9, {}, {}, skipped,
        ).to_dict()  # fmt: skip

    start = {
        "import": 0.1,
        "load": 0.001,
        "first": 0.001,
        "start": 0.002,
        "peak_bytes": 3 << 20,
        "base_bytes": 1 << 20,
    }
    build = {
        "library_bytes": 50_000, "weights_bytes": 1 << 20, "arena_bytes": 2000, "arena_lower_bound": 1900,
        "compile_seconds": 1.0,
    }  # fmt: skip
    differs = {"slow": "ingot and slow disagree: one | of them"}
    quick, slow = {"fast": 3e-5, "slow": 8e-5}, {"fast": 6e-5}
    models = {
        "mnist": {
            "build": build,
            "start": {"ingot": start, "fast": start},
            "times": {"1": report(1, 2e-5, quick, {}), "2": report(2, 1e-5, quick, {})},
        },
        "a<b": {"build": build, "start": {"ingot": start}, "times": {"1": report(1, 3e-5, slow, differs)}},
    }
    about = {"version": "1.0", "library_bytes": 5 << 20, "settings": "threads N"}
    return {
        "version": "0.1.0",
        "machine": {"cpu": "a processor", "cores": 2, "target": "avx2", "system": "Linux x86_64"},
        "peers": {"fast": about, "slow": about},
        "models": models,
    }


def test_results_as_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = scripts("tables", monkeypatch)
    text = tables.table(a_result())
    assert "| mnist | 20.0 µs (20.0 µs – 40.0 µs) | **1.50** | **30.0 µs** | 80.0 µs | 100.0 | 100% |" in text
    assert "| a<b | 30.0 µs (30.0 µs – 60.0 µs) | **2.00** | **60.0 µs** | differs | 66.7 | 67% |" in text
    assert "Geometric mean of the ratios: 1.73." in text
    assert "| mnist | 2.00 ms | 2.00 ms | – |" in text
    assert "| mnist | 49 KiB | 1.0 MiB | 2 KiB | 3.0 MiB | 3.0 MiB | – |" in text
    assert "- a<b: ingot and slow disagree" in text
    rows = [row for row in text.splitlines() if row.startswith("|")]
    assert all(row.endswith("|") for row in rows)
    assert tables.line("mnist", a_result()["models"]["mnist"]).endswith("3.00 x fast; starts in 2.00 ms")


def test_results_as_drawings(monkeypatch: pytest.MonkeyPatch) -> None:
    charts = scripts("charts", monkeypatch)
    empty = {**a_result(), "models": {}}
    for draw in (charts.ratio_chart, charts.roofline):
        root = ElementTree.fromstring(draw(a_result()))
        words = " ".join("".join(t.itertext()) for t in root.iter() if t.tag.endswith("}text"))
        assert {"mnist", "a<b"} <= set(words.split())
        ElementTree.fromstring(draw(empty))
    bars = [
        r for r in ElementTree.fromstring(charts.ratio_chart(a_result())).iter() if r.tag.endswith("}rect")
    ]
    widths = sorted(float(bar.attrib["width"]) for bar in bars if bar.attrib.get("height") == "11")
    assert widths[1] / widths[0] == pytest.approx(2 / 1.5, rel=0.01)


def test_marks_that_are_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    marks, catalogue = scripts("marks", monkeypatch), scripts("catalogue", monkeypatch)
    assert set(marks.RATIOS["f32"]) == set(catalogue.NAMES) >= set(marks.RATIOS["bf16"])
    assert set(catalogue.NAMES) <= set(catalogue.KNOWN)
    assert [catalogue.known(n) for n in ("mnist", "mnist@8", "mnist@", "mnist@x", "nist")] == [
        True,
        True,
        True,
        False,
        False,
    ]
    model = a_result()["models"]["mnist"]
    assert marks.missed("mnist", model, "avx512", "f32", False) == ["1.50 x fast, wanted 2.0"]
    assert marks.missed("mnist", model, "avx2", "f32", False) == []
    assert marks.missed("mnist", model, "avx512_bf16", "bf16", False) == []
    model["build"] |= {"library_bytes": 1 << 21, "arena_bytes": 9999}
    assert len(marks.missed("mnist", model, "avx2", "f32", False)) == 2


@pytest.mark.skipif(data_root() is None, reason="the real models are not here")
def test_the_bench_of_tuning_prints_both_times() -> None:
    command = [sys.executable, str(ROOT / "bench/tuning.py"), "mnist", "--tune", "1", "--seconds", "0.1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"mnist: \S+ ms, tuned for 1 s \S+ ms, \d\.\d{3} x\n", done.stdout)


@pytest.mark.skipif(data_root() is None, reason="the real models are not here")
def test_the_bench_runs_and_adds_to_its_results(tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(ROOT / "bench/bench.py"),
        "--quick",
        "--threads",
        "1",
        "--output",
        str(tmp_path),
    ]
    for name in ("mnist", "stories260k_1"):
        words = ["--models", name, "--against", "onnxruntime"]
        done = subprocess.run([*command, *words], capture_output=True, text=True, timeout=300)
        assert done.returncode in (0, 1), done.stderr
        assert f"{name}: 1 thread" in done.stdout, done.stdout + done.stderr
    results = json.loads((tmp_path / f"f32-{native().name}.json").read_text())
    assert set(results["models"]) == {"mnist", "stories260k_1"}
    report = results["models"]["mnist"]["times"]["1"]
    assert report["best"] == "onnxruntime"
    assert report["ingot"]["p10"] <= report["ingot"]["median"] <= report["ingot"]["p90"]
    assert results["models"]["mnist"]["start"]["ingot"]["peak_bytes"] > 1 << 20
    assert {f.name for f in tmp_path.iterdir()} == {
        f"f32-{native().name}.json",
        "table.md",
        "ratios.svg",
        "roofline.svg",
    }
