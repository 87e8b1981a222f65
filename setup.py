"""Lists the packages; all else stands in pyproject.toml.

data/ and r_reference/ lie at the top of the repository and are installed inside the package:
setuptools takes them for packages, but its search cannot find them under another name.
"""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["pymackay", "pymackay.*"]),
        "pymackay._data",
        "pymackay._r_reference",
    ],
    package_dir={"pymackay._data": "data", "pymackay._r_reference": "r_reference"},
)
