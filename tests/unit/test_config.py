"""Settings: defaults < file < environment < flags, and sentences for whatever is wrong."""

import os
from pathlib import Path

import pytest

from hpcq import config
from hpcq.config import ConfigError, Queue, Settings
from hpcq.config_file import render
from hpcq.engine.registry import find_runners

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's own settings is found."""
    for name in os.environ:
        if name.startswith("HPCQ_") or name in ("STATE_DIRECTORY", "XDG_STATE_HOME"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "etc"))
    monkeypatch.chdir(tmp_path)


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "given.toml"
    file.write_text(text, encoding="utf-8")
    return file


def complaint(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        config.load(written(tmp_path, text))
    return str(caught.value)


# The file that is shipped.


def test_the_shipped_file_is_what_the_settings_render() -> None:
    shipped = (ROOT / "config" / "hpcq.toml").read_text(encoding="utf-8")
    assert shipped == render(), "run: python -c 'from hpcq.config_file import render as r; print(r(), end=\"\")'"


def test_loading_the_shipped_file_changes_nothing() -> None:
    loaded, default = config.load(ROOT / "config" / "hpcq.toml"), Settings()
    assert loaded.model_copy(update={"queues": {}}) == default.model_copy(update={"queues": {}})
    assert list(loaded.queues) == list(default.queues)
    for name, queue in default.queues.items():
        given = loaded.queues[name]
        assert given.model_dump(include=set(Queue.model_fields)) == queue.model_dump(), name
        runner = find_runners()[queue.runner].runner
        assert runner is not None, f"the runner {queue.runner} cannot be loaded"
        assert runner.settings(**given.runner_settings) == runner.settings(), name


def test_the_shipped_file_has_every_setting() -> None:
    text = render()
    for table, field in Settings.model_fields.items():
        assert f"\n[{table}" in text
        for key in getattr(type(field.default), "model_fields", {}):
            assert f"\n{key} = " in text or f"\n# {key} =\n" in text


def test_every_setting_is_explained() -> None:
    assert "None" not in render()


# Where settings come from.


def test_without_a_file_the_defaults_hold() -> None:
    settings = config.load()
    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 8000)
    assert {"local", "compute", "noop"} <= settings.queues.keys()
    assert settings.queues["local"].slots == os.cpu_count()


def test_a_file_goes_before_the_defaults(tmp_path: Path) -> None:
    assert config.load(written(tmp_path, "[server]\nport = 9000")).server.port == 9000


def test_the_environment_goes_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPCQ_SERVER__PORT", "9001")
    settings = config.load(written(tmp_path, '[server]\nport = 9000\nlog_level = "debug"'))
    assert (settings.server.port, settings.server.log_level) == (9001, "debug")


def test_a_flag_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPCQ_SERVER__PORT", "9001")
    assert config.load(flags={"server": {"port": 9002, "host": None}}).server.port == 9002


def test_a_file_in_the_working_directory_is_found(tmp_path: Path) -> None:
    (tmp_path / "hpcq.toml").write_text("[server]\nport = 9000", encoding="utf-8")
    assert config.load().server.port == 9000


def test_a_file_in_the_users_configuration_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "etc" / "hpcq"
    folder.mkdir(parents=True)
    (folder / "hpcq.toml").write_text("[server]\nport = 9000", encoding="utf-8")
    assert config.load().server.port == 9000


def test_what_a_job_sees_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPCQ_JOB_ID", "7")
    monkeypatch.setenv("HPCQ_RESOURCE_GPU", "0")
    monkeypatch.setenv("HPCQ_URL", "http://127.0.0.1:8000")
    assert config.load() == Settings()


# Queues.


def test_queues_of_the_file_join_the_built_in_ones(tmp_path: Path) -> None:
    queues = config.load(written(tmp_path, '[queues.nightly]\nrunner = "shell"\nslots = 1')).queues
    assert {"local", "compute", "noop", "nightly"} <= queues.keys()


def test_a_built_in_queue_keeps_what_the_file_does_not_name(tmp_path: Path) -> None:
    queue = config.load(written(tmp_path, "[queues.noop]\nbatch_size = 5")).queues["noop"]
    assert (queue.runner, queue.slots, queue.batch_size) == ("noop", 16, 5)


def test_a_queue_may_have_no_slots(tmp_path: Path) -> None:
    assert config.load(written(tmp_path, "[queues.local]\nslots = 0")).queues["local"].slots == 0


def test_retries_may_be_a_number(tmp_path: Path) -> None:
    retries = config.load(written(tmp_path, "[queues.local]\nretries = 2")).queues["local"].retries
    assert (retries.max, retries.backoff_s) == (2, 1.0)


def test_keys_that_no_queue_has_go_to_its_runner(tmp_path: Path) -> None:
    queue = config.load(written(tmp_path, "[queues.compute]\nmax_size = 64")).queues["compute"]
    assert queue.runner_settings == {"max_size": 64}


def test_resources_are_counts_or_items(tmp_path: Path) -> None:
    resources = config.load(written(tmp_path, '[resources]\nlicence = 1\ngpu = ["0", "1"]')).resources
    assert resources == {"licence": 1.0, "gpu": ("0", "1")}


# What is wrong is named, and so is the way out.


def test_an_unknown_key_names_the_nearest_known_one(tmp_path: Path) -> None:
    assert "server.prot is not a setting; did you mean port?" in complaint(tmp_path, "[server]\nprot = 9000")


def test_an_unknown_table_names_the_nearest_known_one(tmp_path: Path) -> None:
    assert "servr is not a setting; did you mean server?" in complaint(tmp_path, "[servr]\nport = 9000")


def test_an_unknown_variable_names_the_nearest_known_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPCQ_SERVER__PROT", "9000")
    with pytest.raises(ConfigError, match="HPCQ_SERVER__PROT is not a setting; did you mean HPCQ_SERVER__PORT"):
        config.load()


def test_every_wrong_value_is_named(tmp_path: Path) -> None:
    lines = complaint(tmp_path, '[server]\nport = 70000\n[queues.local]\nslots = "many"').splitlines()
    assert len(lines) == 2
    assert "server.port" in lines[0]
    assert "70000" in lines[0]
    assert "queues.local.slots" in lines[1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[resources]\ngpu = ["0", "0"]', "resources.gpu: names an item twice"),
        ('[resources]\ngpu = ["a,b"]', "resources.gpu: must be at most"),
        ("[resources]\nlicence = -1", "resources.licence: must be a count of 0 or more"),
        ("[resources]\nlicence = nan", "resources.licence: must be a count of 0 or more"),
        ("[resources]\nlicence = true", "resources.licence: must be a count, or a list"),
        ('[resources]\n"a b" = 1', "resources.a b: is no name"),
        ('[queues."../x"]\nrunner = "shell"', "queues.../x: is no name"),
    ],
)
def test_nonsense_is_refused_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    assert said in complaint(tmp_path, text)


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    assert "given.toml: not valid TOML" in complaint(tmp_path, "[server\n")


def test_a_file_that_was_asked_for_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml: no such file"):
        config.load(tmp_path / "absent.toml")


def test_a_wrong_flag_is_refused() -> None:
    with pytest.raises(ConfigError, match="port"):
        config.load(flags={"server": {"port": 70000}})


# The data folder.


def test_the_data_folder_is_the_setting_or_systemds_or_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert config.data_dir(config.load()) == tmp_path / "state" / "hpcq"
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/hpcq")
    assert config.data_dir(config.load()) == Path("/var/lib/hpcq")
    assert config.data_dir(config.load(flags={"server": {"data_dir": tmp_path}})) == tmp_path
