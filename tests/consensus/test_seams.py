"""pysyncobj is held by private names: each must be there, and the text must be the one that was audited."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pysyncobj.syncobj as upstream
import pytest

from peercron.consensus import raft
from peercron.consensus.raft import MODULE_SEAMS, SEAMS, Kernel, KernelMismatch, verify_kernel

SOURCE = Path(upstream.__file__).read_text(encoding="utf-8")


def test_the_installed_kernel_is_the_audited_one() -> None:
    verify_kernel()


def test_another_kernel_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = tmp_path / "syncobj.py"
    other.write_text(SOURCE + "\n")
    monkeypatch.setattr(upstream, "__file__", str(other))
    with pytest.raises(KernelMismatch, match=r"sha256 .*, expected e8bdf067"):
        verify_kernel()


@pytest.mark.parametrize("seam", SEAMS)
def test_a_seam_is_where_it_was(seam: str) -> None:
    assert callable(getattr(upstream.SyncObj, seam, None)), f"{seam} has moved; see consensus/raft.py"


@pytest.mark.parametrize("name", MODULE_SEAMS)
def test_a_name_of_the_module_is_where_it_was(name: str) -> None:
    """The module must look the name up at the time of use, or our replacement would not be seen."""
    assert hasattr(upstream, name), f"{name} has moved; see consensus/raft.py"
    assert re.search(rf"\b{name}\b", SOURCE), f"{name} is not used any more"


def test_every_private_name_that_is_used_is_a_seam_or_an_attribute_of_the_kernel() -> None:
    used = set(re.findall(r"_SyncObj__\w+", Path(raft.__file__).read_text(encoding="utf-8")))
    methods = {name for name in used if inspect.isfunction(getattr(upstream.SyncObj, name, None))}
    # Called, not replaced: they would fail at once.
    called = {"_SyncObj__onNodeConnected", "_SyncObj__onNodeDisconnected"}
    assert methods - called <= set(SEAMS)
    for name in used - methods:
        assert f"self.{name.removeprefix('_SyncObj')}" in SOURCE, f"{name} has moved; see consensus/raft.py"


@pytest.mark.parametrize("seam", [s for s in SEAMS if s in vars(Kernel)])
def test_an_override_takes_what_the_kernel_gives(seam: str) -> None:
    ours = inspect.signature(getattr(Kernel, seam)).parameters
    theirs = inspect.signature(getattr(upstream.SyncObj, seam)).parameters
    assert list(ours) == list(theirs)


def test_pickle_is_out_of_the_kernel() -> None:
    with pytest.raises(AssertionError, match=r"pickle\.loads was reached"):
        upstream.pickle.loads(b"")
