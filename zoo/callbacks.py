"""What happens beside a `fit`: validation on whole images, the best weights, when a cycle ends, what is told of it.

Each function returns a keras.callbacks.Callback. They run in the order train.py lists them: validation first, since
the others read its scores out of the epoch's `logs`, the log's line before what is counted from the log.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keronyx.errors import KeronyxError
from keronyx.zoo import runs

Told = Callable[[dict[str, Any]], None]
"""Told what happens, as JSON-like values: `at` is `step` (with `step` from 1 and `loss`), `validation`, or `epoch`
(with the log's line); all have `cycle` and `epoch`, both from 1, and how many `cycles`, `epochs`, `steps` there are."""


def clock(cycle: int) -> Any:
    """Puts the number of the cycle and the median time of the epoch's training steps into its logs."""
    import keras

    class Clock(keras.callbacks.Callback):  # type: ignore[misc,unused-ignore]
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.spent: list[float] = []

        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            self.begun = time.perf_counter_ns()

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.spent.append((time.perf_counter_ns() - self.begun) / 1e6)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            logs.update(cycle=cycle, step_ms=statistics.median(self.spent))

    return Clock()


def epoch_of(learning: Any, before: int) -> Any:
    """Tells the training samples which epoch of the run it is; `before` are those of earlier cycles."""
    import keras

    def begin(epoch: int, logs: Any = None) -> None:
        learning.epoch = before + epoch

    return keras.callbacks.LambdaCallback(on_epoch_begin=begin)


def validation(whole: Any, checking: Any) -> Any:
    """After every epoch: what the weights are worth on whole images, as `val_*` in the logs."""
    import keras

    class Validation(keras.callbacks.Callback):  # type: ignore[misc,unused-ignore]
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            whole.set_weights(self.model.get_weights())
            found = whole.evaluate(checking, verbose=0, return_dict=True)
            logs.update({f"val_{name}": value for name, value in found.items()})

    return Validation()


def best(folder: Path) -> Any:
    """Keeps the weights of the epoch with the best validation score of the whole run, never half written."""
    import keras

    class Best(keras.callbacks.Callback):  # type: ignore[misc,unused-ignore]
        def on_train_begin(self, logs: Any = None) -> None:
            self.score = runs.best_score(runs.epochs(folder))

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            score, file = float(logs[runs.SCORE]), folder / runs.BEST
            if score > self.score or not file.exists():
                self.score = -math.inf if math.isnan(score) else score
                self.model.save_weights(folder / "new.weights.h5")
                os.replace(folder / "new.weights.h5", file)

    return Best()


def patience(folder: Path, cycle: int, most: int) -> Any:
    """Ends a cycle that has not got better for `most` epochs; counted from the log, so that a kill changes nothing."""
    import keras

    class Patience(keras.callbacks.Callback):  # type: ignore[misc,unused-ignore]
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if runs.without_gain(runs.of_cycle(folder, cycle)) >= most:
                self.model.stop_training = True

    return Patience()


def teller(told: Told, **where: int) -> Any:
    """Tells of every step and epoch, and ends a training whose loss is no number any more. First and last in order.

    Args:
        where: `cycle`, `cycles` and `epochs` of the present cycle.
    """
    import keras

    class Teller(keras.callbacks.Callback):  # type: ignore[misc,unused-ignore]
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.where = {**where, "epoch": epoch + 1, "steps": int(self.params["steps"])}

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            loss = float(logs["loss"])
            if math.isnan(loss):
                raise KeronyxError(
                    f"the loss is no number any more in epoch {self.where['epoch']} of cycle {where['cycle']}",
                    "train in another folder with a lower learning rate",
                )
            told({"at": "step", "step": batch + 1, "loss": loss, **self.where})
            if batch + 1 == self.where["steps"]:
                told({"at": "validation", **self.where})

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            told({**{name: float(value) for name, value in logs.items()}, "at": "epoch", **self.where})

    return Teller()
