"""What an agent may be told, in a file and on the command line, and how all that is wrong is refused at once."""

from __future__ import annotations

import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from interlock.agent.main import main
from interlock.agent.settings.config import RANGES, AgentConfig, BadConfig
from interlock.agent.settings.configuring import configured, state_dir_in
from interlock.agent.settings.options import FLAG, FOLDERS, NUMBER, OPTIONS

EXAMPLE = Path(__file__).parents[2] / "packaging" / "agent.toml"
KEYS = ", ".join(option.key for option in OPTIONS)
#: Enough to start with.
ENOUGH = 'name = "h1"\nstate_dir = "/s"\nstorage_roots = ["/r"]\nplain = true\n'


def file(folder: Path, text: str | bytes) -> Path:
    path = folder / "agent.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refused(words: dict[str, Any], path: Path | None) -> list[str]:
    with pytest.raises(BadConfig) as error:
        configured(words, path)
    return list(error.value.mistakes)


def config(**changes: Any) -> AgentConfig:
    least: dict[str, Any] = {"name": "h1", "state_dir": Path("/s"), "storage_roots": (Path("/r"),)}
    return AgentConfig(**{**least, **changes})


def test_a_file_says_all_that_the_command_line_can(tmp_path: Path) -> None:
    text = """
        name = "h1"
        state_dir = "/s"
        storage_roots = ["/r1", "/r2"]
        listen_host = "::1"
        listen_port = 1
        tls_dir = "/t"
        plain = false
        stock = true
        workers = 2
        unfinished_tasks_max = 3
        lock_timeout_s = 4
        copy_rate_bytes_per_s = 5
        qemu_img = "q"
        json_logs = true
    """
    assert set(tomllib.loads(text)) == {option.key for option in OPTIONS}
    assert configured({}, file(tmp_path, text)) == AgentConfig(
        name="h1",
        state_dir=Path("/s"),
        storage_roots=(Path("/r1"), Path("/r2")),
        listen_host="::1",
        listen_port=1,
        tls_dir=Path("/t"),
        stock=True,
        workers=2,
        unfinished_tasks_max=3,
        lock_timeout_s=4,
        copy_rate_bytes_per_s=5,
        qemu_img="q",
        json_logs=True,
    )


def test_every_setting_has_an_option() -> None:
    assert {field.name for field in fields(AgentConfig)} | {"plain"} == {option.key for option in OPTIONS}
    assert {option.key for option in OPTIONS if option.kind is NUMBER} == set(RANGES)


def test_the_command_line_counts_more_than_the_file(tmp_path: Path) -> None:
    path = file(tmp_path, ENOUGH + "stock = true\nworkers = 2\n")
    words = {"name": "h2", "storage_roots": ["r3"], "stock": False, "workers": "5"}
    assert configured(words, path) == config(name="h2", storage_roots=(Path("r3").absolute(),), workers=5)


@pytest.mark.parametrize(
    ("said", "words", "expected"),
    [
        ("plain = true", {"tls_dir": "/t"}, Path("/t")),
        ('tls_dir = "/t"', {"plain": True}, None),
        ('tls_dir = "/t"', {}, Path("/t")),
        ('tls_dir = "/t"\nplain = false', {}, Path("/t")),
    ],
)
def test_a_transport_on_the_command_line_takes_the_place_of_the_files(
    tmp_path: Path, said: str, words: dict[str, Any], expected: Path | None
) -> None:
    path = file(tmp_path, ENOUGH.replace("plain = true", said))
    assert configured(words, path) == config(tls_dir=expected)


NO_CERTIFICATE = "there is no certificate; give --tls-dir{}tls_dir; on loopback, --plain will do"


def test_what_is_missing_is_named_together(tmp_path: Path) -> None:
    path = file(tmp_path, "")
    for given, where in ((path, f" or, in {path}, "), (None, ", or --config and there ")):
        assert refused({}, given) == [
            f"there is no name; give --name{where}name",
            f"there is no state_dir; give --state-dir{where}state_dir",
            f"there is no storage_roots; give --storage-root{where}storage_roots",
            NO_CERTIFICATE.format(where),
        ]


