"""What every backend promises.

A test class of a backend derives from :class:`BackendContract` and supplies the fixture ``directory``, an empty folder
on the file system that the backend serves. What a store cannot do is said by the flags, not by skipping tests::

    class TestTape(BackendContract):
        has_locks = False

        @pytest.fixture
        def directory(self) -> Directory:
            return Directory.from_url("tape://library/root")
"""

from __future__ import annotations

from airflow_dataflow.testing.files import FileContract
from airflow_dataflow.testing.folders import FolderContract
from airflow_dataflow.testing.parts import PartContract
from airflow_dataflow.testing.properties import PropertyContract
from airflow_dataflow.testing.versions import VersionContract


class BackendContract(FileContract, FolderContract, PartContract, PropertyContract, VersionContract):
    """Tests that hold for any backend."""
