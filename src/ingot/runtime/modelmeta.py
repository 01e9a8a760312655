"""What the model that a package was made from says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ModelMeta:
    """The fields of `onnxruntime.ModelMetadata`, "" or empty where the model has none."""

    producer_name: str = ""
    graph_name: str = ""
    domain: str = ""
    description: str = ""
    graph_description: str = ""
    version: int = 0
    custom_metadata_map: dict[str, str] = field(default_factory=dict)


def model_meta(manifest: Mapping[str, Any]) -> ModelMeta:
    """Of a package's manifest; what it lacks or holds as another type is left empty."""
    model = manifest.get("model")
    model = model if isinstance(model, dict) else {}
    text = {
        field: value if isinstance(value := model.get(key), str) else ""
        for field, key in (
            ("producer_name", "producer"),
            ("graph_name", "graph"),
            ("domain", "domain"),
            ("description", "description"),
            ("graph_description", "graph_description"),
        )
    }
    version, properties = model.get("version"), model.get("metadata")
    return ModelMeta(
        **text,
        version=version if isinstance(version, int) else 0,
        custom_metadata_map={str(key): str(value) for key, value in properties.items()}
        if isinstance(properties, dict)
        else {},
    )
