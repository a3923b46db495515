"""The compiled part, which is optional: without a C compiler Python does the same, and `truetape doctor` says so.

All else is in pyproject.toml, where setuptools takes extensions on trial only.
"""

from pathlib import Path

from setuptools import Extension, setup

FOLDER = Path("src/truetape/compiled")

setup(
    ext_modules=[
        Extension(
            "truetape.compiled._core",
            sources=sorted(str(path) for path in FOLDER.glob("*.c")),
            depends=sorted(str(path) for path in FOLDER.glob("*.h")),
            py_limited_api=True,
            optional=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
