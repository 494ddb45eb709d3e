"""Reports as JSON files: written atomically, read strictly.

The file is UTF-8 JSON in the order of the dataclasses' fields, indented, with each list of plain values on one line,
so that two reports can be compared with `diff`. Raw samples are kept; no statistic is stored.
JSON has no NaN or infinity: such a number is written as `{"float": "nan"}`.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Callable
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keronyx.errors import ReportError, UnwritableError
from keronyx.profiles import wording
from keronyx.types import SCHEMA, Report, Samples

if TYPE_CHECKING:
    from pydantic import TypeAdapter

LARGEST = 256 * 2**20
"""Bytes of the largest report that is read."""


def _from_1(data: dict[str, Any]) -> dict[str, Any]:
    """Schema 2 names settings (`b8`) where schema 1 had batch sizes; what it did not know takes its default."""
    plan = data.get("plan")
    if isinstance(plan, dict) and isinstance(plan.get("reference"), dict):
        data = {**data, "plan": {**plan, "reference": {f"b{batch}": row for batch, row in plan["reference"].items()}}}
    control = data.get("control")
    if isinstance(control, dict):
        data = {**data, "control": {f"b{batch}": samples for batch, samples in control.items()}}
    rows, rounds = data.get("rows"), data.get("rounds")
    if isinstance(rows, list) and isinstance(rounds, list):
        batches = {row.get("id"): row.get("batch") for row in rows if isinstance(row, dict)}
        data = {**data, "rounds": [_with_setting(one, batches) for one in rounds]}
    return {**data, "schema": 2}


def _with_setting(reading: Any, batches: dict[Any, Any]) -> Any:
    """A round of schema 1 with the setting that its rows belong to."""
    if not isinstance(reading, dict) or not isinstance(reading.get("order"), list):
        return reading
    batch = next((batches[row] for row in reading["order"] if isinstance(row, str) and row in batches), 1)
    return {**reading, "setting": f"b{batch}"}


def _from_2(data: dict[str, Any]) -> dict[str, Any]:
    """Schema 3 judges errors by a float64 oracle and adds scores on labelled data; a run of schema 2 has neither."""
    return {**data, "schema": 3}


UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _from_1, 2: _from_2}
"""For each older schema number, what turns its data into the next number's."""


# --- writing --------------------------------------------------------------------------------------------------------


def save(report: Report, path: str | Path) -> None:
    """Write `report` to `path` as JSON, replacing what is there. Raises UnwritableError when it cannot be written."""
    write(path, dumps(report))


def write(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8 to a temporary file beside `path`, then rename it: a reader sees the old file or the new.

    Folders on the way are made. Raises UnwritableError when it cannot be written.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "xb") as file:
                # A name from a file system may hold half a surrogate pair, which is not Unicode text.
                file.write(text.encode("utf-8", "replace"))
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UnwritableError(f"{target} cannot be written: {reason}", "name another file with -o") from error


def dumps(report: Report) -> str:
    """The JSON text of a report, ending in a newline."""
    return text_of(report)


def text_of(data: Any) -> str:
    """The JSON text of a dataclass, ending in a newline."""
    return _json(data, "") + "\n"


def _json(value: Any, indent: str) -> str:
    inner = indent + " "
    if dataclasses.is_dataclass(value):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        items = [
            f"{inner}{json.dumps(str(key), ensure_ascii=False)}: {_json(item, inner)}" for key, item in value.items()
        ]
        return "{\n" + ",\n".join(items) + f"\n{indent}}}" if items else "{}"
    if isinstance(value, tuple | list):
        if any(isinstance(item, tuple | list | dict) or dataclasses.is_dataclass(item) for item in value):
            return "[\n" + ",\n".join(inner + _json(item, inner) for item in value) + f"\n{indent}]"
        return "[" + ", ".join(_json(item, inner) for item in value) + "]"
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        value = {"float": repr(value)}
    return json.dumps(value, ensure_ascii=False)


