"""Archives and HDF5 files that are made to harm are refused before anything of them is unpacked."""

from __future__ import annotations

import io
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keronyx import containers
from keronyx.containers import check_archive, check_hdf5
from keronyx.errors import SourceError


def checked(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        check_archive(archive, path)


def archive(path: Path, *members: tuple[str, bytes], packed: bool = False) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as made:
        for name, content in members:
            made.writestr(name, content)
    return path


def hdf5(fill: Callable[[Any], Any]) -> io.BytesIO:
    import h5py

    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        fill(file)
    return stream


def test_an_archive_that_unpacks_to_far_more_than_it_stores_is_refused(tmp_path: Path) -> None:
    zeros = b"\0" * 2**20
    path = tmp_path / "bomb.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made, made.open("assets/a", "w") as member:
        for _ in range(80):
            member.write(zeros)
    with pytest.raises(SourceError, match=r"bomb\.keras unpacks to 83,886,080 bytes"):
        checked(path)
    # Many members, none of them large, are the same bomb.
    many = archive(tmp_path / "many.keras", *((f"assets/{i}", zeros) for i in range(80)), packed=True)
    with pytest.raises(SourceError, match="unpacks to"):
        checked(many)
    checked(archive(tmp_path / "small.keras", ("assets/a", zeros), packed=True))  # compressed, and harmless


def test_an_archive_that_stores_what_it_unpacks_may_be_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "FLOOR_BYTES", 100)
    checked(archive(tmp_path / "large.keras", ("assets/a", b"x" * 10_000)))


@pytest.mark.parametrize("name", ["../a", "/a", "a/../../b", "..\\a", "c:/a", "a\\..\\..\\b"])
def test_a_member_that_leads_out_of_the_archive_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="leads out of the archive"):
        checked(archive(tmp_path / "m.keras", ("config.json", b"{}"), (name, b"")))


def test_a_symbolic_link_and_a_member_that_is_there_twice_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("assets/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "link.keras", "w") as made:
        made.writestr(link, "/etc/passwd")
    with pytest.raises(SourceError, match="leads out of the archive"):
        checked(tmp_path / "link.keras")
    with pytest.warns(UserWarning, match="Duplicate"):
        twice = archive(tmp_path / "twice.keras", ("config.json", b"{}"), ("config.json", b"[]"))
    with pytest.raises(SourceError, match=r"holds 'config\.json' twice"):
        checked(twice)


def _soft(file: Any) -> None:
    import h5py

    file["a"] = h5py.SoftLink("/b")


def _elsewhere(file: Any) -> None:
    import h5py

    file.create_group("g")["a"] = h5py.ExternalLink("/etc/other.h5", "/b")


def _raw(file: Any) -> None:
    import h5py

    file.create_dataset("a", (4,), "f4", external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])


def _virtual(file: Any) -> None:
    import h5py

    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("/etc/other.h5", "d", (4,))
    file.create_virtual_dataset("a", layout)


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        (_soft, "'a' is a link"),
        (_elsewhere, "'g/a' is a link"),
        (_raw, "data of its '/a' lie in other files"),
        (_virtual, "data of its '/a' lie in other files"),
    ],
)
def test_hdf5_that_points_out_of_the_file_is_refused(fill: Callable[[Any], Any], message: str, tmp_path: Path) -> None:
    stream = hdf5(fill)
    with pytest.raises(SourceError, match=message):
        check_hdf5(stream, "w.h5", 10**9)
    inside = archive(tmp_path / "m.keras", ("model.weights.h5", stream.getvalue()))
    with pytest.raises(SourceError, match=message):
        checked(inside)


def test_hdf5_that_declares_far_more_than_it_stores_is_refused() -> None:
    def one(file: Any) -> None:
        file.create_dataset("a", (2**40,), "f4", chunks=(2**20,), compression="gzip")

    def many(file: Any) -> None:
        for i in range(20):
            file.create_dataset(str(i), (2**20,), "f4", chunks=(2**18,), compression="gzip")

    with pytest.raises(SourceError, match=r"'/a' in w\.h5 unpacks to 4,398,046,511,104 bytes from 0"):
        check_hdf5(hdf5(one), "w.h5", 10**4)
    with pytest.raises(SourceError, match=r"w\.h5 unpacks to 83,886,080 bytes"):
        check_hdf5(hdf5(many), "w.h5", 10**4)


def test_plain_weights_pass_however_often_they_are_linked() -> None:
    def fill(file: Any) -> None:
        file["a/b"] = np.ones((3, 4))
        for i in range(50):
            file[f"again{i}"] = file["a"]
        file["a/self"] = file["a"]

    check_hdf5(hdf5(fill), "w.h5", 10**4)
    with pytest.raises(SourceError, match="damaged"):
        check_hdf5(io.BytesIO(b"no HDF5"), "w.h5", 7)
