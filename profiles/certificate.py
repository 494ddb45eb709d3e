"""The certificate of a `parity` run: as JSON, read strictly, and as a table."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from keronyx import accuracy
from keronyx.errors import ReportError
from keronyx.profiles import notes, store, wording
from keronyx.profiles.grid import Grid
from keronyx.types import CERTIFICATE_SCHEMA, TIMED, Bisection, Certificate, Row, TaskScore, Verdict

if TYPE_CHECKING:
    from pydantic import TypeAdapter

LARGEST = 16 * 2**20
"""Bytes of the largest certificate that is read."""

COLUMNS = ("row", "status", "parity", "vs Keras' error", "largest error", "class changes", "task", "note")


def save(certificate: Certificate, path: str | Path) -> None:
    """Write it as JSON, replacing what is there. Raises UnwritableError."""
    store.write(path, dumps(certificate))


def dumps(certificate: Certificate) -> str:
    """Its JSON text, ending in a newline."""
    return store.text_of(certificate)


def load(path: str | Path) -> Certificate:
    """Read one. Raises ReportError, in one line, for anything else."""
    from pydantic import ValidationError

    again = "check the model again with `keronyx parity -o`"
    try:
        raw = Path(path).read_bytes()
        if len(raw) > LARGEST:
            raise ReportError(f"{path} is larger than {LARGEST // 2**20} MiB", again)
        data = json.loads(raw, object_hook=store.not_finite)
        if not isinstance(data, dict) or data.get("schema") != CERTIFICATE_SCHEMA or "inputs_sha256" not in data:
            raise ReportError(f"{path} is no certificate of schema {CERTIFICATE_SCHEMA}", again)
        return _adapter().validate_json(json.dumps([data]))[0]
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        raise ReportError(wording.clean(f"{path} is damaged: {where}: {first['msg']}"), again) from error
    except (OSError, ValueError, RecursionError) as error:
        raise ReportError(wording.clean(f"{path} cannot be read as a certificate: {error}"), again) from error


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[tuple[Certificate]]:
    from pydantic import ConfigDict, TypeAdapter

    return TypeAdapter(tuple[Certificate], config=ConfigDict(strict=True, extra="forbid"))


def title(certificate: Certificate) -> str:
    """`unet:16 · 1x320x400x3 float32 · 1,968,931 parameters · 4 inputs: procedural road scenes`."""
    model = certificate.model
    shapes = ", ".join(wording.tensor(tensor) for tensor in model.inputs)
    return wording.clean(f"{model.name} · {shapes} · {model.parameters:,} parameters · {certificate.inputs}")


def tables(certificate: Certificate) -> list[Grid]:
    """All there is to show: rows, scores where some were taken, layers where they were asked for."""
    found = [grid(certificate)]
    if any(row.parity is not None and row.parity.task for row in certificate.rows):
        found.append(scores(certificate))
    return found + ([layers(certificate.bisection)] if certificate.bisection is not None else [])


def grid(certificate: Certificate) -> Grid:
    """A line for every row, with what decided its verdict."""
    checked = [row.parity for row in certificate.rows if row.parity is not None]
    said = []
    if checked:
        of = " or ".join(sorted({parity.yardstick for parity in checked if parity.yardstick})) or "the given tolerances"
        said.append(f"errors are taken to: {checked[0].reference}; judged by: {of}")
    if certificate.data:
        drop = certificate.limits.get("max_drop", 0.0)
        said.append(f"task: {certificate.metric or 'scores'} on {certificate.data}, at most {drop:g} below Keras")
    said += [f"note: {warning}" for warning in certificate.warnings]
    return Grid(COLUMNS, tuple(_line(row) for row in certificate.rows), tuple(map(wording.clean, said)), words=1)


def scores(certificate: Certificate) -> Grid:
    """Keras' own scores, and what every row differs from them; empty where none was taken."""
    scored = [(row, row.parity.task) for row in certificate.rows if row.parity is not None and row.parity.task]
    if not scored:
        return Grid((), ())
    first = scored[0][1]
    lines = [("Keras", *(f"{score.reference:.4f}" for score in first))]
    lines += [(wording.label(row), *(_change(score) for score in task)) for row, task in scored]
    notes = (f"differences to Keras in units of 1e-4, over {first[0].images} items; intervals are in the JSON",)
    return Grid(("score", *(wording.clean(score.name) for score in first)), tuple(lines), notes)


def _change(score: TaskScore) -> str:
    """`-0.12`: the difference to Keras in units of 1e-4."""
    return f"{1e4 * (score.value - score.reference):+.2f}"


def layers(bisection: Bisection) -> Grid:
    """The layers that go wrong, those that amplify most first; no rows where none does."""
    departing = bisection.departing()
    rows = tuple(
        (
            wording.clean(one.layer),
            wording.clean(one.class_name),
            wording.scientific(one.error),
            wording.scientific(one.keras_error),
            "" if one.ratio is None else f"{wording.number(one.ratio, 2)}x",
            "" if one.amplification is None else f"{wording.number(one.amplification, 2)}x",
            wording.clean(one.verdict + (f", or {' or '.join(one.one_with)}" if one.one_with else "")),
        )
        for one in departing
    )
    compared = sum(one.ratio is not None for one in bisection.layers)
    said = [
        f"bisect: {bisection.guilty} is the first layer that goes wrong, of {compared} compared"
        if bisection.guilty
        else f"bisect: none of {compared} compared layers goes wrong"
    ]
    if bisection.optimizers:
        said.append(
            f"bisect: ONNX Runtime's {', '.join(bisection.optimizers)} spoils the file; do without: "
            f"{bisection.session_option}"
        )
    said.append(f"bisect: {bisection.seconds:.0f} s")
    columns = ("layer", "class", "error", "Keras' error", "ratio", "amplified", "verdict")
    return Grid(columns, rows, tuple(map(wording.clean, said)), words=1)


def _line(row: Row) -> tuple[str, ...]:
    parity = row.parity
    if parity is None:
        why = "not checked" if row.status in TIMED else notes.why_absent(row)
        return (wording.label(row), row.status.value, "-", "", "", "", "", wording.clean(why))
    failed = [gate for gate in parity.gates if gate.verdict is Verdict.FAIL]
    values = [output for output in parity.outputs if not output.view]
    flips = max((o.argmax_flips for o in values if o.argmax_flips is not None), default=None)
    ratio = "" if parity.ratio is None else f"{wording.number(parity.ratio, 2)}x"
    task = next((gate for gate in parity.gates if gate.name == "task"), None)
    note = "; ".join(f"{gate.name}: {gate.detail}" for gate in failed) or _remark(row)
    return (
        wording.label(row),
        row.status.value,
        f"FAIL {', '.join(gate.name for gate in failed)}" if failed else parity.verdict.value,
        ratio,
        wording.scientific(max((output.max_abs for output in values), default=None)),
        "" if flips is None else wording.share(flips),
        "" if task is None else {"not run": "undecided"}.get(task.verdict.value, task.verdict.value),
        wording.clean(note),
    )


def _remark(row: Row) -> str:
    assert row.parity is not None
    task = next((gate.detail for gate in row.parity.gates if gate.name == "task"), "")
    exact = "" if row.parity.ratio is None else accuracy.exactness(row.parity.ratio)
    return "; ".join(part for part in (exact, task, *row.warnings) if part)
