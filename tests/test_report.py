"""What reports are made of: pictures, inputs, classes, timings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ingot.errors import IngotError
from ingot.report import doctor
from ingot.report.bench import BenchReport, Timing, _difference, interleave
from ingot.report.build import parse_bytes
from ingot.report.inference import best_classes, save_outputs
from ingot.report.inputs import bind_symbols, make_inputs, parse_inputs, parse_shapes
from ingot.report.peak import peak_flops, read_bandwidth
from ingot.report.pictures import PRESETS, Preprocess, for_input, load_picture, preprocess_of
from ingot.runtime.ports import Port
from ingot.target import native
from ingot.testing import EXACT, assert_close


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
