"""A file of another tool where a policy is asked for: `docker:FILE` on the command line.

So that one command compares a policy with, say, the profile that container engines bring along.
"""

from __future__ import annotations

import os

from sandbox.policy.exchange.convert import DOCKER, KUBERNETES, OCI, import_file
from sandbox.policy.load import parse_policy
from sandbox.record import replace
from sandbox.text import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.policy.exchange.oci_read import Container
    from sandbox.policy.exchange.report import Loss
    from sandbox.policy.model import Policy

# They state system calls and nothing else, so nothing else can be compared with them.
CALLS_ALONE = (DOCKER, OCI, KUBERNETES)
# What an engine gives a container that asks for nothing: moby's oci/caps/defaults.go.
DOCKER_CAPABILITIES = frozenset(
    (
        *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD"),
        *("NET_BIND_SERVICE", "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
    )
)


def named_policy(form: str, path: str, container: Container) -> tuple[Policy, tuple[Loss, ...]]:
    """Return the policy that the file comes to, and what could not be carried over.

    Shape:  every value's place is the file: the lines are those of no text that anybody has.
    Errors: PolicyError(policy.import) with the place in the file.
    """
    result = import_file(path, form, container)
    label = f"{form}:{escape(path)}"
    policy = parse_policy(result.text.encode("utf-8", "surrogateescape"), "imported")
    syscalls = policy.syscalls
    rules = tuple(replace(rule, origin=label) for rule in syscalls.rules)
    calls = replace(syscalls, rules=rules, origins=_at(label, syscalls.origins))
    named = replace(
        policy,
        name=os.path.basename(path),
        path=path,
        files=tuple((path, digest) for _, digest in policy.files),
        syscalls=calls,
        origins=_at(label, policy.origins),
    )
    return named, result.losses


def _at(label: str, origins: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return tuple((key, label) for key, _ in origins)
