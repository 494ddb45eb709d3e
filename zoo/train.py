"""Training a network of the zoo with Keras 3 `fit`, on any backend: cycles of falling learning rate, resumable.

A run's folder holds `run.json` (what was asked), `log.csv` (one line an epoch), `cycles.json` (one row a cycle, the
seed's table), `best.weights.h5`, and `backup/` while it is unfinished.
"""

from __future__ import annotations

import csv
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from keronyx.errors import UsageError
from keronyx.zoo import networks
from keronyx.zoo.losses import car_f, challenge_loss, lyft_f, road_f
from keronyx.zoo.pairs import find
from keronyx.zoo.samples import batches


@dataclass(frozen=True)
class Cycle:
    """So many epochs at one learning rate."""

    epochs: int
    learning_rate: float


@dataclass(frozen=True)
class Asked:
    """One training run; its JSON is `run.json`."""

    network: str
    data: tuple[str, ...]
    validation: tuple[str, ...]
    cycles: tuple[Cycle, ...]
    height: int = 320
    width: int = 400
    batch: int = 2
    patch: tuple[int, int] | None = None
    """Height and width cut out of every training image; validation is on whole ones."""
    patience: int = 10
    """Epochs without a better validation Lyft F after which a cycle ends early."""
    cross_entropy: float = 0.5
    seed: int = 0


def train(asked: Asked, folder: Path, threads: int | None = None) -> list[dict[str, Any]]:
    """Train, or go on where a run of the same folder stopped; rows of `cycles.json`.

    Raises:
        UsageError: the folder holds a run that was asked for in other words.
    """
    import keras

    _same_run(asked, folder)
    size = (asked.height, asked.width)
    learning = batches(find(asked.data), size, asked.batch, augment=True, seed=asked.seed, patch=asked.patch)
    checking = batches(find(asked.validation), size, asked.batch, augment=False)
    rows: list[dict[str, Any]] = _read(folder / "cycles.json") or []
    best = folder / "best.weights.h5"
    for number, cycle in enumerate(asked.cycles, 1):
        if number <= len(rows):
            continue
        # A model of its own: Keras keeps in it the epoch at which an interrupted `fit` goes on.
        keras.utils.set_random_seed(asked.seed + number)
        model = networks.build(asked.network, *(asked.patch or size), seed=asked.seed)
        whole = networks.build(asked.network, *size, seed=asked.seed)
        if number > 1:
            model.load_weights(str(best))
        for one in (model, whole):
            _compile(one, cycle.learning_rate, asked.cross_entropy)
        clock = _Clock.callback()
        before = sum(earlier.epochs for earlier in asked.cycles[: number - 1])
        model.fit(
            learning,
            epochs=cycle.epochs,
            verbose=0,
            callbacks=[
                _epoch_of(learning, before),
                clock,
                _validation(whole, checking),
                keras.callbacks.CSVLogger(str(folder / "log.csv"), append=True),
                keras.callbacks.ModelCheckpoint(
                    str(best),
                    monitor="val_lyft_f",
                    mode="max",
                    save_best_only=True,
                    save_weights_only=True,
                    initial_value_threshold=_best_of(folder / "log.csv"),
                ),
                keras.callbacks.EarlyStopping(monitor="val_lyft_f", mode="max", patience=asked.patience),
                keras.callbacks.BackupAndRestore(str(folder / "backup")),
            ],
        )
        whole.load_weights(str(best))
        rows.append({"cycle": number, "learning_rate": cycle.learning_rate, **_validated(whole, checking, clock)})
        _write(folder / "cycles.json", rows)
    return rows


def _compile(model: Any, learning_rate: float, cross_entropy: float) -> None:
    import keras

    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate),
        loss=challenge_loss(cross_entropy),
        metrics=[lyft_f, car_f, road_f],
        # XLA takes 1.0 (enet) to 1.5 times (unet:16) as long a step on a CPU; for JAX it is what compiling means.
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )
    model.optimizer.build(model.trainable_variables)  # or what it remembers would not be restored after a kill


def _validated(model: Any, checking: Any, clock: Any) -> dict[str, float]:
    """The seed's row: milliseconds a step and an image, loss and scores of the best weights."""
    start = time.perf_counter_ns()
    found = model.evaluate(checking, verbose=0, return_dict=True)
    images = len(checking) * 1.0
    taken = (time.perf_counter_ns() - start) / 1e6
    return {"step_ms": clock.step_ms(), "validation_batch_ms": taken / images, **found}


class _Clock:
    @staticmethod
    def callback() -> Any:
        import keras

        class Clock(keras.callbacks.Callback):  # type: ignore[misc,unused-ignore]
            """Wall time of the training steps."""

            def __init__(self) -> None:
                super().__init__()
                self.spent: list[float] = []
                self.begun = 0

            def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
                self.begun = time.perf_counter_ns()

            def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
                self.spent.append((time.perf_counter_ns() - self.begun) / 1e6)

            def step_ms(self) -> float:
                ordered = sorted(self.spent)
                return ordered[len(ordered) // 2] if ordered else float("nan")

        return Clock()


def _validation(whole: Any, checking: Any) -> Any:
    """After every epoch: what the weights are worth on whole images, for the callbacks after this one."""
    import keras

    class Validation(keras.callbacks.Callback):  # type: ignore[misc,unused-ignore]
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            whole.set_weights(self.model.get_weights())
            found = whole.evaluate(checking, verbose=0, return_dict=True)
            logs.update({f"val_{name}": value for name, value in found.items()})

    return Validation()


def _epoch_of(learning: Any, before: int) -> Any:
    import keras

    def begin(epoch: int, logs: Any = None) -> None:
        learning.epoch = before + epoch

    return keras.callbacks.LambdaCallback(on_epoch_begin=begin)


def _best_of(log: Path) -> float | None:
    """The best validation Lyft F of the epochs logged so far."""
    if not log.exists():
        return None
    with log.open(newline="") as lines:
        return max((float(line["val_lyft_f"]) for line in csv.DictReader(lines)), default=None)


def _same_run(asked: Asked, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    known = _read(folder / "run.json")
    wanted = json.loads(json.dumps(asdict(asked)))
    if known is None:
        _write(folder / "run.json", wanted)
    elif known != wanted:
        differing = ", ".join(name for name in wanted if known.get(name) != wanted[name])
        raise UsageError(f"{folder} holds another run ({differing} differ)", "name another folder, or ask for the same")


def _read(file: Path) -> Any:
    return json.loads(file.read_text()) if file.exists() else None


def _write(file: Path, content: Any) -> None:
    temporary = file.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, indent=1))
    os.replace(temporary, file)
