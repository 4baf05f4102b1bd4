"""The set-up that ``make`` does before anything else."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

import airflow_dataflow

REPOSITORY = Path(airflow_dataflow.__file__).parent.parent


@pytest.fixture
def set_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the script, at work in an empty folder and unable to run a command."""
    spec = importlib.util.spec_from_file_location("set_up", REPOSITORY / "tools" / "set_up.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    environment = tmp_path / ".venv"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "python").touch()
    (tmp_path / "pyproject.toml").write_text("[project.optional-dependencies]\ndev = []\nhdfs = []\nall = []\n")
    (tmp_path / "constraints.txt").write_text("pinned==1\n")
    for name, value in {
        "ROOT": tmp_path,
        "ENVIRONMENT": environment,
        "PYTHON": environment / "bin" / "python",
        "CONSTRAINTS": tmp_path / "constraints.txt",
    }.items():
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(module, "run", lambda *command: pytest.fail(f"ran {command}"))
    return module


def test_a_current_environment_is_left_alone(set_up: ModuleType) -> None:
    set_up.stamp("dev").write_text(set_up.key())
    assert set_up.main([]) == 0


def test_an_extra_that_does_not_exist_is_refused(set_up: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert set_up.main(["hfds"]) == 1
    assert "there is no extra 'hfds'; there are all, dev, hdfs" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_another_requirement_makes_the_environment_out_of_date(set_up: ModuleType, name: str) -> None:
    before = set_up.key()
    with (set_up.ROOT / name).open("a") as file:
        file.write("# pinned==2\n")
    assert set_up.key() != before


@pytest.fixture
def commands(set_up: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let commands succeed, and return what was run."""
    ran: list[str] = []

    def run(*command: object) -> bool:
        ran.append(" ".join(str(part) for part in command))
        return True

    monkeypatch.setattr(set_up, "run", run)
    monkeypatch.setattr(set_up, "succeeds", lambda _python, _code: True)
    return ran


def test_everything_is_installed_at_the_pinned_versions(set_up: ModuleType, commands: list[str]) -> None:
    assert set_up.main([]) == 0
    installs = [command for command in commands if " install " in command]
    assert installs
    assert all(f"--constraint {set_up.CONSTRAINTS}" in command for command in installs)


def test_a_spark_that_lost_its_files_is_installed_again(set_up: ModuleType, commands: list[str]) -> None:
    assert set_up.main([]) == 0
    assert "--force-reinstall --no-deps pyspark" in commands[-1]
    commands.clear()
    set_up.stamp("dev").unlink()
    (set_up.ENVIRONMENT / "bin" / "spark-submit").touch()
    assert set_up.main([]) == 0
    assert not any("pyspark" in command for command in commands)


@pytest.mark.parametrize(("tool", "works"), [(" -m uv ", True), (" install ", False)])
def test_pip_takes_over_from_uv_and_a_failure_of_both_is_told(
    set_up: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, tool: str, works: bool
) -> None:
    monkeypatch.setattr(set_up, "run", lambda *command: tool not in " ".join(str(part) for part in command))
    monkeypatch.setattr(set_up, "succeeds", lambda _python, _code: True)
    assert set_up.main([]) == (0 if works else 1)
    assert ("error: " in capsys.readouterr().err) != works
    assert set_up.is_current("dev") == works


def no_root() -> int:
    """Be an ordinary user."""
    return 1000


@pytest.mark.parametrize(
    ("arguments", "prepare", "command"),
    [
        ([], lambda module: module.PYTHON.unlink(), "apt-get install -y python3."),
        (["hdfs"], lambda _module: None, "apt-get install -y libkrb5-dev gcc"),
    ],
    ids=["venv", "Kerberos"],
)
def test_an_ordinary_user_is_told_what_root_has_to_install(
    set_up: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    prepare: Callable[[ModuleType], None],
    command: str,
) -> None:
    prepare(set_up)
    monkeypatch.setattr(set_up, "succeeds", lambda _python, _code: False)
    monkeypatch.setattr(set_up.shutil, "which", lambda name: "/usr/bin/apt-get" if name == "apt-get" else None)
    monkeypatch.setattr(set_up.os, "geteuid", no_root)
    assert set_up.main(arguments) == 1
    assert command in capsys.readouterr().err


def test_root_gets_missing_packages_installed(
    set_up: ModuleType, commands: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(set_up.shutil, "which", lambda name: "/usr/bin/apt-get" if name == "apt-get" else None)
    monkeypatch.setattr(set_up.os, "geteuid", lambda: 0)
    assert set_up.main(["hdfs"]) == 0
    assert commands[1].startswith("apt-get install -q -y libkrb5-dev gcc")
    assert any("--editable .[dev,hdfs]" in command for command in commands)


def test_an_extra_is_added_to_the_environment_once(set_up: ModuleType, commands: list[str]) -> None:
    set_up.stamp("dev").write_text(set_up.key())
    (set_up.ENVIRONMENT / "bin" / "spark-submit").touch()
    assert set_up.main(["all"]) == 0
    assert commands[-1].endswith("--editable .[all]")
    commands.clear()
    assert set_up.main(["all"]) == 0
    assert set_up.main([]) == 0
    assert commands == []


def make(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run make in the repository."""
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(
        command, cwd=REPOSITORY, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


def test_help_lists_every_command() -> None:
    shown = make("help").stdout
    for target in ("setup", "demo", "ui", "test", "check", "format", "docs", "clean"):
        assert f"make {target} " in shown


def test_only_the_environment_of_the_tests_has_every_extra() -> None:
    for arguments, extras in {("test",): "all", ("demo", "TIERS=hdfs"): "", ("setup", "EXTRAS=gcs"): "gcs"}.items():
        assert f"tools/set_up.py {extras};" in make("--dry-run", *arguments).stdout


def test_every_extra_for_users_is_one_of_all() -> None:
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (everything,) = extras["all"]
    listed = set(everything.partition("[")[2].rstrip("]").split(","))
    assert listed == set(extras) - {"all", "demo", "dev", "testing"}


def test_a_machine_without_a_new_enough_python_is_told_so() -> None:
    result = make("setup", PYTHON="false")
    assert result.returncode != 0
    assert "error: Python 3.11 or later is needed" in result.stderr
