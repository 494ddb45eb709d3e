"""The process of one training, `python -m keronyx.zoo.training`: trains in a thread, and tells what happens when asked.

Apart from the command, so that its memory, its threads and its end are its own.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from pathlib import Path
from typing import Any

from keronyx.process import Message, serve
from keronyx.zoo import runs
from keronyx.zoo.runs import Asked

WAIT_S = 0.5
"""How long an order to watch waits for something to happen."""


class _State:
    """What the process holds between orders."""

    events: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    thread: threading.Thread
    failure: BaseException | None = None


def start(order: Message) -> Message:
    """Begin, or go on, in a thread."""
    asked = runs.read(order.pop("asked"))
    _State.thread = threading.Thread(target=_train, args=(asked, order), daemon=True)
    _State.thread.start()
    return {}


def watch(_: Message) -> Message:
    """What has happened since the last time, and whether the run is finished. Raises what ended it."""
    alive = _State.thread.is_alive()  # asked first: what it told before it ended is in the queue by then
    events = []
    with contextlib.suppress(queue.Empty):
        events.append(_State.events.get(timeout=WAIT_S if alive else 0.001))
        while True:
            events.append(_State.events.get_nowait())
    if not alive and not events and _State.failure is not None:
        raise _State.failure
    return {"events": events, "done": not alive and not events}


def _train(asked: Asked, order: Message) -> None:
    from keronyx.zoo.train import train

    try:
        train(
            asked,
            Path(order["folder"]),
            threads=order["threads"],
            licence=order["licence"],
            command=order["command"],
            told=_State.events.put,
        )
    except BaseException as error:
        _State.failure = error


if __name__ == "__main__":
    serve({"start": start, "watch": watch})
