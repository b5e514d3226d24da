"""What the build needs to know: the packages, the compiled core and the shipped data."""

from __future__ import annotations

import runpy
from pathlib import Path

from setuptools import setup

# By path, as cffi_modules is: the tree is not importable while it is being built.
LAUNCHER = runpy.run_path(str(Path(__file__).with_name("sandbox") / "_build_launcher.py"))

setup(
    name="sandbox",
    version="0.1.0",
    description="Run a command behind every wall that Linux offers without root",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=[
        "sandbox",
        "sandbox.cli",
        "sandbox.host",
        "sandbox.launch",
        "sandbox.plan",
        "sandbox.policies",
        "sandbox.policy",
        "sandbox.policy.exchange",
        "sandbox.run",
    ],
    package_dir={"sandbox": "sandbox", "sandbox.policies": "policies"},
    package_data={"sandbox": ["py.typed", "*.pyi"], "sandbox.policies": ["*.toml"]},
    cffi_modules=["sandbox/_build_core.py:ffibuilder"],
    # The core uses the stable ABI of 3.11, so one wheel serves every later version.
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
    # `sandbox` itself is the launcher, which finds `sandbox-python` beside it.
    entry_points={"console_scripts": ["sandbox-python = sandbox.cli.main:entry"]},
    scripts=["sandbox"],
    cmdclass=LAUNCHER["COMMANDS"],
    install_requires=["cffi>=1.15", "pyseccomp>=0.1.2", "structlog>=22.1"],
    extras_require={
        "test": ["pytest>=8", "hypothesis>=6.60", "jsonschema>=4.10"],
        "dev": ["ruff>=0.9", "mypy>=1.8"],
    },
    zip_safe=False,
)
