"""Who is told what is going on."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told what is going on."""

    def phase(self, text: str) -> None: ...

    def rounds(self, done: int, share: float) -> None: ...


class Silent:
    """Tells nobody."""

    def phase(self, text: str) -> None: ...

    def rounds(self, done: int, share: float) -> None: ...
