"""The reviewed table from a kernel's configuration to what a process must do to reach its code.

For each symbol the ways in (any one is enough), each a set of system calls with the arguments that
count, the capabilities that the kernel asks for, and the reason. Read from the kernel's sources
(Linux 6.18): the place that registers the family, option or call. A symbol without a way is code
that only other code calls; it adds nothing to a record and hides nothing. A symbol that is not
here counts as reachable by anybody.

To add one: name the entry that an unprivileged process would use first, the least capability that
the kernel checks on the way, and say where it checks it. When in doubt leave the capability out:
that errs on the side of "reachable".
"""

from __future__ import annotations

from sandbox.record import record

Arguments = tuple[int, ...]

NET_ADMIN, NET_RAW, SYS_ADMIN = "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_SYS_ADMIN"

_AF = {"unix": 1, "inet": 2, "inet6": 10, "netlink": 16, "packet": 17, "alg": 38, "vsock": 40}
_STREAM, _DGRAM, _RAW, _SEQPACKET = 1, 2, 3, 5
_SOL_TCP, _TCP_ULP, _SOL_IP, _IP_ADD_MEMBERSHIP = 6, 31, 0, 35
_NETLINK_ROUTE, _NETLINK_XFRM, _NETLINK_NETFILTER, _NETLINK_GENERIC = 0, 6, 12, 16
_IPPROTO_DCCP, _SOCK_DCCP = 33, 6
_IPT_SO_SET_REPLACE, _SOL_SOCKET, _SO_SNDBUFFORCE = 64, 1, 32
_SOL_PACKET, _PACKET_VERSION, _PACKET_RX_RING = 263, 10, 5


@record
class Way:
    """One way in: every call must pass and every capability be held.

    Shape: `calls` are (name, arguments); arguments that are not given are zero.
    """

    calls: tuple[tuple[str, Arguments], ...]
    why: str
    capabilities: tuple[str, ...] = ()


def _socket(family: str, kind: int = _STREAM, protocol: int = 0) -> tuple[str, Arguments]:
    return "socket", (_AF[family], kind, protocol)


def _netlink(protocol: int, why: str) -> tuple[Way, ...]:
    send = ("sendmsg", ()), ("sendto", ()), ("write", ())
    return tuple(
        Way((_socket("netlink", _RAW, protocol), call), why, (NET_ADMIN,)) for call in send
    )


_NETFILTER = _netlink(
    _NETLINK_NETFILTER, "nfnetlink_rcv checks CAP_NET_ADMIN in the owner of the network namespace"
)
_SCHEDULER = _netlink(_NETLINK_ROUTE, "rtnetlink: tc_modify_qdisc and tc_new_tfilter ask for it")
_BPF = (Way((("bpf", ()),), "the verifier and the maps are reached by bpf(2) alone"),)
_ULP_CALLS = "setsockopt", (0, _SOL_TCP, _TCP_ULP)
_ULP = tuple(
    Way((_socket(family), _ULP_CALLS), "tcp_set_ulp attaches it to a TCP socket, for anybody")
    for family in ("inet", "inet6")
)
_ALG = (
    Way(
        (_socket("alg", _SEQPACKET), ("bind", ())),
        "alg_bind names the algorithm; the family is the only door for a process",
    ),
)
_URING = (Way((("io_uring_setup", ()),), "a ring must be made before it can be used"),)
_PERF = (Way((("perf_event_open", ()),), "events are made by this call alone"),)
_VSOCK = (Way((_socket("vsock"),), "the family is the only door, loopback transport included"),)
_XFRM = _netlink(_NETLINK_XFRM, "xfrm_user_rcv_msg asks for CAP_NET_ADMIN")
_INSIDE: tuple[Way, ...] = ()

