"""What a worker proved joins the row's parity."""

from __future__ import annotations

import pytest

from keronyx.profiles.proofs import with_proofs
from keronyx.types import Gate, Parity, Verdict

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
    joined = with_proofs(Parity(before, "Keras", 4, OWN), [gate(Verdict.PASS), gate(proved)])
    assert joined == Parity(after, "Keras", 4, (*OWN, gate(Verdict.PASS), gate(proved)))


def test_a_row_that_could_not_be_checked_stays_unchecked():
    assert with_proofs(None, [gate(Verdict.FAIL)]) is None
