"""facts: features are tried; what is missing has a reason."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from types import SimpleNamespace

import pytest

import sandbox
from sandbox.host import facts
from sandbox.host.facts import ROOT_OUTSIDE_ID, Host, detect


@pytest.fixture
def core(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`core(abi=…, seccomp=…, privileged=…)`: what the compiled core answers."""

    def answer(*, abi: int = 7, seccomp: int = 0, privileged: int = 0) -> None:
        lib = SimpleNamespace(
            sbx_landlock_abi=lambda: abi,
            sbx_seccomp_action_avail=lambda _action: seccomp,
            sbx_is_privileged=lambda: privileged,
        )
        module = SimpleNamespace(lib=lib)
        monkeypatch.setitem(sys.modules, "sandbox._core", module)
        monkeypatch.setattr(sandbox, "_core", module, raising=False)

    return answer


def as_uid(monkeypatch: pytest.MonkeyPatch, uid: int) -> None:
    """Let the caller be `uid`."""
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setattr(os, "getegid", lambda: uid)


def test_this_host_answers() -> None:
    """The real probes give a record with a known architecture and no feature without trial."""
    host = detect()
    assert isinstance(host, Host)
    assert host.page_size_bytes in (4096, 16384, 65536)
    assert "userns" in host.features
    assert not host.features & {name for name, _reason in host.reasons}


def test_only_what_is_needed_is_tried(core: Callable[..., None]) -> None:
    """An empty wish asks the kernel nothing."""
    core(abi=-errno.EIO, seccomp=-errno.EIO)
    host = detect(need=frozenset())
    assert (frozenset(), 0) == (host.features, host.landlock_abi)


@pytest.mark.parametrize(
    ("abi", "reason"),
    [
        (-errno.ENOSYS, "built without Landlock"),
        (-errno.EOPNOTSUPP, "switched off at boot"),
        (-errno.EPERM, "EPERM"),
    ],
)
def test_missing_landlock_has_its_reason(core: Callable[..., None], abi: int, reason: str) -> None:
    """Not built, switched off and refused are told apart."""
    core(abi=abi)
    host = detect(need=frozenset({"landlock"}))
    assert host.landlock_abi == 0
    assert "landlock" not in host.features
    assert reason in str(host.reason("landlock"))


def test_missing_seccomp_has_its_reason(core: Callable[..., None]) -> None:
    """The errno of the probe stands in the reason."""
    core(seccomp=-errno.EINVAL)
    assert "EINVAL" in str(detect(need=frozenset({"seccomp"})).reason("seccomp"))


def test_namespace_that_the_kernel_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A namespace without its file in /proc was not built in."""
    monkeypatch.setitem(facts._NAMESPACES, "timens", "no-such-namespace")
    host = detect(need=frozenset({"timens", "userns"}))
    assert frozenset({"userns"}) == host.features
    assert host.reason("timens")


@pytest.mark.parametrize("error", [errno.EOPNOTSUPP, errno.EPERM, errno.ENOSPC])
def test_tmpfs_without_user_xattrs(monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    """Where the mark cannot be set, an overlay's upper does not go to a tmpfs."""

    def refuse(*_args: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "setxattr", refuse)
    before = len(os.listdir("/proc/self/fd"))
    host = detect(need=frozenset({"overlay-tmpfs-upper"}))
    assert "overlay-tmpfs-upper" not in host.features
    assert os.strerror(error) in str(host.reason("overlay-tmpfs-upper"))
    assert before == len(os.listdir("/proc/self/fd"))


def test_ordinary_user_stands_for_itself(
    core: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outside, the command has the caller's own id."""
    core()
    as_uid(monkeypatch, 1234)
    host = detect(need=frozenset())
    assert (host.outside_uid, host.outside_gid, host.is_privileged) == (1234, 1234, False)


def test_root_gets_the_dedicated_id(
    core: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root's command is nobody's id on the host."""
    core(privileged=1)
    as_uid(monkeypatch, 0)
    monkeypatch.setattr(facts, "_is_mapped", lambda _path: True)
    host = detect(need=frozenset({"idmap"}))
    assert (host.outside_uid, host.outside_gid) == (ROOT_OUTSIDE_ID, ROOT_OUTSIDE_ID)
    assert "idmap" in host.features


@pytest.mark.parametrize(("privileged", "is_mapped"), [(0, True), (1, False)])
def test_root_that_cannot_map_keeps_its_id(
    core: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    privileged: int,
    is_mapped: bool,
) -> None:
    """In a container the dedicated id may not exist: the own id is used, with a reason."""
    core(privileged=privileged)
    as_uid(monkeypatch, 0)
    monkeypatch.setattr(facts, "_is_mapped", lambda _path: is_mapped)
    host = detect(need=frozenset())
    assert (host.outside_uid, host.outside_gid) == (0, 0)
    assert host.reason("outside-id")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("         0          0 4294967295\n", True),
        ("0 1000 1\n", False),
        (f"0 1 1\n{ROOT_OUTSIDE_ID} 7 1\n", True),
        (f"{ROOT_OUTSIDE_ID + 1} 7 9\n", False),
        ("", False),
        ("broken\n", False),
    ],
)
def test_maps_are_read(tmp_path: object, text: str, expected: bool) -> None:
    """The dedicated id must lie in one of the ranges of the caller's own map."""
    path = f"{tmp_path}/uid_map"
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
    assert expected == facts._is_mapped(path)
    assert not facts._is_mapped(f"{tmp_path}/missing")


def test_dedicated_id_is_in_the_unused_range() -> None:
    """systemd leaves these ids to nobody, and they are positive as signed numbers."""
    assert 1879048192 <= ROOT_OUTSIDE_ID <= 2147483647
