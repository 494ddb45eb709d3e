"""Runtimes that are quick or wrong by cheating are found; honest ones, noisy ones and the real ones are not."""

from __future__ import annotations

import time
from dataclasses import asdict
from importlib import import_module

import numpy as np
import pytest

from keronyx.export import folder
from keronyx.runtime import find, proof
from keronyx.runtime.fake import CachingSession, FakeClock, HonestSession, LaterNanSession, StaleSession
from keronyx.runtime.witness import Witness
from keronyx.types import ModelSpec, SessionRequest, TensorSpec, Verdict

IN, OUT = (
    (TensorSpec("x", (1, 20, 5), "float32"),),
    (TensorSpec("y", (1, 40), "float32"), TensorSpec("z", (2,), "int32")),
)
REQUEST = SessionRequest("nowhere", ModelSpec("m", "m", IN, OUT, 0, ""), "cpu", 1)
GATES = ("follows", "complete", "uncached")


def noise(count=4, shape=(1, 20, 5), seed=0):
    return [[array] for array in np.random.default_rng(seed).random((count, *shape), "float32") * 255]


def life(session, inputs, clock=time.perf_counter_ns, sleep=time.sleep, rounds=30, warmup=4):
    """What a worker does in a run: warm-up on the first inputs, rounds of two calls, the proof. Gates by name."""
    witness = Witness()
    for index, feed in enumerate(inputs[:warmup]):
        witness.learn(index, session.run(feed))
    for number in range(rounds):
        session.run(inputs[number % len(inputs)])
        index = (number + 1) % len(inputs)
        witness.follows(index, session.run(inputs[index]))
    gates = proof.prove(session, inputs, witness, clock, sleep)
    assert tuple(gate.name for gate in gates) == GATES
    assert all(gate.detail and "\n" not in gate.detail for gate in gates)
    return {gate.name: gate for gate in gates}


def failing(gates):
    return {name for name, gate in gates.items() if gate.verdict is Verdict.FAIL}


# --- the claim: cached, stale, early-returning and NaN-returning runtimes are all caught


@pytest.mark.parametrize(
    ("runtime", "caught", "said"),
    [
        ("CACHED", "uncached", "come from a cache: fresh inputs take"),
        ("STALE", "follows", "the answer to another input"),
        ("EARLY", "complete", "changed within 50 ms after the call had returned"),
        ("NAN_LATER", "follows", "NaN or Inf"),
        ("HONEST", None, ""),
    ],
)
def test_cached_stale_early_and_nan_runtimes_are_caught_and_the_honest_one_passes(runtime, caught, said):
    """In real time, as a worker opens them: by name."""
    session = getattr(import_module("keronyx.runtime.fake"), runtime).open(REQUEST)
    gates = life(session, noise())
    assert failing(gates) == ({caught} if caught else set()), gates
    if caught:
        assert said in gates[caught].detail
    else:
        assert {gate.verdict for gate in gates.values()} == {Verdict.PASS}


@pytest.mark.parametrize(
    ("session", "caught"), [(CachingSession, {"uncached"}), (StaleSession, {"follows"}), (LaterNanSession, {"follows"})]
)
@pytest.mark.parametrize("seed", range(10))
def test_cheats_are_caught_whatever_the_inputs(session, caught, seed):
    clock = FakeClock()
    assert failing(life(session(REQUEST, clock.sleep), noise(seed=seed), clock, clock.sleep)) == caught


@pytest.mark.parametrize("session", [StaleSession, LaterNanSession])
def test_late_cheats_are_caught_where_no_input_of_the_rounds_was_known(session):
    """Inputs of little memory rotate over more than the rounds visit twice."""
    clock = FakeClock()
    gates = life(session(REQUEST, clock.sleep), noise(64), clock, clock.sleep, warmup=2)
    assert failing(gates) == {"follows"}


class NoisySession(HonestSession):
    """Honest, but its last bits differ from call to call and its latency has a heavy tail."""

    def __init__(self, request, clock, seed):
        self.random = np.random.default_rng(seed)
        scale = 10 ** self.random.uniform(-5, 0)
        super().__init__(request, lambda seconds: clock.sleep(scale * self.random.lognormal(0, 0.3) * self.hiccup()))

    def hiccup(self):
        return 5 if self.random.random() < 0.1 else 1

    def answer(self, inputs):
        first, labels = super().answer(inputs)
        return [first + self.random.normal(0, 1e-6, first.shape).astype("float32"), labels]


def test_a_runtime_that_cheats_where_no_turn_looked_is_seen_in_the_proof():
    clock = FakeClock()
    session = StaleSession(REQUEST, clock.sleep)
    session.good_calls = 4
    assert failing(life(session, noise(), clock, clock.sleep, rounds=0)) == {"follows"}


