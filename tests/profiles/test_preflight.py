"""What a machine unfit for measuring looks like in /proc and /sys."""

from __future__ import annotations

from pathlib import Path

import pytest

from keronyx.profiles import preflight
from keronyx.types import Fitness

CPU = "sys/devices/system/cpu/"


def machine(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


@pytest.mark.parametrize(
    ("check", "files", "state", "said"),
    [
        (preflight.governor, {CPU + "cpu0/cpufreq/scaling_governor": "performance"}, "ok", "performance"),
        (preflight.governor, {CPU + "cpu0/cpufreq/scaling_governor": "powersave"}, "warn", "powersave"),
        (preflight.governor, {}, "unknown", "does not tell"),
        (preflight.boost, {CPU + "cpufreq/boost": "1"}, "warn", "on"),
        (preflight.boost, {CPU + "cpufreq/boost": "0"}, "ok", "off"),
        (preflight.boost, {CPU + "intel_pstate/no_turbo": "0"}, "warn", "on"),
        (preflight.boost, {CPU + "intel_pstate/no_turbo": "1"}, "ok", "off"),
        (preflight.boost, {}, "unknown", "does not tell"),
        (preflight.pressure, {"proc/pressure/cpu": "some avg10=35.20 avg60=1.00 avg300=0 total=9"}, "warn", "35.2 %"),
        (preflight.pressure, {"proc/pressure/cpu": "some avg10=0.00 avg60=1.00 avg300=0 total=9"}, "ok", "0 %"),
        (preflight.pressure, {}, "unknown", "no pressure"),
        (preflight.thermal, {"sys/class/thermal/thermal_zone3/temp": "95000"}, "warn", "95 degrees"),
        (preflight.thermal, {"sys/class/thermal/thermal_zone0/temp": "41000"}, "ok", "41 degrees"),
        (preflight.thermal, {}, "unknown", "no sensor"),
    ],
)
def test_a_circumstance_is_ok_warned_of_or_unknown(check, files, state, said, tmp_path):
    found = check(machine(tmp_path, files))
    assert found.state is Fitness(state) and said in found.detail


@pytest.mark.parametrize(("average", "state"), [("0.40", "ok"), ("1.01", "warn")])
def test_load_is_judged_per_core(average, state, tmp_path):
    root = machine(tmp_path, {"proc/loadavg": f"{average} 0.1 0.1 1/99 1"})
    assert preflight.load(root, 2).state is Fitness(state)


@pytest.mark.parametrize(("usable", "state"), [(2, "ok"), (1, "warn")])
def test_fewer_usable_cores_than_there_are_is_warned_of(usable, state):
    assert preflight.affinity(usable, 2).state is Fitness(state)


@pytest.mark.parametrize(("found", "state"), [(None, "ok"), (2.0, "ok"), (1.5, "warn")])
def test_a_quota_below_the_cores_is_warned_of(found, state):
    assert preflight.quota(found, 2).state is Fitness(state)


@pytest.mark.parametrize(("stolen", "state"), [(0, "ok"), (10, "warn")])
def test_steal_is_what_grew_during_the_pause(stolen, state, tmp_path):
    root = machine(tmp_path, {"proc/stat": "cpu  100 0 0 1000 0 0 0 500 0 0"})

    def pause(seconds: float) -> None:
        machine(root, {"proc/stat": f"cpu  110 0 0 {1090 - stolen} 0 0 0 {500 + stolen} 0 0"})

    assert preflight.steal(root, pause).state is Fitness(state)


def test_every_check_answers_on_this_machine_and_on_one_that_tells_nothing(tmp_path):
    here = preflight.preflight()
    nowhere = preflight.preflight(tmp_path, lambda _: None)
    assert [check.name for check in here] == [check.name for check in nowhere]
    told = {check.name: check.state for check in nowhere}
    assert all(told[name] is Fitness.UNKNOWN for name in ("governor", "boost", "steal", "pressure", "load", "thermal"))
