"""The one part of the build that pyproject.toml cannot say: an optional C extension (abi3, no numpy headers)."""

import os

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel

SOURCES = "medeval/metrics/csrc"


class StableWheel(bdist_wheel):
    """One wheel for every CPython from 3.11 on."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.py_limited_api = "cp311"


setup(
    cmdclass={"bdist_wheel": StableWheel},
    ext_modules=[
        Extension(
            "medeval.metrics._kernels",
            sources=[
                f"{SOURCES}/{name}.c"
                for name in ("module", "narrow", "scan", "codes", "nearest", "sweep", "tree")
            ],
            depends=[f"{SOURCES}/kernels.h"],
            define_macros=[("Py_LIMITED_API", "0x030B0000")],
            # No contraction to fused multiply-adds: distances must round as numpy's do.
            extra_compile_args=[] if os.name == "nt" else ["-O3", "-std=c11", "-ffp-contract=off"],
            py_limited_api=True,
            optional=True,  # without a compiler the numpy path serves, with the same numbers
        )
    ],
)
