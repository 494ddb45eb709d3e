"""The commit and the machine in words, for pages of figures."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from keronyx.profiles import environment

ROOT = Path(__file__).resolve().parents[1]


def commit() -> str:
    """Short hash of the checkout, and whether tracked files differ from it."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()

    written = ("coverage", "export-bench", "parity")  # pages of the benches themselves
    changed = git(
        "status", "--porcelain", "--untracked-files=no", "--", ".", *(f":!docs/{name}.md" for name in written)
    )
    return (git("rev-parse", "--short", "HEAD") or "unknown") + (" with changes" if changed else "")


def described(packages: Sequence[str]) -> str:
    """Commit, processor, cores, system and versions, in one line."""
    found = environment.read_environment(list(packages))
    versions = [f"Python {found.python}", *(f"{name} {number}" for name, number in found.packages.items())]
    return (
        f"commit {commit()}; {found.cpu}, {found.usable_cores} of {found.logical_cores} cores, "
        f"{found.memory_mib / 1024:.0f} GiB, load {found.load_1min:.1f}, {found.os}, {', '.join(versions)}"
    )
