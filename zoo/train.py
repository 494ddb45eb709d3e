"""Training a network of the zoo with Keras 3 `fit`, on any backend: cycles of falling learning rate, resumable.

What a run leaves is told in runs.py. A run that was killed goes on at the epoch it had reached, with the samples,
weights and optimizer it would have had.
"""

from __future__ import annotations

import shutil
import statistics
import time
from pathlib import Path
from typing import Any

import keronyx
from keronyx.errors import KeronyxError, SourceError, UsageError
from keronyx.zoo import callbacks, networks, runs, weights
from keronyx.zoo.callbacks import Told
from keronyx.zoo.losses import car_f, challenge_loss, lyft_f, road_f
from keronyx.zoo.pairs import find
from keronyx.zoo.runs import Asked, Cycle
from keronyx.zoo.samples import batches

__all__ = ["Asked", "Cycle", "train"]


def train(
    asked: Asked,
    folder: Path,
    *,
    threads: int | None = None,
    licence: str = "",
    command: str = "",
    told: Told = lambda _: None,
) -> list[dict[str, Any]]:
    """Train, or go on where a run of the same folder stopped; the rows of `runs.rows`.

    Args:
        threads: of the TensorFlow backend, before it has done anything; its own choice without it. Other backends
            have none to set.
        licence: what is to be said of the data's terms, for the card of the weights; what an earlier start said
            without it.
        command: how the run was started, for the card, which tells the first.
        told: what happens (see callbacks.py).

    Raises:
        UsageError: the folder holds a run that was asked for in other words, or the options contradict each other.
        SourceError: data or weights cannot be read.
        KeronyxError: the loss is no number any more.
    """
    runs.check(asked)
    data, validation = find(asked.data), find(asked.validation)
    if threads:
        _use_threads(threads)
    runs.begin(asked, folder, command=command, licence=licence)
    size = (asked.height, asked.width)
    learning = batches(data, size, asked.batch, augment=True, seed=asked.seed, patch=asked.patch)
    checking = batches(validation, size, asked.batch, augment=False)
    for number in range(len(runs.rows(folder)) + 1, len(asked.cycles) + 1):
        try:
            runs.add_row(folder, _cycle(asked, folder, number, learning, checking, told))
        except KeronyxError:
            raise
        except Exception as error:
            # Keras reads samples in a thread of its own, out of which only the text of an exception comes.
            if found := learning.error or checking.error:
                raise found from error
            raise
    _keep(asked, folder)
    return runs.rows(folder)


def _cycle(asked: Asked, folder: Path, number: int, learning: Any, checking: Any, told: Told) -> dict[str, Any]:
    """One cycle, from the best weights of those before it; its row."""
    import keras

    cycle, size = asked.cycles[number - 1], (asked.height, asked.width)
    # A model of its own: Keras keeps in it the epoch at which an interrupted `fit` goes on.
    keras.utils.set_random_seed(asked.seed + number)
    model = networks.build(asked.network, *(asked.patch or size), seed=asked.seed)
    whole = networks.build(asked.network, *size, seed=asked.seed)
    if number > 1:
        model.load_weights(str(folder / runs.BEST))
    elif asked.weights is not None:
        start_from(model, asked.weights, asked.network)
    for one in (model, whole):
        _compile(one, cycle.learning_rate, asked.cross_entropy)
    done = runs.of_cycle(folder, number)
    unfinished = len(done) < cycle.epochs and runs.without_gain(done) < asked.patience
    if unfinished:
        _fit(asked, folder, number, model, whole, learning, checking, told)
    shutil.rmtree(folder / runs.BACKUP, ignore_errors=True)  # the next cycle must not go on from it
    whole.load_weights(str(folder / runs.BEST))
    if not unfinished:
        whole.evaluate(checking, verbose=0)  # traced before it is timed
    made = runs.of_cycle(folder, number)
    return {
        "cycle": number,
        "learning_rate": cycle.learning_rate,
        "epochs": len(made),
        "step_ms": statistics.median(line["step_ms"] for line in made),
        **_validated(whole, checking),
    }


def _fit(
    asked: Asked, folder: Path, number: int, model: Any, whole: Any, learning: Any, checking: Any, told: Told
) -> None:
    """Train `model`, or go on where its cycle was interrupted; `whole` has its weights for images of the whole size."""
    import keras

    epochs = asked.cycles[number - 1].epochs
    model.fit(
        learning,
        epochs=epochs,
        verbose=0,
        callbacks=[
            callbacks.epoch_of(learning, sum(earlier.epochs for earlier in asked.cycles[: number - 1])),
            callbacks.clock(number),
            callbacks.validation(whole, checking),
            callbacks.best(folder),
            keras.callbacks.CSVLogger(str(folder / runs.LOG), append=True),
            callbacks.patience(folder, number, asked.patience),
            # Two states, since a kill may come while one is written.
            keras.callbacks.BackupAndRestore(str(folder / runs.BACKUP), double_checkpoint=True),
            callbacks.teller(told, cycle=number, cycles=len(asked.cycles), epochs=epochs),
        ],
    )


def start_from(model: Any, file: str, network: str) -> None:
    """Put weights into a network: a `.npz` of the zoo's, a `.h5` of Keras', or `shipped` for those that come with it.

    Raises:
        SourceError: the file's weights are not this network's, or no trained ones come with it.
    """
    path = weights.file_of(network) if file == "shipped" else Path(file)
    if not path.is_file():
        what = f"no trained weights come with {network}" if file == "shipped" else f"{file}: no such weights file"
        raise SourceError(what, "leave --weights away to start from random ones")
    if path.suffix == ".npz":
        weights.load(model, path, network)
        return
    try:
        model.load_weights(str(path))
    except (ValueError, OSError, KeyError) as error:
        raise SourceError(f"{file} does not fit {network}: {str(error).splitlines()[0]}") from error


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


def _validated(model: Any, checking: Any) -> dict[str, float]:
    """Milliseconds an image, loss and scores."""
    start = time.perf_counter_ns()
    found = model.evaluate(checking, verbose=0, return_dict=True)
    taken = (time.perf_counter_ns() - start) / 1e6
    return {"validation_image_ms": taken / checking.images, **found}


def _keep(asked: Asked, folder: Path) -> None:
    """Write the trained weights with their card, unless that is done."""
    if (folder / runs.WEIGHTS).is_file():
        return
    model = networks.build(asked.network, asked.height, asked.width, seed=asked.seed)
    model.load_weights(str(folder / runs.BEST))
    last = runs.rows(folder)[-1]
    card = {
        "network": asked.network,
        "parameters": int(model.count_params()),
        "image_size": [asked.height, asked.width],
        "data": list(asked.data),
        "validation": list(asked.validation),
        "scores": {name: last[name] for name in ("loss", "lyft_f", "car_f", "road_f")},
        "cycles": [[cycle.epochs, cycle.learning_rate] for cycle in asked.cycles],
        "seed": asked.seed,
        **runs.origin(folder),
        "keronyx": keronyx.__version__,
    }
    weights.save(model, folder / runs.WEIGHTS, card)


def _use_threads(threads: int) -> None:
    import keras

    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError as error:
        raise UsageError("threads can only be set before TensorFlow has computed anything") from error
