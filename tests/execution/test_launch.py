"""How a command is started, and what is said when it cannot be."""

from __future__ import annotations

import os
import pwd
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from peercron.core.job import CommandTask, EnvEntry, SecretSource
from peercron.core.run import AttemptState
from peercron.execution.port import AttemptResult
from tests.execution.conftest import Witness

ROOT = os.getuid() == 0


def environment(result: AttemptResult) -> dict[str, str]:
    assert result.outcome is AttemptState.SUCCEEDED, result
    return dict(line.split("=", 1) for line in result.output_tail.splitlines())


def entry(name: str, source: SecretSource, value: str) -> EnvEntry:
    return EnvEntry(name=name, source=source, value=value)


async def test_the_environment_is_small_and_known(node: Witness, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = environment(await node.run(CommandTask(argv=("/usr/bin/env",)), env={"PEERCRON_RUN_ID": "uid/1"}))
    user = pwd.getpwuid(os.getuid())
    assert seen.pop("PEERCRON_MARK")
    assert seen.pop("PATH") == os.environ["PATH"]
    assert {name for name in seen if not name.startswith(("LC_", "LANG", "TZ"))} == {
        "HOME", "SHELL", "USER", "LOGNAME", "PEERCRON_RUN_ID",
    }  # fmt: skip
    assert (seen["HOME"], seen["USER"], seen["LOGNAME"]) == (user.pw_dir, user.pw_name, user.pw_name)
    assert (seen["SHELL"], seen["PEERCRON_RUN_ID"]) == ("/bin/sh", "uid/1")


async def test_entries_come_from_where_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text("geheim\n")
    (tmp_path / "token").write_text("t=1")
    monkeypatch.setenv("OF_THE_NODE", "n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    task = CommandTask(
        argv=("/usr/bin/env",),
        env=(
            entry("A", SecretSource.LITERAL, "ä b"),
            entry("B", SecretSource.FILE, str(tmp_path / "secret")),
            entry("C", SecretSource.ENV, "OF_THE_NODE"),
            entry("D", SecretSource.CREDENTIAL, "token"),
            entry("HOME", SecretSource.LITERAL, "/tmp"),
            entry("PEERCRON_RUN_ID", SecretSource.LITERAL, "forged"),
        ),
    )
    witness = Witness(tmp_path)
    await witness.supervisor.start()  # only now: the guardian has the environment that the node had when it started
    witness.lease(60, 61)
    seen = environment(await witness.run(task))
    await witness.supervisor.close(0)
    assert (seen["A"], seen["B"], seen["C"], seen["D"]) == ("ä b", "geheim", "n", "t=1")
    assert seen["HOME"] == "/tmp"
    assert seen["PEERCRON_RUN_ID"] == "uid/1", "what peercron says of the run cannot be forged by its job"


async def test_a_command_starts_at_home_or_where_it_is_told(node: Witness) -> None:
    home = str(Path(pwd.getpwuid(os.getuid()).pw_dir))
    assert (await node.run(CommandTask(argv=("pwd",)))).output_tail == f"{home}\n"
    assert (await node.run(CommandTask(argv=("pwd",), cwd="/usr"))).output_tail == "/usr\n"


@pytest.fixture
def in_background() -> Iterator[None]:
    """As a shell starts what ends in `&`."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGQUIT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


async def test_signals_are_as_a_program_expects_them(in_background: None, node: Witness) -> None:
    """Python ignores PIPE, the guardian TERM, a shell what it starts in the background QUIT; a command that inherited
    that would not end when it should.
    """
    result = await node.run("grep -E 'Sig(Ign|Blk)' /proc/self/status")
    assert [int(line.split()[1], 16) for line in result.output_tail.splitlines()] == [0, 0]


async def test_nothing_of_the_guardian_is_open_in_a_command(node: Witness) -> None:
    result = await node.run(CommandTask(argv=("ls", "/proc/self/fd")))
    assert result.output_tail.split() == ["0", "1", "2", "3"], "its streams, and the directory that it lists"


NOWHERE = "/nowhere/at/all"
FAILURES: dict[str, tuple[CommandTask, int, str]] = {
    "no program": (CommandTask(argv=("no-such-program-x",)), 127, "there is no program no-such-program-x in "),
    "no file": (CommandTask(argv=(NOWHERE,)), 127, f"there is no program {NOWHERE}"),
    "no interpreter": (CommandTask(argv=("{folder}/lost",)), 127, "cannot run {folder}/lost: the interpreter that"),
    "no permission": (CommandTask(argv=("{folder}/plain",)), 126, "cannot run {folder}/plain: Permission denied"),
    "no #! line": (CommandTask(argv=("{folder}/bare",)), 126, "cannot run {folder}/bare: Exec format error (a script"),
    "a directory": (CommandTask(argv=("/usr",)), 126, "cannot run /usr: Permission denied"),
    "no cwd": (CommandTask(argv=("true",), cwd=NOWHERE), 126, f"cannot enter the working directory {NOWHERE}: No such"),
    "a cwd that is none": (CommandTask(argv=("true",), cwd="here"), 126, "the working directory here is not an absol"),
    "no user": (CommandTask(argv=("true",), user="nobody-x"), 126, "there is no user nobody-x on this host"),
    "a NUL": (CommandTask(argv=("true", "a\0b")), 126, "cannot run true: embedded null byte"),
    "too much": (CommandTask(argv=("true", "x" * 200_000)), 126, "cannot run true: Argument list too long"),
    "no secret": (
        CommandTask(argv=("true",), env=(entry("DSN", SecretSource.FILE, NOWHERE),)),
        126,
        f"environment entry DSN: file {NOWHERE}: No such file or directory",
    ),
    "no variable": (
        CommandTask(argv=("true",), env=(entry("DSN", SecretSource.ENV, "NOT_THERE"),)),
        126,
        "environment entry DSN: the node has no variable NOT_THERE",
    ),
    "no credentials": (
        CommandTask(argv=("true",), env=(entry("DSN", SecretSource.CREDENTIAL, "dsn"),)),
        126,
        "environment entry DSN: the node has no variable CREDENTIALS_DIRECTORY",
    ),
    "a credential that climbs": (
        CommandTask(argv=("true",), env=(entry("DSN", SecretSource.CREDENTIAL, "../dsn"),)),
        126,
        "environment entry DSN: '../dsn' is no name of a credential",
    ),
    "a large secret": (
        CommandTask(argv=("true",), env=(entry("DSN", SecretSource.FILE, "/dev/zero"),)),
        126,
        "environment entry DSN: file /dev/zero is larger than 65536 bytes",
    ),
}


async def test_what_cannot_be_started_fails_in_one_sentence(node: Witness) -> None:
    for name, mode, text in (("lost", 0o755, "#!/nowhere/sh\n"), ("plain", 0o644, ""), ("bare", 0o755, "echo\n")):
        (node.folder / name).write_text(text)
        (node.folder / name).chmod(mode)
    for case, (task, code, sentence) in FAILURES.items():
        argv = (task.argv[0].format(folder=node.folder), *task.argv[1:])
        result = await node.run(CommandTask(argv=argv, env=task.env, cwd=task.cwd, user=task.user))
        assert (result.outcome, result.exit_code) == (AttemptState.FAILED, code), case
        assert result.reason.startswith(sentence.format(folder=node.folder)), case
        assert result.started_ms is None, case
        assert (result.run_id, result.token) not in node.started, case


async def test_a_secret_shows_in_no_result(node: Witness) -> None:
    (node.folder / "secret").write_text("geheim\0x")
    task = CommandTask(argv=("true",), env=(entry("DSN", SecretSource.FILE, str(node.folder / "secret")),))
    result = await node.run(task)
    assert result.outcome is AttemptState.FAILED
    assert "geheim" not in result.reason + result.output_tail


@pytest.mark.skipif(not ROOT, reason="only root can become another user")
async def test_a_command_runs_as_its_user(tmp_path: Path) -> None:
    nobody, own_groups = pwd.getpwnam("nobody"), os.getgroups()
    witness = Witness(tmp_path)
    os.setgroups([*own_groups, 4242])  # a group of the node, which must not come along
    try:
        await witness.supervisor.start()
    finally:
        os.setgroups(own_groups)
    witness.lease(60, 61)
    shell = "id -u; id -g; id -G; echo $USER $LOGNAME $HOME; pwd"
    result = await witness.run(CommandTask(shell=shell, user="nobody"))
    await witness.supervisor.close(0)
    uid, gid, groups, names, where = result.output_tail.splitlines()
    assert (int(uid), int(gid)) == (nobody.pw_uid, nobody.pw_gid)
    assert [int(group) for group in groups.split()] == sorted(os.getgrouplist("nobody", nobody.pw_gid))
    assert names == f"nobody nobody {nobody.pw_dir}"
    assert where in (nobody.pw_dir, "/")


@pytest.mark.skipif(not ROOT, reason="only root can become another user")
async def test_a_user_may_be_a_number_and_the_tree_is_still_killed(node: Witness) -> None:
    node.folder.chmod(0o777)
    uid = pwd.getpwnam("nobody").pw_uid
    key = node.launch(CommandTask(shell="trap '' TERM; while :; do sleep 0.05; done", user=str(uid)), kill_grace_ms=100)
    node.supervisor.stop(*key, "enough")
    assert (await node.result(key)).outcome is AttemptState.CANCELLED


@pytest.mark.skipif(not ROOT, reason="only root can become another user")
async def test_a_secret_is_read_with_the_node_s_rights_and_the_directory_entered_with_the_user_s(node: Witness) -> None:
    secret = node.folder / "secret"
    secret.write_text("geheim")
    secret.chmod(0o600)
    env = (entry("DSN", SecretSource.FILE, str(secret)),)
    assert (await node.run(CommandTask(shell="echo $DSN", env=env, user="nobody"))).output_tail == "geheim\n"
    (node.folder / "closed").mkdir(mode=0o700)
    result = await node.run(CommandTask(argv=("true",), cwd=str(node.folder / "closed"), user="nobody"))
    assert result.reason.endswith("closed: Permission denied")


@pytest.mark.skipif(ROOT, reason="root can become anybody")
async def test_who_is_not_root_cannot_become_another_user(node: Witness) -> None:
    result = await node.run(CommandTask(argv=("true",), user="root"))
    assert result.reason.startswith("cannot become user root: the node runs as uid")