def test_noise_and_jitter_never_raise_an_alarm():
    for seed in range(200):
        clock = FakeClock()
        gates = life(NoisySession(REQUEST, clock, seed), noise(seed=seed), clock, clock.sleep)
        assert failing(gates) == set(), (seed, gates)


def test_a_model_whose_time_depends_on_its_data_has_the_same_work_on_a_fresh_input():
    """Padded sequences, and a model that stops at the last word."""

    class Sequence(HonestSession):
        def run(self, inputs):
            self._sleep(0.001 * np.flatnonzero(inputs[0]).max())
            return self.answer(inputs)

    clock = FakeClock()
    sequences = [[np.pad(np.arange(5, 5 + n, dtype="int32"), (0, 500 - n)).reshape(1, 500)] for n in (8, 9, 10, 11)]
    gates = life(Sequence(REQUEST, clock.sleep), sequences, clock, clock.sleep)
    assert gates["uncached"].verdict is Verdict.PASS


# --- complete


class Late(HonestSession):
    """Fills its outputs when so many seconds of the clock have passed since the call."""

    delay = 0.02

    def __init__(self, clock):
        super().__init__(REQUEST, clock.sleep)
        self.clock, self.due = clock, []

    def run(self, inputs):
        answer = super().run(inputs)
        outputs = [np.zeros_like(array) for array in answer]
        self.due.append((self.clock() + self.delay * 1e9, outputs, answer))
        return outputs

    def sleep(self, seconds):
        self.clock.sleep(seconds)
        for when, outputs, answer in self.due:
            if when <= self.clock():
                for output, array in zip(outputs, answer, strict=True):
                    output[...] = array


@pytest.mark.parametrize(("delay", "said"), [(0.02, "within 50 ms"), (0.1, "within 200 ms"), (0.3, None)])
def test_outputs_written_after_the_return_are_seen_for_200_ms(delay, said):
    clock = FakeClock()
    session = Late(clock)
    session.delay = delay
    gate = life(session, noise(), clock, session.sleep)["complete"]
    assert (gate.verdict is Verdict.FAIL and said in gate.detail) if said else gate.verdict is Verdict.PASS


def test_a_call_that_returns_a_promise_is_not_complete():
    class Promise:
        def __init__(self, value):
            self.value = value

        def __array__(self, dtype=None, copy=None):
            return self.value

    class Lazy(HonestSession):
        def run(self, inputs):
            return [Promise(array) for array in super().run(inputs)]

    clock = FakeClock()
    gate = life(Lazy(REQUEST, clock.sleep), noise(), clock, clock.sleep)["complete"]
    assert gate.verdict is Verdict.FAIL and "Promise, which is no host array" in gate.detail


# --- uncached


def pairs(known_ms, fresh_ms):
    return [(int(known * 1e6), int(fresh * 1e6)) for known, fresh in zip(known_ms, fresh_ms, strict=True)]


@pytest.mark.parametrize(
    ("measured", "verdict"),
    [
        (pairs([1] * 5, [8.1] * 5), Verdict.FAIL),
        (pairs([1] * 5, [8, 8, 1, 8, 8]), Verdict.FAIL),
        (pairs([1] * 5, [8, 1, 1, 8, 8]), Verdict.PASS),
        (pairs([1] * 5, [1.9] * 5), Verdict.PASS),
        (pairs([0.01] * 5, [0.1] * 5), Verdict.PASS),  # too short to tell
        (pairs([1, 1], [8, 8]), Verdict.FAIL),
        (pairs([1, 1], [1, 80]), Verdict.PASS),
        (pairs([1], [8]), Verdict.NOT_RUN),
        (pairs([0, 0], [8, 8]), Verdict.FAIL),
    ],
)
def test_known_inputs_are_cached_when_four_of_five_fresh_ones_take_twice_as_long(measured, verdict):
    assert proof.uncached(measured).verdict is verdict


def test_how_much_longer_is_said():
    assert proof.uncached(pairs([1] * 5, [8.1] * 5)).detail.endswith("fresh inputs take 8.1x as long")


@pytest.mark.parametrize(("milliseconds", "calls"), [(10, 20), (150, 14), (2000, 4)])
def test_slow_models_are_called_four_times_and_quick_ones_for_two_seconds(milliseconds, calls):
    clock = FakeClock()
    session = HonestSession(REQUEST, lambda _: clock.sleep(milliseconds / 1000))
    witness = Witness()
    witness.learn(0, session.run(noise()[0]))
    session.calls = 0
    gates = proof.prove(session, noise(), witness, clock, clock.sleep)
    assert session.calls == calls and gates[2].verdict is Verdict.PASS


