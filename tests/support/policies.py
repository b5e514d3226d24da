"""Generated policies: small, valid, and different in what matters for a comparison."""

from __future__ import annotations

from hypothesis import strategies as st

CALLS = ("read", "mount", "ptrace", "socket", "clone", "ioctl", "chmod", "bpf", "@keyring", "kill")
FAMILIES = ("unix", "inet", "inet6", "netlink", "vsock")
PATHS = ("/a", "/a/b", "/a/b/c", "/srv", "/srv/x", "${CWD}", "${CWD}/sub", "${HOME}/data")
MODES = ("ro", "rw", "tmpfs", "overlay")
CONDITIONS = (
    "arg0 == 1",
    "arg0 != 1",
    "u32(arg1) in {5, 6}",
    "u32(arg1) not in {TIOCSTI}",
    "arg0 & 0x7e020000 != 0",
    "arg1 & 0xc00 == 0x400",
    "arg0 > 100 and arg1 < 7",
    "arg2 >= 0x100000000 or u32(arg0) == 0",
)


@st.composite
def rules(draw: st.DrawFn) -> list[str]:
    """Rules with conditions, as TOML lines."""
    lines = []
    for number in range(draw(st.integers(0, 3))):
        call = draw(st.sampled_from([name for name in CALLS if not name.startswith("@")]))
        when = draw(st.sampled_from(CONDITIONS))
        action = draw(st.sampled_from(["allow", "errno:EACCES", "kill"]))
        body = f'names = ["{call}"], when = "{when}", action = "{action}", why = "test"'
        lines.append(f"rules.r{number}{call} = {{ {body} }}")
    return lines


def _array(names: list[str]) -> str:
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"


@st.composite
def policy_texts(draw: st.DrawFn) -> str:
    """The TOML text of a policy."""
    base = draw(st.sampled_from(["@tiny-2026.11", "@strict-2026.11", "@default-2026.11"]))
    listed = draw(st.lists(st.sampled_from(CALLS), unique=True, max_size=5))
    middle = draw(st.integers(0, len(listed)))
    allow, deny = listed[:middle], [one for one in listed[middle:] if one != "read"]
    families = draw(st.lists(st.sampled_from(FAMILIES), unique=True))
    shown = draw(st.lists(st.sampled_from(PATHS), unique=True, max_size=5))
    mounts = []
    for path in shown:
        noexec = ", noexec = true" if draw(st.booleans()) else ""
        mounts.append(f'{{ path = "{path}", mode = "{draw(st.sampled_from(MODES))}"{noexec} }}')
    hidden = draw(st.lists(st.sampled_from(PATHS), unique=True, max_size=2))
    lines = [
        "schema = 1",
        "[filesystem]",
        f"mounts = [{', '.join(mounts)}]",
        f"hide = {_array(hidden)}",
        "[network]",
        f'mode = "{draw(st.sampled_from(["none", "host"]))}"',
        f"loopback = {draw(st.sampled_from(['true', 'false']))}",
        "[syscalls]",
        f'base = "{base}"',
        f"allow = {_array(allow)}",
        f"deny = {_array(deny)}",
        f"socket_families = {_array(families)}",
        *draw(rules()),
    ]
    return "\n".join(lines) + "\n"


arguments = st.tuples(
    *[
        st.one_of(
            st.sampled_from([0, 1, 2, 5, 6, 7, 16, 100, 101, 0x400, 0xC00, 0x5412, 0x10000000]),
            st.sampled_from([1 << 32, 1 << 32 | 1, (1 << 64) - 1, 0x100005412]),
            st.integers(0, (1 << 64) - 1),
        )
    ]
    * 6
)
