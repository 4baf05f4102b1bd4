"""Parts on local file systems: space, handles, and what a forged handle can reach."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_dataflow.errors import StorageFullError
from airflow_dataflow.storage.backends import errors_explained
from airflow_dataflow.storage.backends._local_parts import LocalUpload
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.parts import LostUploadError, Parts, sealed
from tests.services.mounts import NotMountedError, mounted

MIB = 1 << 20


@pytest.mark.mounts
def test_a_file_that_does_not_fit_is_refused_before_a_byte_is_sent(tmp_path: Path) -> None:
    try:
        with mounted("ext4", 64 * MIB, tmp_path) as disk:
            folder = Directory.from_url(str(disk / "full"))
            backend, path = folder.backend, folder.path("a")
            with pytest.raises(StorageFullError, match="no space left"), errors_explained("a", backend, path):
                backend.begin_upload(path, size=256 * MIB, part_bytes=MIB)
            assert list((disk / "full").iterdir()) == []
    except NotMountedError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("words", [["../../x", 1, 1], ["0" * 32, 1, 0], ["0" * 32, "x", 1], ["0" * 32], ["/etc", 1, 1]])
def test_a_forged_handle_reaches_nothing(tmp_path: Path, words: list[object]) -> None:
    target = tmp_path / "a"
    assert LocalUpload.resume(target, sealed(target.name, *words)) is None


def test_a_link_in_the_place_of_the_hidden_file_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    upload = LocalUpload.begin(tmp_path / "a", Parts(6, 6))
    hidden = next(path for path in tmp_path.iterdir() if path.name.endswith(".partial"))
    hidden.unlink()
    hidden.symlink_to(secret)
    assert LocalUpload.resume(tmp_path / "a", upload.handle) is None
    with pytest.raises(OSError, match="symbolic links"):
        upload.put(0, b"broken")
    assert secret.read_bytes() == b"secret"


def test_a_hidden_file_that_was_swept_is_begun_again(tmp_path: Path) -> None:
    upload = LocalUpload.begin(tmp_path / "a", Parts(6, 6))
    upload.discard()
    for act in (lambda: upload.put(0, b"lost!!"), lambda: upload.read(0), lambda: upload.publish(["6"])):
        with pytest.raises(LostUploadError, match="begin it again"):
            act()
