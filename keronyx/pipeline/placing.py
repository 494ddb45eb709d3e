"""Where a row's nodes ran decides what it may claim."""

from __future__ import annotations

from dataclasses import replace

from keronyx.types import Row, Samples, Status


def judge_placement(row: Row) -> Row:
    """OK, PARTIAL or FELL_BACK by where the nodes went: assigned at load, executed where a profile tells.

    Either account is enough to take the OK away; it takes both to keep it.
    """
    placement = row.placement
    for shares in (placement.executed, placement.assigned):
        if shares and not shares.get(row.provider):
            others = ", ".join(sorted(shares))
            return replace(
                row,
                status=Status.FELL_BACK,
                reason=f"no node ran on {row.provider}: all ran on {others}",
                remedy="",
                samples=Samples(),  # another provider's time must not stand under this one's name
            )
    elsewhere = {*placement.assigned, *placement.executed} - {row.provider}
    return replace(row, status=Status.PARTIAL if elsewhere else Status.OK)
