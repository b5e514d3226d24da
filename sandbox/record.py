"""Immutable records: `@record` gives a class typed fields, equality, hash, repr and no `__dict__`.

The standard `dataclasses` module costs about 8 ms to import and 0.6 ms a class (it compiles source
text); a launch budget of 60 ms cannot pay that for thirty records (docs/decisions/0012).
The syntax is the one of `@dataclass(frozen=True, slots=True)`; type checkers read it as that.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar, dataclass_transform

    _T = TypeVar("_T")
else:

    def dataclass_transform(**_kwargs):
        """Stand in for `typing.dataclass_transform`, whose import costs 18 ms."""
        return lambda decorator: decorator


def _init(self: Any, *args: Any, **kwargs: Any) -> None:
    cls = type(self)
    names = cls.__record_fields__
    given = len(args)
    if given > len(names):
        raise TypeError(f"{cls.__name__} takes {len(names)} values, got {given}")
    assigns = cls.__record_assigns__
    for assign, value in zip(assigns, args, strict=False):
        assign(self, value)
    if given and kwargs:
        for name in names[:given]:
            if name in kwargs:
                raise TypeError(f"{cls.__name__} got two values for {name!r}")
    if given < len(names):
        defaults = cls.__record_defaults__
        for name, assign in zip(names[given:], assigns[given:], strict=True):
            if name in kwargs:
                assign(self, kwargs.pop(name))
            elif name in defaults:
                assign(self, defaults[name])
            else:
                raise TypeError(f"{cls.__name__} needs a value for {name!r}")
    if kwargs:
        raise TypeError(f"{cls.__name__} has no field {next(iter(kwargs))!r}")
    check = getattr(cls, "__post_init__", None)
    if check is not None:
        check(self)


def _values(self: Any) -> tuple[Any, ...]:
    return tuple([read(self) for read in type(self).__record_reads__])


def _eq(self: Any, other: object) -> Any:
    if type(self) is not type(other):
        return NotImplemented
    return _values(self) == _values(other)


def _hash(self: Any) -> int:
    return hash((type(self).__name__, _values(self)))


def _repr(self: Any) -> str:
    pairs = zip(type(self).__record_fields__, _values(self), strict=True)
    return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in pairs)})"


def _frozen(self: Any, name: str, *_value: object) -> None:
    raise AttributeError(f"{type(self).__name__} is immutable: cannot change {name!r}")


def _getstate(self: Any) -> tuple[Any, ...]:
    return _values(self)


def _setstate(self: Any, state: tuple[Any, ...]) -> None:
    for name, value in zip(type(self).__record_fields__, state, strict=True):
        object.__setattr__(self, name, value)


@dataclass_transform(frozen_default=True, eq_default=True)
def record(cls: type[_T]) -> type[_T]:
    """Return `cls` as an immutable record over its annotated fields, in their order.

    Shape:  defaults must be immutable values; `__post_init__` is called where defined.
    Errors: TypeError for a missing, unknown or doubled field; AttributeError on assignment.
    """
    fields = tuple(cls.__dict__.get("__annotations__", {}))
    body = {
        name: value
        for name, value in cls.__dict__.items()
        if name not in fields and name not in ("__dict__", "__weakref__")
    }
    body.update(
        __slots__=fields,
        __record_fields__=fields,
        __record_defaults__={name: cls.__dict__[name] for name in fields if name in cls.__dict__},
        __match_args__=fields,
        __init__=_init,
        __eq__=_eq,
        __hash__=_hash,
        __setattr__=_frozen,
        __delattr__=_frozen,
        __getstate__=_getstate,
        __setstate__=_setstate,
    )
    if "__repr__" not in cls.__dict__:
        body["__repr__"] = _repr
    made: type[_T] = type(cls)(cls.__name__, cls.__bases__, body)  # type: ignore[misc]  # a metaclass call
    # The slots' own accessors: half the price of going by name, and a launch makes hundreds.
    slots = [made.__dict__[name] for name in fields]
    made.__record_assigns__ = tuple(slot.__set__ for slot in slots)  # type: ignore[attr-defined]
    made.__record_reads__ = tuple(slot.__get__ for slot in slots)  # type: ignore[attr-defined]
    made.__record_copies__ = tuple(  # type: ignore[attr-defined]
        (name, slot.__get__, slot.__set__) for name, slot in zip(fields, slots, strict=True)
    )
    return made


def replace(instance: _T, **changes: Any) -> _T:
    """Return a copy of the record `instance` with the named fields changed."""
    cls: Any = type(instance)
    made: _T = cls.__new__(cls)
    for name, read, assign in cls.__record_copies__:
        assign(made, changes.pop(name) if name in changes else read(instance))
    if changes:
        raise TypeError(f"{cls.__name__} has no field {next(iter(changes))!r}")
    check = getattr(cls, "__post_init__", None)
    if check is not None:
        check(made)
    return made


def fields_of(cls_or_instance: Any) -> tuple[str, ...]:
    """Return the field names of a record or record class, in their order."""
    names: tuple[str, ...] = cls_or_instance.__record_fields__
    return names


def to_data(value: Any) -> Any:
    """Return `value` with records turned into dicts, tuples and sets into (sorted) lists.

    Shape: what `json` can write; bytes become text with surrogate escapes, enums their names.
    """
    if hasattr(type(value), "__record_fields__"):
        return {name: to_data(getattr(value, name)) for name in fields_of(value)}
    if isinstance(value, dict):
        return {str(to_data(key)): to_data(item) for key, item in value.items()}
    if isinstance(value, (frozenset, set)):
        return sorted(to_data(item) for item in value)
    if isinstance(value, (tuple, list)):
        return [to_data(item) for item in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if hasattr(value, "__members__") or hasattr(type(value), "__members__"):
        return getattr(value, "name", str(value))
    return value
