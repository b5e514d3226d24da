r"""sandbox: run a command behind every wall that Linux offers without root.

    >>> import sandbox
    >>> sandbox.run(["echo", "hello"], policy="strict").text
    'hello\n'

docs/api.md shows all of it. Importing this package imports nothing else: each name comes with the
module that has it, when it is first used.
"""

__version__ = "0.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox.errors import CommandFailed as CommandFailed
    from sandbox.errors import HostError as HostError
    from sandbox.errors import PolicyError as PolicyError
    from sandbox.errors import ProgramError as ProgramError
    from sandbox.errors import SandboxError as SandboxError
    from sandbox.errors import SetupError as SetupError
    from sandbox.errors import StateError as StateError
    from sandbox.errors import UsageError as UsageError
    from sandbox.launch.result import Result as Result
    from sandbox.run.aio import AsyncSandbox as AsyncSandbox
    from sandbox.run.aio import run_async as run_async
    from sandbox.run.api import run as run
    from sandbox.run.pool import Pool as Pool
    from sandbox.run.process import Sandbox as Sandbox
    from sandbox.run.session import Session as Session
    from sandbox.run.stdio import DEVNULL as DEVNULL
    from sandbox.run.stdio import PIPE as PIPE
    from sandbox.run.stdio import STDOUT as STDOUT

_PLACES = {
    "errors": (
        "CommandFailed",
        "HostError",
        "PolicyError",
        "ProgramError",
        "SandboxError",
        "SetupError",
        "StateError",
        "UsageError",
    ),
    "launch.result": ("Result",),
    "run.aio": ("AsyncSandbox", "run_async"),
    "run.pool": ("Pool",),
    "run.process": ("Sandbox",),
    "run.session": ("Session",),
    "run.stdio": ("DEVNULL", "PIPE", "STDOUT"),
}
_HOME = {name: f"sandbox.{module}" for module, names in _PLACES.items() for name in names}

__all__ = [
    "DEVNULL",
    "PIPE",
    "STDOUT",
    "AsyncSandbox",
    "CommandFailed",
    "HostError",
    "PolicyError",
    "Pool",
    "ProgramError",
    "Result",
    "Sandbox",
    "SandboxError",
    "Session",
    "SetupError",
    "StateError",
    "UsageError",
    "run",
    "run_async",
]


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name == "run":
        return import_module("sandbox.run")  # the room of that name can be called
    if name == "errors":
        return import_module("sandbox.errors")
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'sandbox' has no attribute {name!r}")
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
