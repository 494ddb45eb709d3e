"""The exit code of a finished run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keronyx.exit_codes import Exit

if TYPE_CHECKING:
    from keronyx.types import Report


def verdict(measured: Report, strict: bool) -> Exit:
    """What a finished run's exit code is; the gravest applies."""
    from keronyx.profiles.ranking import parity_failed
    from keronyx.profiles.trust import trusted
    from keronyx.types import TIMED, Status

    statuses = {row.status for row in measured.rows}
    if measured.stopped == "interrupted":
        return Exit.INTERRUPTED
    if any(parity_failed(row) for row in measured.rows):
        return Exit.PARITY
    if statuses & {Status.FAILED, Status.FELL_BACK, Status.TIMEOUT} or (strict and Status.UNAVAILABLE in statuses):
        return Exit.ROW
    if any(row.status in TIMED and row.parity is None for row in measured.rows):
        return Exit.ROW
    if strict and not trusted(measured)[0]:
        return Exit.UNTRUSTED
    return Exit.DONE
