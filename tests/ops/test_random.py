"""What random operators promise beyond their numbers: their distributions, and bits that depend on nothing else."""

from __future__ import annotations

import numpy as np
import onnx.parser
import pytest
from case import case

import ingot
from ingot.runtime import load

COUNT = 1 << 16


def run(text: str, **feeds: np.ndarray) -> list[np.ndarray]:
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> g {text}')
    return list(load(ingot.compile(model)).run(None, feeds))


def test_nodes_without_a_seed_differ_and_runs_repeat() -> None:
    text = "(float[1] x) => (float[9] y, float[9] z) { y = RandomUniform<shape=[9]>()  z = RandomUniform<shape=[9]>() }"
    y, z = run(text, x=np.zeros(1, np.float32))
    assert (y != z).all()
    again = run(text, x=np.zeros(1, np.float32))
    assert np.array_equal(again, [y, z])


def test_the_number_of_threads_does_not_change_a_bit() -> None:
    model = case("noise", "float[1] x", f"y = RandomNormal<shape=[{COUNT}]>()").model
    package = ingot.compile(model)
    x = np.zeros(1, np.float32)
    one, two = (load(package, threads=n).run(None, {"x": x})[0] for n in (1, 2))
    assert one.tobytes() == two.tobytes()


@pytest.mark.parametrize("dtype", [1, 11])
def test_moments(dtype: int) -> None:
    """Within five standard errors of the distributions' own."""
    kind = {1: "float", 11: "double"}[dtype]
    u, n = run(
        f"(float[1] x) => ({kind}[{COUNT}] u, {kind}[{COUNT}] n) {{ u = RandomUniform<shape=[{COUNT}],dtype={dtype}>() "
        f"n = RandomNormal<shape=[{COUNT}],dtype={dtype}>() }}",
        x=np.zeros(1, np.float32),
    )
    assert ((u >= 0) & (u < 1)).all()
    error = 5 / np.sqrt(COUNT)
    assert abs(u.mean() - 0.5) < error * np.sqrt(1 / 12)
    assert abs(np.mean(u[1:] * u[:-1]) - 0.25) < error * np.sqrt(7 / 144)
    assert abs(n.mean()) < error
    assert abs(np.mean(n**2) - 1) < error * np.sqrt(2)
    assert abs(np.mean(n[1:] * n[:-1])) < error


def test_multinomial_draws_classes_by_their_probabilities() -> None:
    p = np.array([[0.1, 0.6, 0.0, 0.3]], np.float32)
    with np.errstate(divide="ignore"):
        logits = np.log(p)
    (y,) = run(
        f"(float[1,4] x) => (int32[1,{COUNT}] y) {{ y = Multinomial<sample_size={COUNT}>(x) }}", x=logits
    )
    found = np.bincount(y[0], minlength=4) / COUNT
    assert (np.abs(found - p[0]) <= 5 * np.sqrt(p[0] * (1 - p[0]) / COUNT)).all()