def test_two_calls_held_up_are_no_cache_when_more_pairs_say_otherwise():
    """A slow model is called for two pairs, and for five when those look like a cache."""
    clock = FakeClock()
    seconds = iter([1, 2, 9, 9, 2, 2, 2, 2, 2, 2, 2, 2])  # warm-up; known, fresh; fresh, known; ...
    session = HonestSession(REQUEST, lambda _: clock.sleep(next(seconds)))
    witness = Witness()
    witness.learn(0, session.run(noise()[0]))
    assert proof.prove(session, noise(), witness, clock, clock.sleep)[2].verdict is Verdict.PASS
    caching = CachingSession(REQUEST, lambda _: clock.sleep(2))
    witness.learn(0, caching.run(noise()[0]))
    assert proof.prove(caching, noise(), witness, clock, clock.sleep)[2].verdict is Verdict.FAIL
    assert caching.calls == 1 + 5


def test_a_model_slow_at_every_second_call_is_no_cache():
    clock = FakeClock()
    session = HonestSession(REQUEST, lambda _: clock.sleep(0.003 if session.calls % 2 else 0.009))
    assert failing(life(session, noise(), clock, clock.sleep)) == set()
    assert failing(life(session, noise(5), clock, clock.sleep)) == set()  # the other call in two


def test_only_inputs_that_were_called_before_count_as_known():
    """A caching runtime is slow on the others too."""
    clock = FakeClock()
    session = CachingSession(REQUEST, clock.sleep)
    inputs, witness = noise(20), Witness()
    for index in (0, 1):
        witness.learn(index, session.run(inputs[index]))
    assert proof.prove(session, inputs, witness, clock, clock.sleep)[2].verdict is Verdict.FAIL


def test_with_one_hot_input_the_last_answer_alone_is_cache_enough():
    class LastOnly(HonestSession):
        last = None

        def run(self, inputs):
            if self.last is None or self.last[0].tobytes() != inputs[0].tobytes():
                self.last, self.said = inputs, super().run(inputs)
            return self.said

    clock = FakeClock()
    assert failing(life(LastOnly(REQUEST, clock.sleep), noise(1), clock, clock.sleep)) == {"uncached"}
    assert failing(life(LastOnly(REQUEST, clock.sleep), noise(4), clock, clock.sleep)) == set()  # of no use there


def test_inputs_that_have_no_other_order_are_not_judged():
    clock = FakeClock()
    gates = life(HonestSession(REQUEST, clock.sleep), [[np.zeros((1, 20, 5))]] * 4, clock, clock.sleep)
    assert {name: gate.verdict for name, gate in gates.items()} == {
        "follows": Verdict.NOT_RUN,
        "complete": Verdict.PASS,
        "uncached": Verdict.NOT_RUN,
    }


@pytest.mark.parametrize("kind", ["float32", "float16", "int64", "uint8", "bool"])
def test_fresh_inputs_have_the_same_values_in_another_order_and_padding_in_place(kind):
    given = np.random.default_rng(0).integers(0, 2 if kind == "bool" else 9, (2, 500)).astype(kind)
    given[:, 400:] = 0
    kept = given.copy()
    fresh = proof._Fresh([[given]])
    made = [fresh.like([given])[0] for _ in range(5)]
    assert len({array.tobytes() for array in [given, *made]}) == 6 and np.array_equal(given, kept)
    for array in made:
        assert array.dtype == given.dtype and array.shape == given.shape and array.flags.c_contiguous
        assert np.array_equal(np.sort(array, axis=None), np.sort(given, axis=None))
        assert np.mean(array != given) < 0.05
        if kind != "bool":
            assert np.array_equal(array == 0, given == 0)


def test_gates_survive_json_as_dictionaries():
    gate = proof.uncached([])
    assert asdict(gate) == {"name": "uncached", "verdict": "not run", "detail": gate.detail}


# --- the real ones


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["ort", "litert"])
@pytest.mark.parametrize("network", ["segmenter", "two_headed"])
def test_real_runtimes_pass(runtime, network, request):
    one = find(runtime, "cpu")
    if missing := one.missing():
        pytest.skip(missing.reason)
    exported = request.getfixturevalue(f"{network}_export")
    manifest = folder.read(exported)
    path = exported / manifest.artifact(one.artifacts[0]).path
    one.import_library()
    session = one.open(SessionRequest(str(path), manifest.spec, "cpu", 1))
    session.prepare()
    random = np.random.default_rng(0)
    scale = np.float32(255 if network == "segmenter" else 1)
    inputs = [[random.random(spec.shape, "float32") * scale for spec in manifest.spec.inputs] for _ in range(8)]
    gates = life(session, inputs)
    assert {gate.verdict for gate in gates.values()} == {Verdict.PASS}, gates
