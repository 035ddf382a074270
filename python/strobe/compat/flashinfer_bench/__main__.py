"""`python -m strobe.compat.flashinfer_bench`."""

import sys

from .cli import main

sys.exit(main())
