"""The build of the wheel: scikit-build-core's, after a look at what the machine must have."""

import shutil
import subprocess
import sys

from scikit_build_core.build import *  # noqa: F403: the hooks of PEP 517
from scikit_build_core.build import build_wheel as _build_wheel

# Debian's packages, and a header or command that shows each of them.
PACKAGES = {
    "g++": "command c++",
    "libfmt-dev": "fmt/format.h",
    "libspdlog-dev": "spdlog/spdlog.h",
    "nlohmann-json3-dev": "nlohmann/json.hpp",
    "libcli11-dev": "CLI/CLI.hpp",
}


def _is_there(sign: str) -> bool:
    kind, _, name = sign.rpartition(" ")
    if kind:
        return shutil.which(name) is not None
    command = ["c++", "-x", "c++", "-std=c++20", "-fsyntax-only", "-include", name, "/dev/null"]
    return subprocess.run(command, capture_output=True).returncode == 0


def missing_packages() -> list:
    compiler, *headers = PACKAGES
    if not _is_there(PACKAGES[compiler]):
        return list(PACKAGES)
    return [package for package in headers if not _is_there(PACKAGES[package])]


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    missing = missing_packages()
    if missing:
        sys.exit(f"strobe: missing to build it: apt-get install {' '.join(missing)}")
    return _build_wheel(wheel_directory, config_settings, metadata_directory)
