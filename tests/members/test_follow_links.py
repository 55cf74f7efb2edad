"""A folder whose files are links into a store of their contents, as git-annex and DataLad have them."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from simarchive import HDF5Storage, InvalidDataError, LocalFileStorage
from simarchive.cli.application import application
from simarchive.data import BaseStoredData, register_data_class


@register_data_class("LinkedForTests", version=1)
class Linked(BaseStoredData):
    name: str

    @classmethod
    def has_ancillary_data(cls) -> bool:
        return True


@pytest.fixture
def annex(tmp_path: Path) -> Path:
    """Return a folder of links to files beside it."""
    content = tmp_path / ".git" / "annex"
    content.mkdir(parents=True)
    folder = tmp_path / "run"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.dcd", "sub/b.pdb"):
        target = content / f"MD5-{Path(name).name}"
        target.write_bytes(name.encode() * 1000)
        target.chmod(0o444)
        (folder / name).symlink_to(target)
    return folder


def test_links_are_followed_when_they_are_asked_to_be(annex: Path, tmp_path: Path) -> None:
    with HDF5Storage(tmp_path / "a.h5") as backend:
        with pytest.raises(InvalidDataError, match=r"leads out of the directory.*follow_links=True"):
            backend.store_object(Linked(name="a"), annex)
        key = backend.store_object(Linked(name="a"), annex, follow_links=True)
        backend.extract(key, tmp_path / "out")
        assert backend.verify(full=True).ok
    for name in ("a.dcd", "sub/b.pdb"):
        assert (tmp_path / "out" / name).read_bytes() == name.encode() * 1000
        assert not (tmp_path / "out" / name).is_symlink()


def test_a_link_whose_content_was_not_fetched_is_named(annex: Path, tmp_path: Path) -> None:
    (tmp_path / ".git" / "annex" / "MD5-a.dcd").unlink()
    with (
        HDF5Storage(tmp_path / "a.h5") as backend,
        pytest.raises(InvalidDataError, match=r"a\.dcd' leads nowhere: fetch what it stands for"),
    ):
        backend.store_object(Linked(name="a"), annex, follow_links=True)


def test_a_link_to_a_folder_or_device_is_refused_all_the_same(annex: Path, tmp_path: Path) -> None:
    for target in (tmp_path / ".git", Path("/dev/zero")):
        link = annex / "link"
        link.symlink_to(target)
        with HDF5Storage(tmp_path / "a.h5") as backend, pytest.raises(InvalidDataError, match="link"):
            backend.store_object(Linked(name="a"), annex, follow_links=True)
        link.unlink()


def test_import_follows_links_when_it_is_asked_to(annex: Path, tmp_path: Path) -> None:
    with LocalFileStorage(tmp_path / "stored") as directory:
        key = directory.store_object(Linked(name="a"), annex, follow_links=True)
    for file in (tmp_path / "stored" / key).rglob("*.*"):
        moved = tmp_path / ".git" / file.name
        file.rename(moved)
        file.symlink_to(moved)
    arguments = ["import", str(tmp_path / "stored"), str(tmp_path / "b.h5")]
    runner = CliRunner()
    assert "leads out of the directory" in runner.invoke(application, arguments).output
    done = runner.invoke(application, [*arguments, "--follow-links"])
    assert done.exit_code == 0, done.output
    with HDF5Storage(tmp_path / "b.h5", mode="r") as backend:
        assert [info.name for info in backend.list_members(key)] == ["a.dcd", "sub/b.pdb"]
