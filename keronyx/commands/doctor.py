"""`keronyx doctor`."""

from __future__ import annotations

from keronyx import terminal
from keronyx.commands.common import Debug, JsonOutput


def doctor(json: JsonOutput = False, debug: Debug = False) -> None:
    """What can run here, what cannot, the exact missing library and the package that brings it."""
    with terminal.errors(debug):
        from keronyx.runtime import RUNTIMES
        from keronyx.runtime.doctor import examine, machine_findings

        found, notes = examine(RUNTIMES), machine_findings()
        if json:
            import dataclasses
            from json import dumps

            print(dumps({"runtimes": [dataclasses.asdict(d) for d in found], "machine": notes}, indent=2))
            return
        names = [f"{d.runtime}/{d.provider}" for d in found]
        packages = [f"{d.package} {d.version or '-'}" for d in found]
        wide, wider = max(map(len, names)), max(map(len, packages))
        said: dict[tuple[str, str], str] = {}
        for name, package, d in zip(names, packages, found, strict=True):
            first = said.setdefault((d.reason, d.remedy), name)
            repeated = not d.usable and first != name
            verdict = "usable" if d.usable else f"UNAVAILABLE  {f'as {first}' if repeated else d.reason}"
            print(f"{name:<{wide}}  {package:<{wider}}  {verdict}")
            if d.remedy and not repeated:
                print(f"{'':<{wide}}  -> {d.remedy}")
        for note in notes:
            print(f"note: {note}")
