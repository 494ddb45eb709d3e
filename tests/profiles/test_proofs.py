"""What a worker proved joins the row's parity."""

from __future__ import annotations

import pytest

from keronyx.profiles.proofs import synchronised, with_proofs
from keronyx.types import DeviceTimes, Gate, Parity, Samples, Verdict

OWN = (Gate("structure", Verdict.PASS, "as the model has them"),)


def gate(verdict):
    return Gate("uncached", verdict, "said")


@pytest.mark.parametrize(
    ("before", "proved", "after"),
    [
        (Verdict.PASS, Verdict.PASS, Verdict.PASS),
        (Verdict.PASS, Verdict.NOT_RUN, Verdict.PASS),
        (Verdict.PASS, Verdict.FAIL, Verdict.FAIL),
        (Verdict.FAIL, Verdict.PASS, Verdict.FAIL),
        (Verdict.NOT_RUN, Verdict.PASS, Verdict.NOT_RUN),
        (Verdict.NOT_RUN, Verdict.FAIL, Verdict.FAIL),
    ],
)
def test_a_failed_proof_fails_the_row_and_a_passed_one_mends_nothing(before, proved, after):
    joined = with_proofs(Parity(before, "Keras", 4, OWN), [gate(proved)])
    assert joined == Parity(after, "Keras", 4, (*OWN, gate(proved)))


@pytest.mark.parametrize("verdicts", [(Verdict.FAIL, Verdict.PASS), (Verdict.PASS, Verdict.FAIL)])
def test_what_one_set_of_processes_got_wrong_no_other_mends(verdicts):
    joined = Parity(Verdict.PASS, "Keras", 4, OWN)
    for verdict in verdicts:
        joined = with_proofs(joined, [gate(verdict)])
    assert joined.verdict is Verdict.FAIL and joined.gates == (*OWN, gate(Verdict.FAIL))


def test_a_row_that_could_not_be_checked_stays_unchecked():
    assert with_proofs(None, [gate(Verdict.FAIL)]) is None


@pytest.mark.parametrize(("late_ns", "verdict"), [(0, Verdict.PASS), (15_000, Verdict.PASS), (900_000, Verdict.FAIL)])
def test_a_call_that_returns_before_the_gpu_is_done_fails(late_ns, verdict):
    samples = Samples(wall_ns=((2_000_000,),) * 6)
    (found,) = synchronised(DeviceTimes(sync_ns=(late_ns,) * 5), samples)
    assert found.name == "synchronised" and found.verdict is verdict


def test_without_a_device_nothing_is_said_of_synchronisation():
    assert synchronised(None, Samples()) == synchronised(DeviceTimes(sync_ns=(1,)), Samples()) == ()
