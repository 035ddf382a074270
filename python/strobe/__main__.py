"""`python -m strobe ARGUMENT…`, and the command `strobe` of the wheel: the command of the library."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    command = Path(__file__).parent / "bin" / "strobe"
    os.execv(command, [str(command), *sys.argv[1:]])


if __name__ == "__main__":
    main()
