"""How names and figures are written, the same in every format. A figure that is not there is an empty text."""

from __future__ import annotations

import math

from keronyx.profiles.stats import Estimate
from keronyx.types import Row, TensorSpec

LONGEST = 400
"""Characters of one text that are shown; the JSON keeps the rest."""


def clean(text: str) -> str:
    """`text` on one line, without control, bidirectional, invisible or surrogate characters, and of bounded length.

    Names of layers, models and packages come from files nobody vouches for: an escape sequence in one must not reach
    a terminal, a right-to-left override must not turn a sentence around.
    """
    text = one_line(text)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def one_line(text: str) -> str:
    """As `clean`, of any length."""
    if text.isprintable():
        return text
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _decimals(value: float, digits: int) -> int:
    """Decimals that show `digits` significant digits of `value`."""
    if not math.isfinite(value) or value == 0:
        return 0
    return max(0, digits - 1 - math.floor(math.log10(abs(value))))


def number(value: float | None, digits: int = 4) -> str:
    """`digits` significant digits, thousands separated: 110.3, 0.03124, 1,234."""
    return "" if value is None else f"{value:,.{min(_decimals(value, digits), 9)}f}"


def seconds(value: float | None) -> str:
    """12, 1.2 or 0.05 (seconds)."""
    return number(value, 2)


def share(value: float | None) -> str:
    """0.001 as 0.1 %."""
    return "" if value is None else f"{100 * value:.1f} %"


def scientific(value: float | None) -> str:
    """One significant digit: 2e-07."""
    return "" if value is None else f"{value:.0e}"


def milliseconds(found: Estimate | None) -> str:
    """`110.3 [108.9, 112.0]`; no interval where there is none."""
    if found is None:
        return ""
    decimals = min(_decimals(found.value, 4 if found.value >= 1 else 3), 9)
    if found.interval is None:
        return f"{found.value:,.{decimals}f}"
    return f"{found.value:,.{decimals}f} [{found.interval.low:,.{decimals}f}, {found.interval.high:,.{decimals}f}]"


def ratio(found: Estimate | None, suffix: str = "x", digits: int = 3) -> str:
    """`1.71x [1.66, 1.75]`; with `suffix=""` and `digits=4` an A/A' ratio: `1.004 [0.991, 1.020]`."""
    if found is None:
        return ""
    decimals = min(_decimals(found.value, digits), 9)
    if found.interval is None:
        return f"{found.value:,.{decimals}f}{suffix}"
    low, high = found.interval.low, found.interval.high
    return f"{found.value:,.{decimals}f}{suffix} [{low:,.{decimals}f}, {high:,.{decimals}f}]"


def tensor(spec: TensorSpec) -> str:
    """`1x320x400x3 float32`, with ? for a dynamic dimension; `scalar float32`."""
    shape = "x".join("?" if size is None else str(size) for size in spec.shape)
    return clean(f"{shape or 'scalar'} {spec.dtype}")


def several(items: tuple[str, ...], shown: int = 3) -> str:
    """`a, b, c and 4 more`."""
    rest = len(items) - shown
    return ", ".join(items[:shown]) + (f" and {rest} more" if rest > 0 else "")


def setting(row: Row) -> str:
    """`batch 8`, `batch 8, 2 threads`, `batch 1, 4 callers`."""
    threads = f", {row.threads} thread" + ("" if row.threads == 1 else "s") if row.threads else ""
    return f"batch {row.batch}{threads}" + (f", {row.concurrency} callers" if row.concurrency > 1 else "")


def label(row: Row, precision: bool = False, settings: bool = False) -> str:
    """`ort/cpu`, with precision and setting where a report holds more than one of them."""
    parts = [row.runtime, row.provider]
    if precision:
        parts.append(row.precision)
    if settings:
        parts.append(setting(row))
    return clean("/".join(parts))
