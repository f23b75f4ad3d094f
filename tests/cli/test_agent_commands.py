"""`interlock agent` and its commands, as far as no agent is needed."""

from pathlib import Path

import pytest

from tests.cli.conftest import Interlock

COMMANDS = ["tasks", "show", "stop", "revert", "clear"]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_with_an_example(interlock: Interlock, command: str) -> None:
    helped = interlock("agent", command, "--help")
    assert (helped.code, f"Examples:\n    interlock agent {command}" in helped.out) == (0, True)


def test_the_help_of_the_agent_tells_its_options_and_its_commands(interlock: Interlock) -> None:
    helped = interlock("agent", "--help")
    assert (helped.code, helped.err) == (0, "")
    for told in ("usage: interlock agent ", "--config FILE", *(f"\n  interlock agent {each} " for each in COMMANDS)):
        assert told in helped.out


def test_a_command_that_there_is_not_is_64(interlock: Interlock) -> None:
    typo = interlock("agent", "taks")
    assert (typo.code, typo.out, "No such command 'taks'" in typo.err) == (64, "", True)


def test_without_a_word_the_agent_itself_is_meant(interlock: Interlock) -> None:
    refused = interlock("agent")
    assert (refused.code, refused.out) == (64, "")
    assert refused.err.startswith("interlock agent: there is no name; ")


@pytest.mark.parametrize("beginning", ["", "019", "0192g", "../0192", "0192f0c1-7a3e-7c41-9d5e-3f1b2a4c5d6ef"])
@pytest.mark.parametrize("command", ["show", "stop", "revert", "clear"])
def test_what_is_no_id_is_64(interlock: Interlock, tmp_path: Path, command: str, beginning: str) -> None:
    refused = interlock("agent", command, beginning, "--state-dir", str(tmp_path))
    assert (refused.code, refused.out, refused.err) == (
        64,
        "",
        f"interlock: {beginning!r} is no task's id; give it, or at least its first 4 characters\n",
    )


def absent(folder: Path | str) -> tuple[int, str, str]:
    remedy = "start it, or name its state folder with --state-dir"
    return 1, "", f"interlock: no agent answers on {folder}/agent.sock; {remedy}\n"


def test_the_folder_is_found_by_option_then_file_then_environment(
    interlock: Interlock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "agent.toml"
    config.write_text('state_dir = "/by-file"\n')
    monkeypatch.setenv("INTERLOCK_AGENT_STATE", "/by-variable")
    for words, folder in (
        (("--state-dir", "/by-option", "--config", str(config)), "/by-option"),
        (("--config", str(config)), "/by-file"),
        ((), "/by-variable"),
    ):
        told = interlock("agent", "tasks", *words)
        assert (told.code, told.out, told.err) == absent(folder)


def test_without_any_folder_the_usual_one_is_meant_if_it_is_there(
    interlock: Interlock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("INTERLOCK_AGENT_STATE", raising=False)
    monkeypatch.setattr("interlock.cli.agent_asking.STATE_DEFAULT", tmp_path)
    told = interlock("agent", "tasks")
    assert (told.code, told.out, told.err) == absent(tmp_path)
    nowhere = tmp_path / "nowhere"
    monkeypatch.setattr("interlock.cli.agent_asking.STATE_DEFAULT", nowhere)
    told = interlock("agent", "tasks")
    remedy = "give --state-dir or --config, or set INTERLOCK_AGENT_STATE"
    assert (told.code, told.err) == (64, f"interlock: which agent? {nowhere} is not there; {remedy}\n")


def test_a_configuration_file_without_a_folder_is_64(interlock: Interlock, tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    config.write_text("state_dir = 3\n")
    told = interlock("agent", "tasks", "--config", str(config))
    fact = "3 is no absolute path; write one that begins with '/', in quotes"
    assert (told.code, told.err) == (64, f"interlock: {config}: state_dir: {fact}\n")
