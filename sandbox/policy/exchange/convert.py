"""Import and export: the formats by name, and what each direction returns."""

from __future__ import annotations

from sandbox.policy.exchange.oci_check import Checker, kernel_version
from sandbox.policy.exchange.oci_read import Container, find_profile, read_syscalls
from sandbox.policy.exchange.plain_json import parse_json, read_bounded
from sandbox.policy.exchange.report import ALIKE, TIGHTER, Report, Result
from sandbox.policy.exchange.toml_text import policy_toml
from sandbox.text import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.policy.model import Policy

DOCKER, OCI, KUBERNETES, SYSTEMD = "docker", "oci", "kubernetes", "systemd"
FORMATS = (DOCKER, OCI, KUBERNETES, SYSTEMD)
_WIDTH = 92


def this_kernel() -> tuple[int, int]:
    """Return the version of the running kernel; profiles compare it, nothing of ours does."""
    import os

    return kernel_version(os.uname().release) or (0, 0)


def import_file(path: str, form: str, container: Container) -> Result:
    """Return the policy, as TOML text, that the file of another tool comes to.

    Errors: PolicyError(policy.import) with the place in the file.
    """
    return import_bytes(read_bounded(path), path, form, container)


def import_bytes(body: bytes, label: str, form: str, container: Container) -> Result:
    """Return what `import_file` does, from the content of the file.

    Errors: PolicyError(policy.import) with the place in the file.
    """
    report = Report()
    name = escape(label)
    if form == SYSTEMD:
        from sandbox.policy.exchange.systemd_read import read_unit

        tables = read_unit(body, label, report)
    else:
        check = Checker(label)
        profile = find_profile(check, parse_json(body, label), form)
        syscalls = read_syscalls(check, profile, container, report, form)
        why = "not in a seccomp profile: nothing is shown and no network is there until stated"
        report.add("files, network, limits", TIGHTER, why)
        tables = {"": {"schema": 1}, "syscalls": syscalls}
    summary = f"Imported from {name} ({form})"
    tables[""] = {"schema": 1, "summary": summary[:200]}
    losses = report.losses()
    told = [f"{loss.effect}: {loss.what}: {loss.why}"[:_WIDTH] for loss in losses]
    comments = [summary[:_WIDTH], "", *told]
    return Result(policy_toml(comments, tables), losses)


def export_text(policy: Policy, form: str, arch: str) -> Result:
    """Return the rules of another tool that `policy` comes to.

    Errors: PolicyError as resolve_calls.
    """
    report = Report()
    if form == SYSTEMD:
        from sandbox.policy.exchange.systemd_write import write_unit

        return Result("\n".join(write_unit(policy, arch, report)) + "\n", report.losses())
    import json

    from sandbox.policy.exchange.oci_write import write_profile

    profile = write_profile(policy, arch, report)
    outside = "outside the format: state them to the engine (--network none, --read-only, …)"
    report.add("files, network, limits", ALIKE, outside)
    return Result(json.dumps(profile, indent=2) + "\n", report.losses())
