"""Settings: precedence, derived values, and all that is wrong said at once."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peercron.errors import ConfigError
from peercron.settings import Settings, load
from peercron.sources import FIELDS
from peercron.timers import PROFILES

LOOPBACK = "127.0.0.1:7400,127.0.0.1:7401,127.0.0.1:7402"


def configure(environ: dict[str, str] | None = None, *, local: tuple[str, ...] = (), **flags: object) -> Settings:
    return load(flags, environ or {}, local=lambda host: host in local)


def problems(environ: dict[str, str] | None = None, *, local: tuple[str, ...] = (), **flags: object) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        configure(environ, local=local, **flags)
    return {problem.path: problem.message for problem in caught.value.problems}


@pytest.fixture
def secret_file(tmp_path: Path) -> str:
    path = tmp_path / "secret"
    path.write_text("0123456789abcdef0123456789abcdef\n")
    path.chmod(0o600)
    return str(path)


def test_one_flag_is_enough_on_loopback() -> None:
    settings = configure(peers="127.0.0.1:7400", local=("127.0.0.1",))
    assert settings.peers == ("127.0.0.1:7400",)
    assert settings.self_address == "127.0.0.1:7400"
    assert settings.name == "127.0.0.1"
    assert settings.http == "127.0.0.1:8400"
    assert settings.data_dir == Path("peercron-data/127.0.0.1")
    assert settings.secret is None
    assert settings.warnings == ()
    assert settings.timers == PROFILES["lan"]


def test_self_is_found_among_the_local_addresses(secret_file: str) -> None:
    settings = configure(peers="a:7400,b:7400,c:7400", secret_file=secret_file, local=("b",))
    assert (settings.self_address, settings.name, settings.http) == ("b:7400", "b", "b:8400")
    assert settings.secret == b"0123456789abcdef0123456789abcdef"


def test_ambiguous_self_says_so() -> None:
    message = problems(peers=LOOPBACK, local=("127.0.0.1",))["--self"]
    assert "several of the peers are this host" in message
    assert "--self" in message


def test_no_local_peer_says_so(secret_file: str) -> None:
    assert "none of the peers is this host" in problems(peers="a:1,b:1", secret_file=secret_file)["--self"]


def test_who_has_moved_is_where_it_says() -> None:
    settings = configure(peers=LOOPBACK, self="127.0.0.1:9999")
    assert (settings.self_address, settings.name, settings.http) == (
        "127.0.0.1:9999",
        "127.0.0.1-9999",
        "127.0.0.1:10999",
    )


def test_a_newcomer_says_whom_it_joins_and_where_it_is() -> None:
    settings = configure(join="127.0.0.1:7400,127.0.0.1:7401", self="127.0.0.1:7403", role="witness")
    assert settings.join == ("127.0.0.1:7400", "127.0.0.1:7401")
    assert (settings.peers, settings.self_address, settings.role) == ((), "127.0.0.1:7403", "witness")
    assert (settings.name, settings.name_given) == ("127.0.0.1-7403", False)
    assert "required with --join" in problems(join="127.0.0.1:7400")["--self"]
    assert "give one of them" in problems(join="127.0.0.1:7400", peers=LOOPBACK, self="127.0.0.1:7400")["--join"]
    assert "HOST:PORT" in problems(join="nowhere", self="127.0.0.1:7400")["--join"]


def test_a_newcomer_needs_the_secret_like_everybody(secret_file: str) -> None:
    assert "--secret-file" in problems(join="a:7400", self="127.0.0.1:7400")
    assert "--secret-file" in problems(join="127.0.0.1:7400", self="a:7400", http="127.0.0.1:1")
    assert configure(join="a:7400", self="b:7400", secret_file=secret_file).name == "b"


def test_a_role_that_is_not_said_is_not_made_up() -> None:
    assert configure(peers="127.0.0.1:1", self="127.0.0.1:1").role == ""
    assert configure(peers="127.0.0.1:1", self="127.0.0.1:1", role="voter").role == "voter"


def test_the_dead_are_removed_only_on_request() -> None:
    at = {"peers": "127.0.0.1:1", "self": "127.0.0.1:1"}
    assert configure(**at).remove_dead_after_ms is None
    assert configure(**at, remove_dead_after="1h").remove_dead_after_ms == 3_600_000
    assert "shorter than a restart" in problems(**at, remove_dead_after="1s")["--remove-dead-after"]
    assert "--remove-dead-after" in problems(**at, remove_dead_after="soon")


def test_names_carry_the_port_where_hosts_repeat() -> None:
    settings = configure(peers=LOOPBACK, self="127.0.0.1:7401")
    assert settings.name == "127.0.0.1-7401"
    assert settings.data_dir == Path("peercron-data/127.0.0.1-7401")


def test_the_name_of_another_peer_is_refused() -> None:
    assert "is the name of the peer" in problems(peers=LOOPBACK, self="127.0.0.1:7401", name="127.0.0.1-7400")["--name"]


@pytest.mark.parametrize("name", ["../x", "a/b", "-a", "a b", "x" * 129])
def test_names_are_safe_as_folders(name: str) -> None:
    assert "--name" in problems(peers="127.0.0.1:7400", self="127.0.0.1:7400", name=name)


def test_peers_are_required() -> None:
    assert "required" in problems()["--peers"]


@pytest.mark.parametrize(
    ("peers", "said"),
    [
        ("a", "HOST:PORT"),
        ("a:x", "port"),
        ("127.0.0.1:1,127.0.0.1:1", "twice"),
        ("0.0.0.0:7400", "cannot be dialled"),
        (",".join(f"127.0.0.1:{port}" for port in range(1, 34)), "at most 32"),
    ],
)
def test_bad_peers_are_named(peers: str, said: str) -> None:
    assert said in problems(peers=peers)["--peers"]


def test_every_problem_at_once() -> None:
    found = problems({"PEERCRON_DURABILITY": "maybe"}, peers="a:x", profile="lam", http="nowhere", role="leader")
    assert set(found) == {"--peers", "--profile", "--http", "--role", "PEERCRON_DURABILITY"}
    assert "did you mean lan?" in found["--profile"]


def test_a_secret_is_required_beyond_loopback() -> None:
    message = problems(peers="a:7400", local=("a",))["--secret-file"]
    assert "a:7400 is not a loopback address" in message
    assert "--insecure" in message


def test_a_secret_is_required_for_http_beyond_loopback_too() -> None:
    assert "--secret-file" in problems(peers="127.0.0.1:7400", self="127.0.0.1:7400", http="0.0.0.0:8400")


def test_insecure_is_said_aloud() -> None:
    settings = configure(peers="a:7400", insecure=True, local=("a",))
    assert any("insecure" in warning for warning in settings.warnings)


def test_open_http_is_said_aloud(secret_file: str) -> None:
    settings = configure(peers="a:7400", secret_file=secret_file, local=("a",))
    assert any("no access control" in warning for warning in settings.warnings)


def test_a_secret_from_the_environment(secret_file: str) -> None:
    environ = {"PEERCRON_SECRET": " a-secret-of-good-length \n"}
    assert configure(environ, peers="a:1", local=("a",)).secret == b"a-secret-of-good-length"
    assert configure(environ, peers="a:1", local=("a",), secret_file=secret_file).secret == (b"0123456789abcdef" * 2)
    both = problems(environ | {"PEERCRON_SECRET_FILE": secret_file}, peers="a:1", local=("a",))
    assert "give one of them" in both["PEERCRON_SECRET_FILE"]


def test_a_secret_is_never_shown() -> None:
    settings = configure({"PEERCRON_SECRET": "hush-hush-hush-hush"}, peers="a:1", local=("a",))
    assert "hush" not in repr(settings)


def test_bad_secret_files(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text(" \n")
    assert "is empty" in problems(peers="a:1", local=("a",), secret_file=str(tmp_path / "empty"))["--secret-file"]
    assert "cannot read" in problems(peers="a:1", local=("a",), secret_file=str(tmp_path / "none"))["--secret-file"]


def test_weak_secrets_are_warned_of(tmp_path: Path) -> None:
    (tmp_path / "short").write_text("short")
    (tmp_path / "short").chmod(0o644)
    warnings = configure(peers="a:1", local=("a",), secret_file=str(tmp_path / "short")).warnings
    assert any("short" in warning for warning in warnings)
    assert any("every user" in warning for warning in warnings)


def test_modules_are_imported_by_their_names() -> None:
    here = {"peers": "127.0.0.1:7400", "self": "127.0.0.1:7400"}
    assert load(here | {"import": ("acme.jobs", "more")}, {}).imports == ("acme.jobs", "more")
    with pytest.raises(ConfigError, match=r"'acme/jobs.py' is not the name of a Python module") as caught:
        load(here | {"import": ("acme/jobs.py",)}, {})
    assert [problem.path for problem in caught.value.problems] == ["--import"]


def test_http_needs_a_port_it_can_have() -> None:
    assert "give --http" in problems(peers="127.0.0.1:65000", self="127.0.0.1:65000")["--http"]


def test_http_on_all_addresses_is_advertised_by_the_name_of_self(secret_file: str) -> None:
    settings = configure(peers="a:7400", http="0.0.0.0:80", secret_file=secret_file, local=("a",))
    assert settings.http == "0.0.0.0:80"
    assert settings.http_url == "http://a:80"


def test_tls_comes_in_pairs(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("x")
    found = problems(peers="127.0.0.1:1", self="127.0.0.1:1", tls_cert=str(tmp_path / "cert.pem"), tls_ca="none.pem")
    assert "--tls-key" in found["--tls-cert"]
    assert "no file" in found["--tls-ca"]


def test_precedence_flag_environment_file_default(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text(
        'peers = ["127.0.0.1:7400"]\nself = "127.0.0.1:7400"\ndc = "file"\nname = "file"\nhttp = "[::1]:1"\n'
    )
    settings = configure({"PEERCRON_DC": "environ", "PEERCRON_NAME": "environ"}, config=str(file), name="flag")
    assert (settings.name, settings.dc, settings.http, settings.profile) == ("flag", "environ", "[::1]:1", "lan")
    origins = [settings.origins[key] for key in ("name", "dc", "http", "profile")]
    assert origins == ["flag --name", "environment PEERCRON_DC", f"file {file}", "default"]


def test_an_empty_variable_is_not_set() -> None:
    settings = configure({"PEERCRON_DC": "", "PEERCRON_INSECURE": ""}, peers="127.0.0.1:1", self="127.0.0.1:1")
    assert (settings.dc, settings.insecure) == ("", False)


def test_a_misspelt_variable_is_warned_of() -> None:
    environ = {"PEERCRON_DATADIR": "x", "PEERCRON_ADDR": "x", "PEERCRON_JOB": "x", "PEERCRON_PORT_7400_TCP": "x"}
    settings = configure(environ, peers="127.0.0.1:1", self="127.0.0.1:1")
    assert settings.warnings == ("PEERCRON_DATADIR is not read; is it PEERCRON_DATA_DIR?",)


def test_unknown_keys_name_the_nearest(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text('data-dir = "x"\nzebra = 1\n')
    found = problems({"PEERCRON_CONFIG": str(file)}, peers="127.0.0.1:1", self="127.0.0.1:1")
    assert found == {f"{file}: data-dir": "unknown key; did you mean data_dir?", f"{file}: zebra": "unknown key"}


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    assert "cannot read" in problems(config=str(file))["--config"]
    file.write_text("a = = 1")
    assert "line 1" in problems(config=str(file))[str(file)]
    file.write_bytes(b"\xff\xfe")
    assert "not valid TOML" in problems(config=str(file))[str(file)]


def test_wrong_types_in_a_file_are_named(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text('peers = 7\nname = ["x"]\ninsecure = "maybe"\ntags = "disk"\n')
    assert set(problems(config=str(file))) >= {f"{file}: {key}" for key in ("peers", "name", "insecure", "tags")}


def test_tags_from_all_places(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text('peers = "127.0.0.1:1"\nself = "127.0.0.1:1"\n[tags]\ndisk = "ssd"\n')
    assert configure(config=str(file)).tags == (("disk", "ssd"),)
    assert configure({"PEERCRON_TAG": "b=2,a=1"}, config=str(file)).tags == (("a", "1"), ("b", "2"))
    assert configure(config=str(file), tags=("rack=7", "gpu=")).tags == (("gpu", ""), ("rack", "7"))


def test_each_field_has_a_flag_and_a_variable() -> None:
    assert len({spec.flag for spec in FIELDS}) == len({spec.variable for spec in FIELDS}) == len(FIELDS)
    assert {"--data-dir": "PEERCRON_DATA_DIR", "--tag": "PEERCRON_TAG"}.items() <= {
        spec.flag: spec.variable for spec in FIELDS
    }.items()


@given(st.dictionaries(st.sampled_from([spec.variable for spec in FIELDS]), st.text(min_size=1, max_size=20)))
def test_any_environment_gives_settings_or_says_what_is_wrong(environ: dict[str, str]) -> None:
    with contextlib.suppress(ConfigError):
        settings = load({}, environ, local=lambda _: False)
        assert settings.peers or settings.join