# --- reading --------------------------------------------------------------------------------------------------------


def load(path: str | Path) -> Report:
    """Read a report. Raises ReportError, in one line, for anything but a sound report of a schema known here."""
    return loads(_read(Path(path)), str(path))


def _read(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise ReportError(f"{path} is not a file", "name the .json file that `keronyx profile -o` wrote")
        with open(path, "rb") as file:
            raw = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        raise ReportError(f"{path} cannot be read: {error}", "check the path and its permissions") from error
    if len(raw) > LARGEST:
        raise ReportError(f"{path} is larger than {LARGEST // 2**20} MiB", "profile with fewer rounds or rows")
    return raw


def loads(raw: bytes, name: str = "report") -> Report:
    """The report in JSON bytes; `name` is what errors call it. Raises ReportError as `load` does."""
    again = "profile again, or render with the version that wrote it"
    try:
        data = json.loads(raw, object_hook=not_finite)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else wording.clean(str(error))
        raise ReportError(f"{name} is not a keronyx report: not JSON, or cut off ({reason})", again) from error

    if not isinstance(data, dict) or "schema" not in data:
        raise ReportError(f"{name} is not a keronyx report: it has no schema number", again)
    schema = data["schema"]
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise ReportError(f"{name} is not a keronyx report: its schema is {_short(schema)}, not a number", again)
    if schema > SCHEMA:
        version = data.get("keronyx")
        writer = f"keronyx {_short(version)[1:-1]}" if isinstance(version, str) else "a newer keronyx"
        raise ReportError(
            f"{name} was written by {writer} (schema {_short(schema)}); this one reads up to {SCHEMA}",
            "install that version of keronyx, or a newer one",
        )
    while schema < SCHEMA:
        if schema not in UPGRADES:
            raise ReportError(f"{name} has schema {schema}, which this keronyx no longer reads", again)
        data = UPGRADES[schema](data)
        schema += 1
    return _validated(data, name, again)


def not_finite(found: dict[str, Any]) -> Any:
    """A number JSON cannot hold, from the object it is stored as."""
    if found.keys() == {"float"} and found["float"] in ("nan", "inf", "-inf"):
        return float(found["float"])
    return found


def _short(value: object) -> str:
    text = wording.clean(repr(value)[:200])
    return text if len(text) <= 60 else text[:59] + "…"


def _validated(data: dict[str, Any], name: str, remedy: str) -> Report:
    from pydantic import ValidationError

    version = data.get("keronyx")
    writer = f" (written by keronyx {_short(version)[1:-1]})" if isinstance(version, str) else ""
    try:
        report = _adapter().validate_json(json.dumps([data]))[0]
    except ValidationError as error:
        first, *others = error.errors(include_url=False, include_context=False)
        where = ".".join(str(part) for part in first["loc"][1:])
        more = f", and {len(others)} more" if others else ""
        message = f"{name} is damaged{writer}: {_short(where)[1:-1]}: {first['msg']}{more}"
        raise ReportError(wording.clean(message), remedy) from error
    every = [row.samples for row in report.rows] + list(report.control.values())
    if not all(_sound(samples) for samples in every):
        raise ReportError(f"{name} is damaged{writer}: samples outside 0..2**63 ns", remedy)
    return report


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[tuple[Report]]:
    from pydantic import ConfigDict, TypeAdapter

    # pydantic hands the configuration down to standard dataclasses only from a type that has none of its own
    return TypeAdapter(tuple[Report], config=ConfigDict(strict=True, extra="forbid"))


def _sound(samples: Samples) -> bool:
    calls = [call for kind in (samples.wall_ns, samples.cpu_ns) for one in kind for call in one]
    turns = [*samples.waited_ns, *samples.switches, *samples.window_ns, *samples.window_calls]
    return all(0 <= value < 2**63 for value in (*calls, *turns) if value is not None)
