import sys

from strobe.compat.flashinfer_bench.cli import main

sys.exit(main())