SURFACE: dict[str, tuple[Way, ...]] = {
    "CONFIG_AF_UNIX_OOB": (
        Way(
            (("socketpair", (_AF["unix"], _STREAM)), ("sendto", (0, 0, 0, 1))),
            "send with MSG_OOB on a Unix stream",
        ),
        Way(
            (_socket("unix"), ("connect", ()), ("sendto", (0, 0, 0, 1))),
            "send with MSG_OOB on a Unix stream",
        ),
    ),
    "CONFIG_BPF": _BPF,
    "CONFIG_BPF_SYSCALL": _BPF,
    "CONFIG_BPF_UNPRIV_DEFAULT_OFF": _INSIDE,  # a default of a sysctl
    "CONFIG_CRYPTO_CRYPTD": _INSIDE,  # a helper that TLS and others put work into
    "CONFIG_CRYPTO_ESSIV": _INSIDE,  # a template that AF_ALG or dm-crypt names
    "CONFIG_CRYPTO_USER_API": _ALG,
    "CONFIG_CRYPTO_USER_API_HASH": _ALG,
    "CONFIG_ETHTOOL_NETLINK": _netlink(
        _NETLINK_GENERIC, "its operations that change anything have GENL_UNS_ADMIN_PERM"
    ),
    "CONFIG_IO_URING": _URING,
    "CONFIG_IP_MULTICAST": tuple(
        Way(
            (_socket(family, _DGRAM), ("setsockopt", (0, _SOL_IP, _IP_ADD_MEMBERSHIP))),
            "joining a group starts the membership protocol, for anybody",
        )
        for family in ("inet", "inet6")
    ),
    "CONFIG_IP_SET": _NETFILTER,
    "CONFIG_IP_SET_BITMAP_IP": _NETFILTER,
    "CONFIG_IP_SET_LIST_SET": _NETFILTER,
    "CONFIG_NETFILTER": _NETFILTER,
    "CONFIG_NET_CLS_FW": _SCHEDULER,
    "CONFIG_NET_CLS_ROUTE4": _SCHEDULER,
    "CONFIG_NET_CLS_U32": _SCHEDULER,
    "CONFIG_NET_SCHED": _SCHEDULER,
    "CONFIG_NET_SCH_CHOKE": _SCHEDULER,
    "CONFIG_NET_SCH_FIFO": _SCHEDULER,
    "CONFIG_NET_SCH_HFSC": _SCHEDULER,
    "CONFIG_NET_SCH_INGRESS": _SCHEDULER,
    "CONFIG_NET_SCH_PLUG": _SCHEDULER,
    "CONFIG_NET_SCH_PRIO": _SCHEDULER,
    "CONFIG_NET_SCH_QFQ": _SCHEDULER,
    "CONFIG_NET_SCH_SFQ": _SCHEDULER,
    "CONFIG_NF_CONNTRACK": _NETFILTER,
    "CONFIG_NF_CONNTRACK_ZONES": _NETFILTER,
    "CONFIG_NF_NAT": _NETFILTER,
    "CONFIG_NF_TABLES": _NETFILTER,
    "CONFIG_PERF_EVENTS": _PERF,
    "CONFIG_SMBFS": (
        Way((("mount", ()),), "mounting a cifs share", (SYS_ADMIN,)),
        Way((("fsopen", ()),), "mounting a cifs share, the newer way", (SYS_ADMIN,)),
    ),
    "CONFIG_TLS": _ULP,
    "CONFIG_UNIX": (
        Way((_socket("unix"),), "the family itself"),
        Way((("socketpair", (_AF["unix"], _STREAM)),), "the family itself"),
    ),
    "CONFIG_USER_NS": _INSIDE,  # how capabilities are had is judged by itself
    "CONFIG_VSOCKETS": _VSOCK,
    "CONFIG_VSOCKETS_LOOPBACK": _VSOCK,
    "CONFIG_XFRM": _XFRM,
    "CONFIG_XFRM_ESPINTCP": _ULP,
    "CONFIG_XFRM_INTERFACE": _netlink(_NETLINK_ROUTE, "rtnl_newlink asks for CAP_NET_ADMIN"),
}

# Records that name only a call that does a hundred things: what that one bug needs of it.
NARROWED: dict[str, tuple[Way, ...]] = {
    "CVE-2016-4997": (
        Way(
            (_socket("inet", _RAW), ("setsockopt", (0, _SOL_IP, _IPT_SO_SET_REPLACE))),
            "compat_do_replace of ip_tables: do_ipt_set_ctl asks for CAP_NET_ADMIN",
            (NET_ADMIN,),
        ),
    ),
    "CVE-2016-8655": (
        Way(
            (_socket("packet", _RAW), ("setsockopt", (0, _SOL_PACKET, _PACKET_VERSION))),
            "packet_set_ring against PACKET_VERSION; packet_create asks for CAP_NET_RAW",
            (NET_RAW,),
        ),
    ),
    "CVE-2016-9793": (
        Way(
            (("setsockopt", (0, _SOL_SOCKET, _SO_SNDBUFFORCE)),),
            "SO_SNDBUFFORCE and SO_RCVBUFFORCE ask for CAP_NET_ADMIN",
            (NET_ADMIN,),
        ),
    ),
    "CVE-2017-6074": tuple(
        Way((_socket(family, _SOCK_DCCP, _IPPROTO_DCCP), ("setsockopt", ())), "a DCCP socket")
        for family in ("inet", "inet6")
    ),
    "CVE-2017-7308": (
        Way(
            (_socket("packet", _RAW), ("setsockopt", (0, _SOL_PACKET, _PACKET_RX_RING))),
            "packet_set_ring; packet_create asks for CAP_NET_RAW",
            (NET_RAW,),
        ),
    ),
}

# How a process that holds nothing gets capabilities, over a network namespace of its own too.
USER_NAMESPACE = (
    Way((("clone", (0x10000011,)),), "CLONE_NEWUSER | SIGCHLD"),
    Way((("unshare", (0x10000000,)),), "CLONE_NEWUSER"),
    Way((("clone3", ()),), "the flags lie in memory, so a call that passes may ask for it"),
)
IO_URING = _URING
