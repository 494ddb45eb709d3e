"""Who is told what is going on."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told what is going on."""

    def phase(self, text: str) -> None: ...

    def rounds(self, done: int, share: float) -> None: ...

    def items(self, done: int, of: int, text: str = "") -> None:
        """So many images or steps of those there are; `text` says what is being done."""

    def line(self, text: str) -> None:
        """A line that is to stay on the screen."""


class Silent:
    """Tells nobody."""

    def phase(self, text: str) -> None: ...

    def rounds(self, done: int, share: float) -> None: ...

    def items(self, done: int, of: int, text: str = "") -> None: ...

    def line(self, text: str) -> None:
        """A line that is to stay on the screen."""
