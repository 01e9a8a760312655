"""Networks of TensorFlow in FOLDER, each with inputs and TensorFlow's outputs: `PYTHON make_tensorflow.py FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2


def cnn() -> Any:
    x = keras.Input((16, 16, 3), name="image")
    y = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(x)
    y = layers.BatchNormalization(beta_initializer="random_normal", moving_mean_initializer="random_normal")(
        y
    )
    y = layers.ReLU(6)(y)
    z = layers.DepthwiseConv2D(3, padding="same")(y)
    y = layers.MaxPooling2D()(layers.Add()([y, layers.BatchNormalization()(z)]))
    y = layers.GlobalAveragePooling2D()(y)
    return keras.Model(x, layers.Dense(5, activation="softmax", name="scores")(y))


def lstm() -> Any:
    x = keras.Input((7, 4), name="steps")
    y = layers.Bidirectional(layers.LSTM(6, return_sequences=True))(x)
    y = layers.LSTM(5)(y)
    return keras.Model(x, layers.Dense(3)(y))


def gru() -> Any:
    x = keras.Input((7, 4), name="steps")
    return keras.Model(x, layers.GRU(5)(x))


def attention() -> Any:
    tokens = keras.Input((9,), dtype="int32", name="tokens")
    gain = keras.Input((1,), name="gain")
    x = layers.Embedding(20, 16)(tokens)
    y = layers.MultiHeadAttention(4, 4)(x, x, use_causal_mask=True)
    x = layers.LayerNormalization()(x + y)
    y = layers.Dense(16)(layers.Dense(32, activation="gelu")(x))
    x = layers.LayerNormalization(name="hidden")(x + y)
    pooled = layers.Multiply(name="alpha")([layers.GlobalAveragePooling1D()(x), gain])
    return keras.Model([tokens, gain], [x, pooled])


class Control(tf.Module):
    """A branch on a value of the input, and a loop whose length it gives."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = tf.Variable(np.eye(4, dtype=np.float32) * 0.5 + 0.1)

    @tf.function(input_signature=[tf.TensorSpec((2, 4), name="x"), tf.TensorSpec((), tf.int32, name="n")])
    def __call__(self, x: tf.Tensor, n: tf.Tensor) -> dict[str, tf.Tensor]:
        if tf.reduce_sum(x) > 0:
            y = tf.matmul(x, self.weights)
        else:
            y = x - 1.0
        while n > 0:
            y = tf.tanh(tf.matmul(y, self.weights))
            n -= 1
        return {"y": y}


def feed(model: Any, batch: int = 3) -> dict[str, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    found = {}
    for value in model.inputs:
        shape = [batch if size is None else size for size in value.shape]
        if value.dtype == "int32":
            found[value.name] = rng.integers(0, 20, shape).astype(np.int32)
        else:
            found[value.name] = rng.standard_normal(shape).astype(np.float32)
    return found


def keep(path: Path, inputs: dict[str, Any], outputs: list[Any]) -> None:
    arrays = {f"in:{name}": value for name, value in inputs.items()}
    np.savez(path, **arrays, **{f"out:{place}": np.asarray(value) for place, value in enumerate(outputs)})


def main(folder: Path) -> None:
    keras.utils.set_random_seed(0)
    for name, make in {"cnn": cnn, "lstm": lstm, "gru": gru, "attention": attention}.items():
        model = make()
        inputs = feed(model)
        outputs = tf.nest.flatten(
            model(list(inputs.values()) if len(inputs) > 1 else inputs[model.inputs[0].name])
        )
        keep(folder / f"{name}.npz", inputs, outputs)
        model.save(folder / f"{name}.keras")
        model.save(folder / f"{name}.h5")
        model.export(folder / name, verbose=False)
        if name == "cnn":
            signature = [tf.TensorSpec(value.shape, value.dtype, value.name) for value in model.inputs]
            function = tf.function(lambda x, model=model: model(x, training=False))
            frozen = convert_variables_to_constants_v2(function.get_concrete_function(*signature))
            tf.io.write_graph(frozen.graph, str(folder), "cnn.pb", as_text=False)
    control = Control()
    tf.saved_model.save(control, folder / "control", signatures=control.__call__)
    for name, sign, count in (("then", 1, 3), ("else", -1, 0)):
        inputs: dict[str, Any] = {
            "x": sign * np.arange(8, dtype=np.float32).reshape(2, 4) / 8,
            "n": np.int32(count),
        }
        keep(folder / f"control_{name}.npz", inputs, [control(**inputs)["y"]])
    x = keras.Input((2,))
    model = keras.Model(x, layers.Lambda(lambda x: x + 1)(x))
    model.save(folder / "lambda.keras")
    model.save(folder / "lambda.h5")
    odd = tf.Module()
    odd.beta = tf.function(lambda x: tf.math.betainc(x, x, x), [tf.TensorSpec((3,))])
    tf.saved_model.save(odd, folder / "betainc", signatures=odd.beta)


main(Path(sys.argv[1]))
