"""`python -m strobe.compat -- COMMAND…`: runs a command in which `flashinfer` is Strobe, in its child processes too."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    command = sys.argv[1:]
    if command[:1] == ["--"]:
        del command[0]
    if not command:
        sys.exit("usage: python -m strobe.compat -- COMMAND [ARGUMENT…], such as: -- pytest tests, -- python script.py")
    alias = Path(__file__).parent / "alias"
    package = Path(__file__).parents[2]
    path = [str(alias), os.environ.get("PYTHONPATH", ""), str(package)]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, path))
    # pytest, python and the like are those of this interpreter's environment.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"strobe.compat: {command[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
