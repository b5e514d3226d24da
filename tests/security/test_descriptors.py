"""Descriptors of the caller do not reach the command, and with them nothing that they carry."""

from __future__ import annotations

import array
import os
import socket
from collections.abc import Callable, Iterator

import pytest
from security.answers import ask
from security.catalogue.model import POLICIES
from security.places import Places
from security.verdict import HELD, judge

Record = Callable[[str, str], None]


def _inside(places: Places, command: list[str], policy: str, identifier: str) -> list[str]:
    return [*command, *places.options(policy), "--", str(places.probe), identifier]


@pytest.fixture
def directory_fd() -> Iterator[int]:
    """A descriptor of the host's root, which would be a way out."""
    fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


@pytest.fixture
def loaded_socket(directory_fd: int) -> Iterator[int]:
    """A socket in which a descriptor of the host's root waits to be received."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with near, far:
        rights = array.array("i", [directory_fd])
        for _ in range(8):  # each reader takes one
            near.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        yield far.fileno()


@pytest.mark.parametrize("policy", POLICIES)
def test_n13_descriptors_are_closed(
    policy: str,
    places: Places,
    sandbox_cmd: list[str],
    directory_fd: int,
    record_verdict: Record,
) -> None:
    """An inherited descriptor is there outside and gone inside; the directory is in the root."""
    argv = [*places.user.prefix, str(places.probe), "N13"]
    control = ask(argv, cwd=places.scratch, env=places.env, pass_fds=[directory_fd])
    inside = ask(
        _inside(places, sandbox_cmd, policy, "N13"),
        cwd=places.work,
        env=places.env,
        pass_fds=[directory_fd],
    )
    verdict = judge({"*": "absent"}, [control], inside)
    record_verdict(f"N13-{policy}", verdict.kind)
    assert verdict.kind == HELD, (verdict.reasons, inside.detail)


@pytest.mark.parametrize("policy", POLICIES)
def test_n07_old_root_is_not_behind_a_descriptor(
    policy: str, places: Places, sandbox_cmd: list[str], directory_fd: int
) -> None:
    """Not even a caller who leaves the host's root open hands it to the command."""
    args = places.fill(["{root_dev}", "{root_ino}"], is_inside=True)
    argv = [*places.user.prefix, str(places.probe), "N07", *args]
    control = ask(argv, cwd=places.scratch, env=places.env, pass_fds=[directory_fd])
    inside = ask(
        [*_inside(places, sandbox_cmd, policy, "N07"), *args],
        cwd=places.work,
        env=places.env,
        pass_fds=[directory_fd],
    )
    verdict = judge({"*": "absent"}, [control], inside)
    assert verdict.kind == HELD, verdict.reasons
    assert "descriptor" in verdict.live


@pytest.mark.parametrize("policy", POLICIES)
def test_f10_descriptors_cannot_be_received(
    policy: str,
    places: Places,
    sandbox_cmd: list[str],
    loaded_socket: int,
    record_verdict: Record,
) -> None:
    """A socket that would deliver an outside descriptor is not inherited."""
    argv = [*places.user.prefix, str(places.probe), "F10"]
    control = ask(argv, cwd=places.scratch, env=places.env, pass_fds=[loaded_socket])
    inside = ask(
        _inside(places, sandbox_cmd, policy, "F10"),
        cwd=places.work,
        env=places.env,
        pass_fds=[loaded_socket],
    )
    verdict = judge({"*": "absent"}, [control], inside)
    record_verdict(f"F10-{policy}", verdict.kind)
    assert verdict.kind == HELD, verdict.reasons
    assert verdict.live == {"socket", "descriptor"}