def test_all_mistakes_are_told_together(tmp_path: Path) -> None:
    path = file(tmp_path, 'name = 7\nwrokers = 2\nworkers = 0\nlisten_port = "22"\nstate_dir = "s"\nplain = 1\n')
    assert refused({"lock_timeout_s": "x", "storage_roots": ["/"]}, path) == [
        f"{path}: name: 7 is no text of one line; write some, in quotes",
        f"{path}: 'wrokers' is no key; is workers meant?",
        f"{path}: listen_port: '22' is no whole number of 64 bits; write one in digits",
        f"{path}: state_dir: 's' is no absolute path; write one that begins with '/', in quotes",
        f"{path}: plain: 1 is neither true nor false; write one of them, without quotes",
        "--lock-timeout-s: 'x' is no whole number of 64 bits; write one in digits",
        NO_CERTIFICATE.format(f" or, in {path}, "),
        f"{path}: workers: 0 is not between 1 and 64",
        "--storage-root: '/' would give the agent every file of the host; name the folders that hold images",
    ]


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("name = 'h1", "is no TOML: Expected"),
        ("name = 1\nname = 2\n", "is no TOML: Cannot overwrite a value"),
        (b"name = '\xff'", "is no TOML: 'utf-8' codec can't decode"),
        ("a = " + "[" * 100_000, "is no TOML: "),
        ("workers = " + "9" * 5_000, "is no TOML: "),
        ("#" * (1 << 20) + "\n", "has more than 1048576 bytes"),
    ],
    ids=["unfinished", "twice", "bytes", "deep", "digits", "long"],
)
def test_what_is_no_file_of_ours_is_refused_whole(tmp_path: Path, text: str | bytes, fact: str) -> None:
    path = file(tmp_path, text)
    (mistake,) = refused({"name": "h1"}, path)
    assert mistake.startswith(f"{path}: {fact}")


@pytest.mark.parametrize(
    ("line", "fact"),
    [
        ("workers = 65", "workers: 65 is not between 1 and 64"),
        ("workers = true", "workers: True is no whole number of 64 bits; write one in digits"),
        ("workers = 4.0", "workers: 4.0 is no whole number of 64 bits; write one in digits"),
        (
            f"workers = {'9' * 20}",
            "workers: 99999999999999999999 is no whole number of 64 bits; write one in digits",
        ),
        ("listen_port = -1", "listen_port: -1 is not between 0 and 65535"),
        ("lock_timeout_s = 0", "lock_timeout_s: 0 is not between 1 and 86400"),
        ("unfinished_tasks_max = 10001", "unfinished_tasks_max: 10001 is not between 1 and 10000"),
        ("copy_rate_bytes_per_s = 0", "copy_rate_bytes_per_s: 0 is not between 1 and 9223372036854775807"),
        ("stock = 'yes'", "stock: 'yes' is neither true nor false; write one of them, without quotes"),
        ("qemu_img = ''", "qemu_img: '' is no text of one line; write some, in quotes"),
        ('listen_host = "a\\nb"', "listen_host: 'a\\nb' is no text of one line; write some, in quotes"),
        (
            f"qemu_img = ['{'x' * 100}']",
            f"qemu_img: ['{'x' * 58}… is no text of one line; write some, in quotes",
        ),
        ('tls_dir = "/a\\u0000"', "tls_dir: '/a\\x00' is no absolute path; write one that begins with '/', in quotes"),
        ("[agent]\nname = 'h'", f"'agent' is no key; there are {KEYS}"),
        ('"a\\u001b" = 1', f"'a\\x1b' is no key; there are {KEYS}"),
    ],
    ids=lambda text: text.splitlines()[0] if " = " in text else "",
)
def test_a_value_that_cannot_be_is_refused(tmp_path: Path, line: str, fact: str) -> None:
    path = file(tmp_path, ENOUGH + line)
    assert f"{path}: {fact}" in refused({}, path)


