"""Exit codes: what they are, which is the gravest, how `--help` explains them."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes, as the documentation states them."""

    DONE = 0
    ERROR = 1
    USAGE = 2
    ROW = 3
    PARITY = 4
    UNTRUSTED = 5
    INTERRUPTED = 130


EPILOG = (
    "Exit codes: 0 done; 1 error; 2 usage; 3 a requested row failed, fell back, timed out, could not be "
    "checked or (--strict) was unavailable; 4 a parity gate failed while measuring (when export's gates refuse a file: "
    "1); 5 (--strict) the measurement is not trusted, or compare found a regression; 130 interrupted."
)


def severity(code: Exit) -> int:
    """Place in the order in which exit codes of several models compete; the highest decides."""
    return [Exit.DONE, Exit.UNTRUSTED, Exit.ROW, Exit.PARITY, Exit.ERROR, Exit.INTERRUPTED].index(code)
