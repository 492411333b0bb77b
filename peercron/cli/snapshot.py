"""peercron snapshot: the whole cluster as a file: save it, look into it, restore it into another cluster."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from peercron.cli.failures import Taken
from peercron.cli.options import Options, common, options_of
from peercron.cli.output import record
from peercron.cli.progress import shown, size_of
from peercron.core.limits import RESTORE_BYTES_MAX
from peercron.errors import PeercronError, Refused
from peercron.wire.archive import ArchiveReader, Header

PATH = "/v1/snapshot"
PIECE_BYTES = 256 * 1024
#: How long a cluster may take to put a file of any size in place.
RESTORE_S = 900.0

_file = click.argument("file", type=click.Path(dir_okay=False, path_type=Path))


@click.group()
def snapshot() -> None:
    """The whole cluster as a file: jobs, runs, ledger, positions and shared state."""


@snapshot.command()
@_file
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@common()
def save(file: Path, force: bool) -> None:
    """Write a snapshot of the cluster to FILE: all of it, as of one moment, with a checksum."""
    options = options_of()
    if file.exists() and not force:
        raise PeercronError(f"{file} is there already; --force writes over it")
    beside = file.with_name(f".{file.name}.{os.getpid()}.new")
    wanted = {"consistency": "stale"} if options.stale else {}
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as written:
            written.writelines(shown(options.connection().stream(PATH, params=wanted), "saving"))
            written.flush()
            os.fsync(written.fileno())
        header = _proven(beside)
        os.replace(beside, file)
        _sync_folder(file.parent)
    except OSError as error:
        raise PeercronError(f"{file} cannot be written: {error.strerror}") from None
    finally:
        with suppress(OSError):
            beside.unlink()
    _tell(options, file, header)
    if file.stat().st_size > RESTORE_BYTES_MAX:
        click.echo(f"peercron: no cluster takes back more than {size_of(RESTORE_BYTES_MAX)}", err=True)


@snapshot.command()
@_file
@common()
def inspect(file: Path) -> None:
    """Say what is in FILE, and whether it is whole; asks no node. Exit 1: it is damaged."""
    _tell(options_of(), file, _proven(file))


@snapshot.command(
    epilog="""\b
Not taken over: members and who leads; both are the new cluster's own. Runs that were alive when the snapshot was taken
get a new attempt, as their guarantee says.""",
)
@_file
@click.option("--force", is_flag=True, help="Also into a cluster that has something: all of it is replaced.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@common()
def restore(file: Path, force: bool, yes: bool) -> None:
    """Put what is in FILE into a new cluster, or with --force in the place of what a cluster has."""
    options = options_of()
    header = _proven(file)
    if force and not yes and sys.stdin.isatty():
        click.confirm(f"replace everything in the cluster by {_what(header)}?", abort=True, err=True)
    from peercron.client.blocking import Upload

    size = file.stat().st_size
    body = Upload(lambda: shown(_pieces(file), "sending", size), size)
    # Said twice it does no harm, as long as it replaces nothing.
    try:
        answer = options.connection().upload(
            PATH, body, params={"force": 1} if force else {}, answer_s=RESTORE_S, again=not force
        )
    except Refused as error:
        if error.code != "conflict" or force:
            raise
        raise Taken(error.message, error.index, "--force replaces what is there") from None
    told = answer.json
    lines = [("restored", _what(header)), ("generation", str(told["generation"])), ("index", str(told["index"]))]
    record(options, told, lines, name="generation")


def _what(header: Header) -> str:
    what = f"{header.jobs} jobs, {header.runs} runs, {header.ledger} ledger entries, {header.keys} keys"
    return f"{what} of {header.cluster}"


def _proven(file: Path) -> Header:
    """What the file says of itself, once every byte of it has been read. SnapshotDamaged, SnapshotTooNew."""
    reader = ArchiveReader()
    try:
        for piece in _pieces(file):
            reader.feed(piece)
    except OSError as error:
        raise PeercronError(f"{file} cannot be read: {error.strerror}") from None
    return reader.finish()


def _tell(options: Options, file: Path, header: Header) -> None:
    from peercron.core.views import instant

    size = file.stat().st_size
    row: dict[str, Any] = {"file": str(file), "size": size, "checksum": "ok", **asdict(header)}
    row["created_at"] = instant(row.pop("created_ms"))
    lines = [
        ("file", f"{file}  {size_of(size)}"),
        ("checksum", "ok"),
        ("cluster", header.cluster),
        ("taken", f"{row['created_at']}  by peercron {header.version}"),
        ("index", f"{header.index}  generation {header.generation}, term {header.term}"),
        *((name, str(row[name])) for name in ("jobs", "runs", "ledger", "keys", "members")),
    ]
    record(options, row, lines, name="file")


def _pieces(file: Path) -> Iterator[bytes]:
    with file.open("rb") as source:
        while piece := source.read(PIECE_BYTES):
            yield piece


def _sync_folder(folder: Path) -> None:
    """A file that was given its name is there after a power cut only if its folder is."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
