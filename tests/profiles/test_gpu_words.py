"""What a GPU did, in words: which bits mean throttling, how energy is shared out, what is said of a call's parts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from keronyx.profiles import gpu_words
from keronyx.types import DeviceTimes, GpuReading

MS = 1_000_000


def reading(throttle: int = 0, mhz: int = 1755, energy: int | None = 300, calls: int = 10) -> GpuReading:
    return GpuReading(mhz, throttle, 250.0, energy, calls)


CALL = DeviceTimes(
    resident_ns=(1_840_000, 1_830_000, 9 * MS),
    h2d_ns=(310_000,),
    d2h_ns=(1_200_000,),
    submit_ns=(90_000,),
    graph_ns=(1_520_000,),
    sync_ns=(4_000,),
    options={"tf32": "on"},
)


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (0x0, ""),
        (0x1, ""),
        (0x2 | 0x10 | 0x100, ""),
        (0x4, "power cap"),
        (0x1 | 0x4 | 0x20, "power cap, thermal"),
        (0x8, "hardware slowdown"),
        (0x40, "thermal (hardware)"),
        (0x80, "power brake"),
    ],
)
def test_only_what_slows_a_gpu_down_is_throttling(mask, words):
    assert gpu_words.throttle_words(mask) == words


def test_the_bits_are_those_of_nvidias_library():
    import pynvml  # of the dev extra

    names = ("SwPowerCap", "HwSlowdown", "SwThermalSlowdown", "HwThermalSlowdown", "HwPowerBrakeSlowdown")
    assert [getattr(pynvml, f"nvmlClocksEventReason{name}") for name in names] == list(gpu_words.THROTTLING)


def test_the_share_of_throttled_turns_counts_turns_that_were_read():
    assert gpu_words.throttled_share([reading(0x4), reading(0x1), None, reading(), reading(0x20)]) == 0.5
    assert gpu_words.throttled_share([None, None]) is None and gpu_words.throttled_share([]) is None


def test_reasons_of_all_turns_are_told_together():
    assert gpu_words.throttle_reasons([reading(0x20), None, reading(0x4 | 0x1)]) == "power cap, thermal"
    assert gpu_words.throttle_reasons([reading(0x1), None]) == ""


def test_the_clock_is_a_range_of_what_was_told():
    assert gpu_words.sm_mhz([reading(mhz=1980), None, reading(mhz=0), reading(mhz=1410)]) == (1410, 1980)
    assert gpu_words.sm_mhz([reading(mhz=0), None]) is None


def test_energy_is_shared_among_all_calls_not_averaged_over_turns():
    readings = [reading(energy=0, calls=1), reading(energy=900, calls=2), None, reading(energy=None, calls=100)]
    assert gpu_words.energy_mj_per_call(readings) == 300


@pytest.mark.parametrize("readings", [[], [None], [reading(energy=None)], [reading(energy=0)], [reading(calls=0)]])
def test_a_counter_that_is_not_there_or_never_moved_is_no_energy(readings):
    assert gpu_words.energy_mj_per_call(readings) is None


@pytest.mark.parametrize(
    ("late_ns", "host_ns", "found"),
    [
        (4_000, 3 * MS, False),
        (49_000, 0.1 * MS, False),  # a long time of a short call, but no longer than asking takes
        (60_000, 1 * MS, True),
        (60_000, 10 * MS, False),
        (900_000, 3 * MS, True),
    ],
)
def test_work_that_outlasts_its_call_is_found_by_share_and_by_time(late_ns, host_ns, found):
    device = DeviceTimes(sync_ns=(0, late_ns, late_ns, late_ns, 10**9))
    assert gpu_words.unsynchronised(device, host_ns) is found


def test_without_a_measurement_nothing_is_claimed():
    nothing = DeviceTimes()
    assert not gpu_words.unsynchronised(nothing, 1 * MS) and not gpu_words.launch_bound(nothing)
    assert gpu_words.headline(nothing, 1 * MS) == ""
    assert not gpu_words.launch_bound(replace(CALL, resident_ns=()))


def test_the_headline_names_every_part_by_its_median():
    assert gpu_words.headline(CALL, 3.4 * MS) == (
        "device-resident 1.84 ms, H2D 0.31, D2H 1.20, submit 0.090; CUDA graph 1.52 ms; TF32 on"
    )


def test_the_headline_says_why_there_is_no_graph():
    without = replace(CALL, graph_ns=(), graph_reason="not every node is on CUDA", options={"tf32": "off"})
    said = gpu_words.headline(without, 3.4 * MS)
    assert said.endswith("submit 0.090; no CUDA graph: not every node is on CUDA; TF32 off")


def test_a_call_that_is_mostly_submission_is_launch_bound():
    assert "launch-bound" in gpu_words.headline(replace(CALL, submit_ns=(1_600_000,)), 3.4 * MS)
    assert "launch-bound" not in gpu_words.headline(replace(CALL, submit_ns=(1_400_000,)), 3.4 * MS)


def test_a_call_that_returns_too_early_is_told():
    late = replace(CALL, sync_ns=(700_000,))
    assert gpu_words.headline(late, 3.4 * MS).endswith("returns 0.70 ms before its answer is there")


def test_what_failed_is_left_out_and_what_a_driver_said_cannot_move_the_cursor():
    broken = DeviceTimes(d2h_ns=(1_200_000,), graph_reason="bad\x1b[2J\nnode")
    assert gpu_words.headline(broken, 1 * MS) == "D2H 1.20 ms; no CUDA graph: bad [2J node"
