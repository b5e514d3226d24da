"""Group X: limits and core dumps."""

from __future__ import annotations

from security.catalogue.model import Row, every

ROWS = (
    Row(
        id="X06",
        title="many processes",
        attempt="more children at once than the policy allows",
        layers=("rlimits",),
        severity="high",
        source="containerd threat model",
        strict=every("EAGAIN"),
        default=every("EAGAIN"),
        policy_args={"strict": ("100",), "default": ("1200",)},
        is_for_root_caller=True,
    ),
    Row(
        id="X07",
        title="much memory",
        attempt="touch more memory than the policy allows",
        layers=("rlimits",),
        severity="high",
        source="CVE-2023-25153",
        strict=every("ENOMEM"),
        default=None,  # no limit on one process: the supervisor's watch, see test_lifetime
        args=("640",),
    ),
    Row(
        id="X08",
        title="full file systems",
        attempt="write more than a tmpfs of the policy holds",
        layers=("mount view",),
        severity="medium",
        source="bubblewrap",
        strict=every("ENOSPC"),
        default=every("ENOSPC"),
        policy_args={"strict": ("{scratch}", "96"), "default": ("{scratch}", "576")},
    ),
    Row(
        id="X09",
        title="many descriptors",
        attempt="more descriptors at once than the policy allows",
        layers=("rlimits",),
        severity="medium",
        source="sandlock PR#80",
        strict=every("EMFILE"),
        default=every("EMFILE"),
        policy_args={"strict": ("300",), "default": ("4200",)},
    ),
    Row(
        id="X11",
        title="core dumps",
        attempt="raise the limit of core files, abort a child",
        layers=("rlimits",),
        severity="medium",
        source="general kernel knowledge",
        strict=every("EPERM", dump="absent"),
        default=every("EPERM", dump="absent"),
    ),
)
