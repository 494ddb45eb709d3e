"""Session options an ONNX file asks for: what its export found to be needed for right or quick answers.

They stand in the file's metadata under `keronyx.session_options` as JSON, every part optional:
`{"disabled_optimizers": ["Pad_Fusion"], "config": {"session.intra_op.allow_spinning": "0"},
"graph_optimization_level": "all"}` (all, layout, extended, basic or off).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keronyx.errors import UnavailableError
from keronyx.protobuf import fields

KEY = "keronyx.session_options"

METADATA = 14
"""Number of `metadata_props` among the fields of ONNX' ModelProto; an entry has its key in field 1, its value in 2."""

LEVELS = {
    "off": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "layout": "ORT_ENABLE_LAYOUT",
    "all": "ORT_ENABLE_ALL",
}

CONFIG = ("session.intra_op.", "session.inter_op.", "session.set_denormal_as_zero", "optimization.", "mlas.")
"""What the keys a file may set begin with. Others load libraries or write files, which a model file may not ask for."""


@dataclass(frozen=True)
class Recorded:
    """What a file asks for; nothing by default."""

    disabled_optimizers: tuple[str, ...] = ()
    config: dict[str, str] = field(default_factory=dict)
    level: str | None = None

    def set_on(self, options: Any) -> None:
        """Put level and configuration into an `onnxruntime.SessionOptions`."""
        import onnxruntime

        for key, value in self.config.items():
            options.add_session_config_entry(key, value)
        if self.level is not None:
            options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, LEVELS[self.level])


def recorded(path: Path) -> Recorded:
    """What the file at `path` asks for.

    Raises:
        UnavailableError: it asks for something keronyx does not know, or does not set for a file.
    """
    text = metadata(path).get(KEY)
    if text is None:
        return Recorded()
    try:
        said = json.loads(text)
        unknown = sorted(said.keys() - {"disabled_optimizers", "config", "graph_optimization_level"})
        disabled = tuple(str(name) for name in said.get("disabled_optimizers", ()))
        config = {str(key): str(value) for key, value in said.get("config", {}).items()}
        level = said.get("graph_optimization_level")
    except (ValueError, AttributeError, TypeError) as error:
        raise _not_understood("is no JSON object of options") from error
    unknown += sorted(key for key in config if not key.startswith(CONFIG))
    if level is not None and level not in LEVELS:
        unknown.append(str(level))
    if unknown:
        raise _not_understood(f"has {', '.join(unknown)}")
    return Recorded(disabled, config, level)


def metadata(path: Path) -> dict[str, str]:
    """The metadata of an ONNX file, read past its graph, which stays on disk."""
    found = {}
    with path.open("rb") as file:
        end = path.stat().st_size
        for number, start, size in fields(file, end):
            if number == METADATA:
                parts = {}
                for inner, at, length in fields(file, start + size):
                    file.seek(at)
                    parts[inner] = file.read(length).decode(errors="replace")
                found[parts.get(1, "")] = parts.get(2, "")
                file.seek(start + size)
    return found


def _not_understood(what: str) -> UnavailableError:
    return UnavailableError(f"the ONNX file's {KEY} {what}", "export it again with this keronyx")
