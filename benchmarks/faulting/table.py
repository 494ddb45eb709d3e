"""Outcomes counted: fault by gate, fault by network, what no gate saw, and rows without a fault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.faulting.catalogue import BY_NAME, FAULTS, NONE
from benchmarks.faulting.correct import CorrectRow
from benchmarks.faulting.trials import COMPARED, COSINE, GATES, INPUTS, MAX_DROP, TOLERANCE, Outcome
from keronyx import accuracy

LOWER = (7.0, 5.0, 4.0, accuracy.EXACT)
"""Limits of the ratio to compare with."""


@dataclass(frozen=True)
class Trial:
    """One outcome and where it is from."""

    network: str
    fault: str
    seed: int
    outcome: Outcome


def page(trials: Sequence[Trial], rows: Sequence[CorrectRow], weights: Mapping[str, str], said: Sequence[str]) -> str:
    """The measured part of docs/parity.md.

    Args:
        weights: of every network, what it was given.
        said: lines that say what was run, and where.
    """
    lines = ["### Faults", "", *_by_gate(trials), "", *_by_network(trials, list(weights)), "", *_passed(trials), ""]
    if rows:
        lines += ["### Rows without a fault", "", *_rows(rows), ""]
    lines += [f"- {network}: {what}" for network, what in weights.items()]
    lines += [f"- {line}" for line in said]
    return "\n".join(lines) + "\n"


def _by_gate(trials: Sequence[Trial]) -> list[str]:
    heads = ["fault", "files", "any gate", *GATES, f"allclose {TOLERANCE:g}", f"cosine {COSINE:g}", "smallest ratio"]
    lines = [_line(heads), _line(["---"] * len(heads))]
    for fault in (*FAULTS, NONE):
        of = [trial.outcome for trial in trials if trial.fault == fault.name]
        if not of:
            continue
        cells = [fault.words if fault is not NONE else "**no fault**", str(len(of))]
        cells.append(_share(sum(one.caught for one in of), len(of)))
        cells += [_gate([(one.gates or {}).get(gate, "not run") for one in of]) for gate in GATES]
        refused = sum(bool(one.refused) for one in of)
        cells += [_share(sum(one.allclose for one in of) + refused, len(of))]
        cells += [_share(sum(one.cosine for one in of) + refused, len(of))]
        cells.append(_ratio(of))
        lines.append(_line(cells))
    return lines


def _by_network(trials: Sequence[Trial], networks: Sequence[str]) -> list[str]:
    lines = ["Found by any gate, and the smallest ratio, by network:", ""]
    lines += [_line(["fault", *networks]), _line(["---"] * (len(networks) + 1))]
    for fault in FAULTS:
        cells = [fault.words]
        for network in networks:
            of = [one.outcome for one in trials if (one.network, one.fault) == (network, fault.name)]
            cells.append(f"{_share(sum(one.caught for one in of), len(of))}; {_ratio(of)}" if of else "no place for it")
        lines.append(_line(cells))
    return lines


def _passed(trials: Sequence[Trial]) -> list[str]:
    """What no gate saw, and what a lower limit would have."""
    missed = [trial for trial in trials if trial.fault != NONE.name and not trial.outcome.caught]
    faulty = [trial for trial in trials if trial.fault != NONE.name]
    between = [trial for trial in faulty if accuracy.EXACT < (trial.outcome.ratio or 0.0) <= accuracy.WRONG]
    unseen = [trial for trial in between if not trial.outcome.caught]
    lines = [
        f"{len(faulty) - len(missed)} of {len(faulty)} faulty files were found by at least one gate. The ratio of "
        f"{len(between)} lay between {accuracy.EXACT:g} and {accuracy.WRONG:g} (worse by a factor); {len(unseen)} of "
        "those passed every gate."
    ]
    if missed:
        seen = [sum((trial.outcome.ratio or 0.0) > limit for trial in missed) for limit in LOWER]
        would = ", ".join(f"{count} with {limit:g}" for limit, count in zip(LOWER, seen, strict=True))
        lines += ["", f"Of the {len(missed)} that passed, a lower limit than {accuracy.WRONG:g} would find: {would}."]
    if missed:
        lines += ["", "Not found:", "", _line(["network", "fault", "layer", "seed", "ratio", "largest error"])]
        lines += [_line(["---"] * 6)]
        for trial in missed:
            one = trial.outcome
            where = one.layer or BY_NAME[trial.fault].varies
            error = "" if one.max_abs is None else f"{one.max_abs:.1e}"
            lines.append(
                _line([trial.network, BY_NAME[trial.fault].words, where, str(trial.seed), _number(one.ratio), error])
            )
    return lines


def _rows(rows: Sequence[CorrectRow]) -> list[str]:
    heads = ["network", "row", "input seeds", "false alarms", "largest ratio", "most class changes"]
    lines = [_line(heads), _line(["---"] * len(heads))]
    for network, row in dict.fromkeys((one.network, one.row) for one in rows):
        of = [one for one in rows if (one.network, one.row) == (network, row)]
        judged = [one for one in of if one.verdict]
        alarms = sum(one.verdict == "fail" for one in judged)
        ratios = [one.ratio for one in judged if one.ratio is not None]
        flips = [one.flips for one in judged if one.flips is not None]
        lines.append(
            _line(
                [
                    network,
                    row,
                    str(len(judged)) if judged else of[-1].status,
                    f"{alarms}: {next(one.detail for one in judged if one.verdict == 'fail')}" if alarms else "0",
                    _number(max(ratios, default=None)),
                    f"{max(flips):.1g}" if flips else "",
                ]
            )
        )
    judged = [one for one in rows if one.verdict]
    alarms = sum(one.verdict == "fail" for one in judged)
    return [f"{alarms} of {len(judged)} rows failed.", "", *lines]


def said_of(seeds: int, size: tuple[int, int]) -> list[str]:
    """How it was done, in words."""
    return [
        f"{seeds} seeds, {size[0]}x{size[1]}, ONNX Runtime on the CPU; every seed draws the place of the fault and "
        f"{COMPARED} of {INPUTS} road scenes, the task is scored on all {INPUTS}, a drop of at most {MAX_DROP:g}"
    ]


def _gate(verdicts: Sequence[str]) -> str:
    """Share of files a gate failed, and of those it could not decide."""
    if set(verdicts) == {"not run"}:
        return "not run"
    undecided = verdicts.count("undecided")
    said = f" ({_share(undecided, len(verdicts))} undecided)" if undecided else ""
    return _share(verdicts.count("fail"), len(verdicts)) + said


def _ratio(of: Sequence[Outcome]) -> str:
    return _number(min((one.ratio for one in of if one.ratio is not None), default=None))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2g}" if value < 100 else f"{value:,.0f}"


def _share(count: int, of: int) -> str:
    return f"{100 * count / of:.{0 if count in (0, of) else 1}f} %"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
