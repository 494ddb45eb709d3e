"""A run's folder says what was asked and what came of it, whenever it was interrupted."""

import pytest

from keronyx.errors import ReportError, UnwritableError, UsageError
from keronyx.zoo import runs
from keronyx.zoo.runs import Asked, Cycle

ASKED = Asked("unet:2", ("scenes:4",), ("scenes:2",), (Cycle(2, 1e-3), Cycle(1, 1e-4)), patch=(16, 32))


def logged(folder, *lines):
    text = "epoch,cycle,loss,step_ms,val_lyft_f\n" + "".join(f"{line}\n" for line in lines)
    (folder / runs.LOG).write_text(text)
    return folder


def test_what_was_asked_is_read_back(tmp_path):
    runs.begin(ASKED, tmp_path / "run")
    assert runs.asked_of(tmp_path / "run") == ASKED
    assert runs.asked_of(tmp_path / "nowhere") is None


def test_another_run_in_the_folder_is_named_by_what_differs(tmp_path):
    runs.begin(ASKED, tmp_path)
    runs.begin(ASKED, tmp_path)
    logged(tmp_path, "0,1,1,9,0.1")
    with pytest.raises(UsageError, match=r"\(batch, seed differ\)"):
        runs.begin(Asked(**{**vars(ASKED), "batch": 3, "seed": 1}), tmp_path)


def test_a_run_that_never_began_gives_way_to_what_is_asked_next(tmp_path):
    other = Asked(**{**vars(ASKED), "batch": 3})
    runs.begin(ASKED, tmp_path, command="first", licence="mine")
    (tmp_path / runs.LOG).write_text("")  # a start that was refused may leave the file alone
    (tmp_path / runs.BEST).write_bytes(b"")
    runs.begin(other, tmp_path, command="second")
    assert runs.asked_of(tmp_path) == other and not (tmp_path / runs.BEST).exists()
    assert runs.origin(tmp_path) == {"command": "second", "licence": ""}


@pytest.mark.parametrize("what", ["row", "line", "backup"])
def test_a_run_has_begun_with_a_row_a_line_or_a_backup(tmp_path, what):
    assert not runs.begun(tmp_path)
    if what == "row":
        runs.add_row(tmp_path, {"cycle": 1})
    elif what == "line":
        logged(tmp_path, "0,1,1,9,0.1")
    else:
        (tmp_path / runs.BACKUP).mkdir()
        assert not runs.begun(tmp_path)
        (tmp_path / runs.BACKUP / "state").write_bytes(b"")
    assert runs.begun(tmp_path)


def test_the_first_command_and_the_last_licence_that_was_said_are_kept(tmp_path):
    runs.begin(ASKED, tmp_path, command="first", licence="mine")
    runs.begin(ASKED, tmp_path, command="short")
    assert runs.origin(tmp_path) == {"command": "first", "licence": "mine"}
    runs.begin(ASKED, tmp_path, command="short", licence="theirs")
    assert runs.origin(tmp_path) == {"command": "first", "licence": "theirs"}


def test_a_folder_that_cannot_be_made_is_unwritable(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UnwritableError, match="file/run cannot be written"):
        runs.begin(ASKED, tmp_path / "file" / "run")


@pytest.mark.parametrize("content", ["{", '{"network": "unet"}', '{"what": 1}'])
def test_a_damaged_run_is_no_run(tmp_path, content):
    (tmp_path / runs.ASKED).write_text(content)
    with pytest.raises(ReportError, match=r"run\.json"):
        runs.asked_of(tmp_path)


def test_an_epoch_that_was_made_twice_counts_once_and_the_later_time(tmp_path):
    logged(tmp_path, "0,1,1,9,0.1", "1,1,1,9,0.2", "1,1,1,9,0.3", "0,2,1,9,0.4")
    assert [line[runs.SCORE] for line in runs.epochs(tmp_path)] == [0.1, 0.3, 0.4]
    assert [line["epoch"] for line in runs.of_cycle(tmp_path, 1)] == [0, 1]


def test_epochs_without_gain_are_counted_from_the_first_of_the_best(tmp_path):
    logged(tmp_path, "0,1,1,9,0.1", "1,1,1,9,0.3", "2,1,1,9,nan", "3,1,1,9,0.3")
    assert runs.without_gain(runs.epochs(tmp_path)) == 2
    assert runs.best_score(runs.epochs(tmp_path)) == 0.3
    assert runs.without_gain([]) == 0 and runs.best_score([]) == -float("inf")


def test_a_damaged_log_is_said_so(tmp_path):
    logged(tmp_path, "0,1,1,9,zero")
    with pytest.raises(ReportError, match=r"log\.csv is damaged"):
        runs.epochs(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"patch": (400, 32)}, "patch of 400x32 does not fit into images of 320x400"),
        ({"network": "model-v4-pixel"}, "patches cannot train it"),
        ({"cycles": ()}, "no cycle"),
        ({"network": "vnet"}, "no zoo network"),
    ],
)
def test_a_run_that_cannot_be_made_is_refused(change, said):
    with pytest.raises(UsageError, match=said):
        runs.check(Asked(**{**vars(ASKED), **change}))


def test_a_run_is_finished_when_every_cycle_has_its_row_and_the_weights_are_there(tmp_path):
    runs.begin(ASKED, tmp_path)
    runs.add_row(tmp_path, {"cycle": 1})
    (tmp_path / runs.WEIGHTS).write_bytes(b"")
    assert not runs.finished(tmp_path)
    runs.add_row(tmp_path, {"cycle": 2})
    assert runs.finished(tmp_path)
    (tmp_path / runs.WEIGHTS).unlink()
    assert not runs.finished(tmp_path)