@pytest.mark.parametrize(
    ("line", "fact"),
    [
        ('name = ""', "name: '' is no text of one line; write some, in quotes"),
        (f'name = "{"x" * 256}"', "name: give a name of 1 to 255 printable characters"),
        ("storage_roots = []", "storage_roots: name at least one folder"),
        ('storage_roots = "/r"', "storage_roots: '/r' is no list; write one of absolute paths, as [\"/srv/images\"]"),
        ('storage_roots = ["r"]', "storage_roots: 'r' is no absolute path; write one that begins with '/', in quotes"),
        (
            'storage_roots = ["/x", "/s/.."]',
            "storage_roots: '/' would give the agent every file of the host; name the folders that hold images",
        ),
        (
            'storage_roots = ["/x", "/s"]',
            "storage_roots: the state folder /s lies within /s, among the images; keep it elsewhere",
        ),
    ],
    ids=lambda text: text.split(" = ")[0] if " = " in text else "",
)
def test_a_value_that_is_needed_and_cannot_be_is_refused_once(tmp_path: Path, line: str, fact: str) -> None:
    key = line.partition(" = ")[0]
    rest = "".join(f"{each}\n" for each in ENOUGH.splitlines() if not each.startswith(key))
    path = file(tmp_path, rest + line)
    assert refused({}, path) == [f"{path}: {fact}"]


def test_two_transports_exclude_each_other(tmp_path: Path) -> None:
    path = file(tmp_path, ENOUGH + 'tls_dir = "/t"\n')
    assert refused({}, path) == [f"{path}: plain: there is a tls_dir, too; choose one of them"]
    assert refused({"plain": True, "tls_dir": "/t"}, path) == ["--plain: there is a tls_dir, too; choose one of them"]


def test_settings_made_in_a_program_are_checked_as_well() -> None:
    with pytest.raises(BadConfig) as error:
        config(workers=0, storage_roots=())
    assert error.value.mistakes == ("workers: 0 is not between 1 and 64", "storage_roots: name at least one folder")


@pytest.mark.parametrize("name", ["nothing.toml", "", "agent.toml/x"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    file(tmp_path, ENOUGH)
    (mistake,) = refused({}, tmp_path / name)
    assert mistake.startswith(f"{tmp_path / name}: cannot be read: ")
    assert mistake.endswith("; name a file that you may read")


def test_the_state_folder_is_found_in_a_file_with_other_mistakes(tmp_path: Path) -> None:
    assert state_dir_in(file(tmp_path, 'state_dir = "/s"\nworkers = 0\nbogus = 1\n')) == Path("/s")
    for text, fact in (
        ("workers = 0\n", "has no state_dir; write it there, or name the folder itself"),
        ("state_dir = 3\n", "state_dir: 3 is no absolute path; write one that begins with '/', in quotes"),
    ):
        path = file(tmp_path, text)
        with pytest.raises(BadConfig) as error:
            state_dir_in(path)
        assert error.value.mistakes == (f"{path}: {fact}",)


def test_the_example_has_every_key_and_shows_what_holds_without_it(tmp_path: Path) -> None:
    lines = EXAMPLE.read_text().splitlines()
    said = {line.partition(" = ")[0].removeprefix("#"): line for line in lines if line and not line.startswith("# ")}
    assert set(said) == {option.key for option in OPTIONS}
    made = configured({}, EXAMPLE)
    everything = file(tmp_path, "\n".join(line.removeprefix("#") for line in said.values()))
    default = {field.name: field.default for field in fields(AgentConfig)}
    commented = {key for key, line in said.items() if line.startswith("#")} - {"plain", "copy_rate_bytes_per_s"}
    complete = configured({}, everything)
    assert {key: getattr(complete, key) for key in commented} == {key: default[key] for key in commented}
    assert made.copy_rate_bytes_per_s is None


def test_the_help_tells_every_option_and_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    told = " ".join(capsys.readouterr().out.split())
    for option in OPTIONS:
        assert option.flag in told
        assert option.help in told
        assert (f"--no-{option.flag[2:]}" in told) is (option.kind is FLAG)
    assert "(default: 54321)" in told
    assert [option.flag for option in OPTIONS if option.kind is FOLDERS] == ["--storage-root"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--bogus"], "python -m interlock.agent: unrecognized arguments: --bogus; "),
        (["--work", "3"], "python -m interlock.agent: unrecognized arguments: --work 3; "),
        (["--workers"], "python -m interlock.agent: argument --workers: expected one argument; "),
    ],
)
def test_an_option_that_there_is_not_is_64(capsys: pytest.CaptureFixture[str], words: list[str], reason: str) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 64
    assert capsys.readouterr().err == f"{reason}`python -m interlock.agent --help` tells of the options\n"
