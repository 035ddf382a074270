"""Found under the name `flashinfer` by programs that `python -m strobe.compat` starts."""

from strobe.compat.flashinfer import install

install()
