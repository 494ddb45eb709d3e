"""The rounds, on fake workers and a fake clock: order, pairing, stopping, failures, Ctrl-C."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest

from keronyx.errors import WorkerError
from keronyx.profiles import render, stats, table
from keronyx.profiles.measure import CONTROL, measure
from keronyx.profiles.stats import LOOK_EVERY
from keronyx.runtime import turn
from keronyx.runtime.fake import FakeClock, FakeSession, FakeWorker
from keronyx.types import Plan, RoundReading, Status

MS = 1_000_000


class Calm:
    """Sensors of a machine on which nothing else happens."""

    def begin(self):
        pass

    def end(self, order):
        return RoundReading(order, 0.0, 0.0, 0)


class Failing(FakeWorker):
    """Raises `error` at its turn number `at` (from 1) and, being dead, ever after."""

    at = 0
    error: BaseException = WorkerError("killed")
    turns = 0

    def turn(self, start, turn_ns):
        self.turns += 1
        if self.turns >= self.at:
            raise self.error
        return super().turn(start, turn_ns)


def worker(clock, milliseconds, kind=FakeWorker, noise=0.0, seed=0, **attributes):
    random = np.random.default_rng(seed)
    one = kind("row", FakeSession(clock, lambda call: int(milliseconds * MS * np.exp(random.normal(0, noise)))))
    vars(one).update(attributes)
    return one


def plan(**changes):
    fields = {"rows": ("ref", "a", "b"), "reference": {"b1": "ref"}, "seed": 0, "threads": 1, "budget_s": 1e9}
    fields |= {"max_rounds": 50, "warmup_calls": 4, "turn_ms": 20.0, "timeout_s": 1.0, "inputs": "x", "rotation": 8}
    return Plan(**(fields | changes))


@pytest.fixture(autouse=True)
def one_call_fills_a_turn(monkeypatch):
    """Without this, calls below 100 ms come in twos, and every latency here would have to be longer."""
    monkeypatch.setattr(turn, "COLD_MATTERS_NS", 0)


@pytest.fixture
def clock():
    return FakeClock()


def three(clock, noise=0.05, **others):
    rows = {"ref": worker(clock, 30, noise=noise), "a": worker(clock, 40, noise=noise, seed=1)}
    return rows | {"b": worker(clock, 60, noise=noise, seed=2)} | others


def run(clock, workers, sensors=None, progress=lambda *_: None, **changes):
    return measure(workers, "ref", plan(**changes), clock, sensors or Calm(), progress)


# --- order


def test_every_row_takes_one_turn_a_round_and_the_reference_two(clock):
    measured = run(clock, three(clock))
    assert len(measured.rounds) == 50 and measured.stopped == "rounds"
    assert all(Counter(r.order) == Counter(["ref", "a", "b", CONTROL]) for r in measured.rounds)
    assert all(len(s.wall_ns) == len(s.cpu_ns) == 50 for s in (*measured.samples.values(), measured.control))
    assert set(measured.samples) == {"ref", "a", "b"}


def test_the_order_is_random_and_the_same_for_the_same_seed(clock):
    orders = [[r.order for r in run(clock, three(clock), seed=seed).rounds] for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]
    assert len(set(orders[0])) > 15  # of 24 permutations
    places = Counter(order.index("a") for order in orders[0])
    assert min(places.values()) >= 5 and len(places) == 4


def test_rows_get_every_input_and_the_control_is_half_the_inputs_away(clock):
    starts = {}

    class Noting(FakeWorker):
        def turn(self, start, turn_ns):
            starts.setdefault(self.row, []).append(start)
            return super().turn(start, turn_ns)

    rows = {"ref": worker(clock, 30, Noting), "a": worker(clock, 30, Noting)}
    rows["a"].row = "a"
    run(clock, rows, max_rounds=8, rotation=8)
    assert {start % 8 for start in starts["a"]} == set(range(8))
    pairs = np.array(starts["row"]).reshape(8, 2)
    assert (abs(pairs[:, 0] - pairs[:, 1]) == 4).all()


# --- stopping


def test_the_budget_is_kept_within_one_round(clock):
    measured = run(clock, three(clock, noise=0), budget_s=1.0, max_rounds=1000)
    assert measured.stopped == "budget"
    assert 1 - 0.161 <= clock.now / 1e9 <= 1.0  # a round is 30 + 30 + 40 + 60 ms


def test_one_round_is_made_whatever_the_budget(clock):
    measured = run(clock, three(clock), budget_s=1e-9)
    assert len(measured.rounds) == 1 and measured.stopped == "budget"


def test_it_stops_at_the_first_look_that_knows_enough(clock):
    measured = run(clock, three(clock, noise=0.001), max_rounds=400)
    assert measured.stopped == "target" and len(measured.rounds) == LOOK_EVERY


def test_it_goes_on_to_a_later_look_while_a_ratio_is_unknown(clock):
    measured = run(clock, three(clock, noise=0.02), max_rounds=4000)
    assert measured.stopped == "target" and len(measured.rounds) > LOOK_EVERY
    assert len(measured.rounds) % LOOK_EVERY == 0


def test_the_control_must_be_known_too(clock):
    noisy = three(clock, noise=0.0001)
    noisy["ref"] = worker(clock, 30, noise=0.5)
    assert run(clock, noisy, max_rounds=60).stopped == "rounds"


def test_progress_is_told_rounds_and_share_of_the_budget(clock):
    told = []
    run(clock, three(clock, noise=0), progress=lambda *one: told.append(one), budget_s=0.5, max_rounds=3)
    assert told == [(1, pytest.approx(0.32)), (2, pytest.approx(0.64)), (3, pytest.approx(0.96))]


# --- failures


def test_a_worker_that_fails_in_round_37_keeps_36_and_the_others_go_on(clock):
    measured = run(clock, three(clock, dead=worker(clock, 50, Failing, at=37)))
    error, number = measured.failures["dead"]
    assert number == 37 and error.message == "killed"
    assert len(measured.samples["dead"].wall_ns) == 36 and len(measured.samples["a"].wall_ns) == 50
    assert len(measured.rounds) == 50


def ramp(clock, factor=1, kind=FakeWorker, **attributes):
    """A row whose call in round i takes (i + 1) * factor * 30 ms: pairing it one round off would be seen at once."""
    one = kind("row", FakeSession(clock, lambda call: (call + 1) * factor * 30 * MS))
    vars(one).update(attributes)
    return one


def test_a_row_that_failed_pairs_with_the_rounds_it_was_in(clock):
    measured = run(clock, {"ref": worker(clock, 30), "a": ramp(clock), "b": ramp(clock, 3, Failing, at=20)})
    ratio = stats.paired_ratio(measured.samples["b"], measured.samples["a"])
    assert ratio.n == 19 and ratio.value == ratio.interval.low == ratio.interval.high == pytest.approx(3)


@pytest.mark.parametrize("at", [20, 21, 40, 41])
def test_control_and_reference_pair_by_round_when_the_reference_fails(clock, at):
    """The reference takes two turns a round, so it can die in either of them."""
    calls = []

    def latency(call):
        calls.append(call)
        return (call // 2 + 1) * 30 * MS

    dying = Failing("ref", FakeSession(clock, latency))
    dying.at = at
    measured = run(clock, {"ref": dying, "a": worker(clock, 40)})
    number = measured.failures["ref"][1]
    assert number == (at + 1) // 2
    kept = (len(measured.samples["ref"].wall_ns), len(measured.control.wall_ns))
    assert sum(kept) == at - 1 and abs(kept[0] - kept[1]) <= 1
    ratio = stats.paired_ratio(measured.control, measured.samples["ref"])
    assert ratio.n == min(kept) and ratio.interval.low == ratio.interval.high == pytest.approx(1)
    assert len(measured.samples["a"].wall_ns) == 50 and measured.stopped == "rounds"


def test_a_row_that_failed_early_does_not_keep_the_others_from_their_target(clock):
    rows = three(clock, noise=0.001, dead=worker(clock, 30, Failing, at=3))
    measured = run(clock, rows, max_rounds=400)
    assert measured.stopped == "target" and len(measured.rounds) == LOOK_EVERY


def test_when_every_worker_failed_the_rounds_end(clock):
    rows = {"ref": worker(clock, 30, Failing, at=1), "a": worker(clock, 30, Failing, at=5)}
    measured = run(clock, rows)
    assert measured.stopped == "every worker failed" and len(measured.rounds) == 5
    assert set(measured.failures) == {"ref", "a"} and measured.samples["ref"].wall_ns == ()


def test_ctrl_c_in_a_turn_keeps_all_that_was_measured(clock):
    rows = three(clock, dead=worker(clock, 50, Failing, at=8, error=KeyboardInterrupt()))
    measured = run(clock, rows)
    assert measured.stopped == "interrupted" and len(measured.rounds) == 7 and measured.failures == {}
    assert all(len(s.wall_ns) in (7, 8) and len(s.wall_ns) == len(s.cpu_ns) for s in measured.samples.values())
    assert len(measured.samples["dead"].wall_ns) == 7


def test_ctrl_c_in_the_first_round_is_a_result_too(clock):
    measured = run(clock, {"ref": worker(clock, 50, Failing, at=1, error=KeyboardInterrupt())})
    assert measured.stopped == "interrupted" and measured.rounds == ()


def test_ctrl_c_between_turns_is_no_traceback(clock):
    class Struck(Calm):
        def begin(self):
            raise KeyboardInterrupt

    assert run(clock, three(clock), Struck()).stopped == "interrupted"


# --- bias


def test_a_machine_that_slows_down_steadily_does_not_bias_ratios(clock):
    """Throttling by half over the run: rows measured one after the other would be off by tens of percent."""

    def drifting(milliseconds):
        return FakeWorker("row", FakeSession(clock, lambda call: int(milliseconds * MS * (1 + clock.now / 4e9))))

    measured = run(clock, {"ref": drifting(30), "a": drifting(30), "b": drifting(60)}, max_rounds=100)
    first, last = (measured.samples["ref"].wall_ns[i][0] for i in (0, -1))
    assert last > 1.8 * first
    for row, truth in (("a", 1), ("b", 2)):
        ratio = stats.paired_ratio(measured.samples[row], measured.samples["ref"])
        assert ratio.interval.low <= truth <= ratio.interval.high and ratio.value == pytest.approx(truth, rel=0.02)
    assert stats.paired_ratio(measured.control, measured.samples["ref"]).value == pytest.approx(1, rel=0.02)


# --- all of it


def test_a_whole_run_on_fakes_is_always_the_same_report(clock, report):
    """`report` lends the machine and the model; everything measured is from here."""
    workers = three(clock, noise=0.01, crashing=worker(clock, 20, Failing, at=7))
    measured = run(clock, workers, max_rounds=20)
    rows = []
    for row_id, samples in measured.samples.items():
        row = dataclasses.replace(report.rows[4], id=row_id, runtime=row_id, samples=samples)
        if row_id in measured.failures:
            error, number = measured.failures[row_id]
            row = dataclasses.replace(row, status=Status.FAILED, reason=f"{error.message} (in round {number})")
        rows.append(row)
    whole = dataclasses.replace(
        report,
        rows=tuple(rows),
        plan=plan(rows=tuple(measured.samples)),
        control={"b1": measured.control},
        rounds=measured.rounds,
        stopped=measured.stopped,
        warnings=(),
        wall_s=clock.now / 1e9,
    )
    lines = render.text(table.build(whole), 140).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("runtime"))
    end = next(i for i, line in enumerate(lines) if line.startswith("note:"))
    shown = "\n".join(line.rstrip() for line in lines[start : end + 1])
    assert shown == SNAPSHOT.strip()


SNAPSHOT = """
runtime   provider  status  median ms [95 %]      vs ref                 cpu/wall  cold s  RSS MiB  parity      note
ref       cpu       OK      29.99 [29.91, 30.16]  1 (reference)              1.00     1.2      410  pass 2e-07  fastest
a         cpu       OK      40.07 [39.81, 40.22]  0.749x [0.744, 0.755]      1.00     1.2      410  pass 2e-07
b         cpu       OK      59.88 [59.67, 60.33]  0.499x [0.497, 0.504]      1.00     1.2      410  pass 2e-07
crashing  cpu       FAILED  killed (in round 7)

Ship: ref/cpu (the reference itself: no other row is faster)
note: measuring ended: target
"""
