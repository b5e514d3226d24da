"""Checks that may be vacuous, each with its reason.

A check stands here if no control of it succeeds on some supported kernel. It then says nothing
about the sandbox: it counts neither as passed nor as failed, and only the simulated filter is held
to the policy. On a kernel where a control succeeds the check is judged like any other.
"""

from __future__ import annotations

REASONS = {
    "S01": "a kernel without CONFIG_IA32_EMULATION refuses the 32-bit entry to everybody",
    "S02": "kernels are built without CONFIG_X86_X32_ABI",
    "S14": "kernel.unprivileged_bpf_disabled=2 refuses bpf(2) to everybody without CAP_BPF",
    "N16": "only root can make files with privileges",
    "N17": "only root can make a device node to be opened; nobody else can make one anywhere",
    "P03": "addresses are shown to holders of CAP_SYSLOG only",
}
