"""The texts of command-line options -> values. Each raises UsageError with an example of what it accepts."""

from __future__ import annotations

import re

from keronyx.errors import UsageError


def names(text: str, option: str) -> tuple[str, ...]:
    """`cuda, cpu` -> its parts; `option` is what the message calls it."""
    parts = tuple(part.strip() for part in text.split(",") if part.strip())
    if not parts:
        raise UsageError(f"{option} is empty")
    return parts


def positive(text: str, option: str) -> int:
    """A whole number above zero."""
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"{option} must be a whole number above zero, not {text!r}")
    return int(text)


def numbers(text: str, option: str) -> tuple[int, ...]:
    """`1,2,4` -> whole numbers above zero, each once, in the order given."""
    return tuple(dict.fromkeys(positive(part, option) for part in names(text, option)))


def thread_counts(text: str) -> tuple[int, ...]:
    """`0,2` -> thread counts; 0 is all usable cores."""
    return tuple(0 if part == "0" else positive(part, "--threads") for part in names(text, "--threads"))


def duration(text: str, option: str) -> float:
    """Seconds in `90`, `60s`, `1.5m` or `1h`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|min|h)?", text.strip())
    if not match or float(match[1]) == 0:
        raise UsageError(f"{option} must be a time above zero, not {text!r}", "for example 60s or 5m")
    return float(match[1]) * {"s": 1, "m": 60, "min": 60, "h": 3600}[match[2] or "s"]


def percent(text: str, option: str) -> float:
    """A share (0.05) in `5%` or `5`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%?", text.strip())
    if not match:
        raise UsageError(f"{option} must be a percentage, not {text!r}", "for example 5%")
    return float(match[1]) / 100


def size(text: str | None, option: str = "--image-size") -> tuple[int, int] | None:
    """Height and width in `320x400`."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match or "0" in (match[1], match[2]):
        raise UsageError(f"{option} must be HEIGHTxWIDTH, not {text!r}", "for example 320x400")
    return int(match[1]), int(match[2])
