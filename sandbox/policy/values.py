"""Sizes, durations, names and paths as policies and flags write them."""

from __future__ import annotations

from sandbox.plan.model import Slot, SlotPath

_SIZES = {"": 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_DURATIONS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}
_SLOTS = {
    "${HOME}": Slot.HOME,
    "${CWD}": Slot.CWD,
    "${TMP}": Slot.TMP,
    "${RUNTIME_DIR}": Slot.RUNTIME,
}
SIZE_FORM = "a size such as 64M, 2G or 0"
DURATION_FORM = "a duration such as 500ms, 60s, 2m or 1h"
PERCENT_FORM = "percent of one processor such as 50% or 150%"
PATH_FORM = "an absolute path, or one that starts with ${HOME}, ${CWD}, ${TMP} or ${RUNTIME_DIR}"
_MAX = (1 << 63) - 1  # the kernel's loff_t and our own i64 results


def _number(text: str) -> int | None:
    """Return the decimal number `text`, or None: int() would take signs, spaces, underscores."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 19 else None


def parse_size(text: str) -> int | None:
    """Return the bytes that `text` means (1024-based units B K M G T), or None."""
    unit = text[-1:] if text[-1:].isalpha() else ""
    number = _number(text.removesuffix(unit) if unit else text)
    scale = _SIZES.get(unit)
    if number is None or scale is None or number * scale > _MAX:
        return None
    return number * scale


def parse_duration_ms(text: str) -> int | None:
    """Return the milliseconds that `text` means (units ms s m h; a unit is needed), or None."""
    digits = text.rstrip("mhs")
    number = _number(digits)
    scale = _DURATIONS_MS.get(text[len(digits) :])
    if number is None or scale is None or number * scale > _MAX // 1_000_000:
        return None
    return number * scale


def parse_count(text: str) -> int | None:
    """Return the number that `text` means, or None."""
    number = _number(text)
    return number if number is not None and number < 1 << 31 else None


def parse_percent(text: str) -> int | None:
    """Return the percent of one processor that `text` means (the sign is needed), or None."""
    number = _number(text[:-1]) if text.endswith("%") else None
    return number if number is not None and number < 1 << 20 else None


def is_env_name(name: str) -> bool:
    """Say whether an environment variable can have this name."""
    return bool(name) and "=" not in name and "\0" not in name


def normalise(path: str) -> str | None:
    """Return the absolute `path` without `.`, double or final slashes; None for `..` or NUL.

    `..` is refused rather than resolved, because its meaning depends on symbolic links.
    """
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in path or not path.startswith("/"):
        return None
    return "/" + "/".join(parts)


def parse_path(text: str) -> SlotPath | None:
    """Return the path that `text` means, its leading variable as a slot, or None."""
    slot = Slot.NONE
    rest = text
    if text.startswith("${"):
        name, brace, rest = text.partition("}")
        found = _SLOTS.get(name + brace)
        if found is None or (rest and not rest.startswith("/")):
            return None
        slot = found
    if slot is not Slot.NONE and rest.strip("/") == "":
        return SlotPath(b"", slot)
    clean = normalise(rest)
    if clean is None or "${" in clean:
        return None
    return SlotPath(clean.encode("utf-8", "surrogateescape"), slot)


def parse_env_value(text: str) -> SlotPath | None:
    """Return the value of an environment variable; only a leading `${HOME}` or the like counts."""
    if "\0" in text:
        return None
    if text.startswith("${"):
        name, brace, rest = text.partition("}")
        slot = _SLOTS.get(name + brace)
        if slot is None or "${" in rest:
            return None
        return SlotPath(rest.encode("utf-8", "surrogateescape"), slot)
    if "${" in text:
        return None
    return SlotPath(text.encode("utf-8", "surrogateescape"))


def nearest(word: str, known: list[str]) -> str | None:
    """Return the name of `known` that looks most like `word`, or None."""
    import difflib  # only on the way to an error: it imports `re`

    found = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return found[0] if found else None
