"""Found under the name `flashinfer_bench` by programs that `python -m strobe.compat` starts."""

from strobe.compat.flashinfer_bench import install

install()
