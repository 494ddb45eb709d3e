"""What the suite runs on: small images, unless another size is asked for."""

from __future__ import annotations

import pytest


@pytest.fixture
def parity_size(request: pytest.FixtureRequest) -> tuple[int, int]:
    """Height and width that the networks are checked at: `--parity-size`."""
    height, _, width = str(request.config.getoption("--parity-size")).partition("x")
    return int(height), int(width)
