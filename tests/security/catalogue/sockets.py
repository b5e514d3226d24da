"""Group K: socket families, protocols, and who can be reached."""

from __future__ import annotations

from security.catalogue.model import Call, Row, every

AF_INET = 2
AF_NETLINK = 16
SOCK_STREAM = 1
SOCK_RAW = 3
IPPROTO_ICMP = 1
IPPROTO_MPTCP = 262
SOL_SOCKET = 1
HIGH = 1 << 32
# SO_ATTACH_FILTER, SO_ATTACH_BPF, SO_ATTACH_REUSEPORT_CBPF and _EBPF, SO_BINDTODEVICE
_OPTIONS = (26, 50, 51, 52, 25)
# AF_PACKET, AF_CAN, AF_TIPC, AF_BLUETOOTH, AF_RXRPC, AF_ALG, AF_VSOCK, AF_XDP, AF_RDS
_FAMILIES = (17, 29, 30, 31, 33, 38, 40, 44, 21)

ROWS = (
    Row(
        id="K01",
        title="socket families",
        attempt="a socket of every family from 0 to 45; those of the policy must work",
        layers=("seccomp",),
        severity="critical",
        source="moby/profiles, kernelCTF, gVisor security record",
        strict=every("EAFNOSUPPORT"),
        default=every("EAFNOSUPPORT"),
        policy_args={"strict": ("unix",), "default": ("unix", "inet", "inet6")},
        calls=(
            *(Call("socket", (family, SOCK_RAW), "EAFNOSUPPORT|EPERM") for family in _FAMILIES),
            Call("socket", (HIGH | AF_NETLINK, SOCK_STREAM), "EAFNOSUPPORT"),
        ),
        is_for_root_caller=True,
    ),
    Row(
        id="K03",
        title="protocols",
        attempt="MPTCP, SCTP, DCCP, UDP-Lite, raw ICMP",
        layers=("seccomp",),
        severity="high",
        source="CVEs of SCTP and DCCP",
        strict=every("EAFNOSUPPORT|EPERM"),
        default=every("EPERM"),
        calls=(
            Call("socket", (AF_INET, SOCK_STREAM, IPPROTO_MPTCP), "EAFNOSUPPORT|EPERM"),
            Call("socket", (AF_INET, SOCK_RAW, IPPROTO_ICMP), "EAFNOSUPPORT|EPERM"),
        ),
    ),
    Row(
        id="K04",
        title="netlink",
        attempt="netlink sockets of routes, packet filters, IPsec, generic netlink",
        layers=("seccomp",),
        severity="critical",
        source="kernelCTF, gVisor security record",
        strict=every("EAFNOSUPPORT|EPERM"),
        default=every("EAFNOSUPPORT|EPERM"),
        calls=(Call("socket", (AF_NETLINK, SOCK_RAW), "EAFNOSUPPORT|EPERM"),),
    ),
    Row(
        id="K05",
        title="the network outside",
        attempt="connect to the host's loopback, a metadata address, a name server; see interfaces",
        layers=("seccomp", "network namespace"),
        severity="critical",
        source="access to cloud metadata",
        strict=every("EAFNOSUPPORT", interfaces="absent"),
        default=every(
            "ENETUNREACH",
            host_loopback="ECONNREFUSED",
            host_loopback6="ECONNREFUSED|EADDRNOTAVAIL",
            interfaces="absent",
        ),
        args=("{port}", "{port6}"),
        controls=("user",),
        is_for_root_caller=True,
    ),
    Row(
        id="K08",
        title="sockets of services",
        attempt="connect to the session bus, Wayland, X11, ssh-agent, docker; find their variables",
        layers=("mount view", "environment"),
        severity="critical",
        source="bubblewrap, greywall#55",
        strict=every("ENOENT")
        | {
            f"env:{name}": "absent"
            for name in ("DBUS_SESSION_BUS_ADDRESS", "SSH_AUTH_SOCK", "WAYLAND_DISPLAY", "DISPLAY")
        },
        default=every("ENOENT")
        | {
            f"env:{name}": "absent"
            for name in ("DBUS_SESSION_BUS_ADDRESS", "SSH_AUTH_SOCK", "WAYLAND_DISPLAY", "DISPLAY")
        },
        args=(
            "{runtime_dir}/bus",
            "{runtime_dir}/wayland-0",
            "{runtime_dir}/ssh-agent",
            "{runtime_dir}/docker.sock",
            "=DBUS_SESSION_BUS_ADDRESS",
            "=SSH_AUTH_SOCK",
            "=WAYLAND_DISPLAY",
            "=DISPLAY",
        ),
        controls=("user",),
    ),
    Row(
        id="K09",
        title="privileged socket options",
        attempt="attach a filter and a program to a socket, bind it to a device",
        layers=("seccomp",),
        severity="medium",
        source="general kernel knowledge",
        strict=every("EPERM"),
        default=every("EPERM"),
        calls=tuple(Call("setsockopt", (3, SOL_SOCKET, option)) for option in _OPTIONS),
    ),
)
