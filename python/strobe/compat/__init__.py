"""Strobe under FlashInfer's name, for programs that are written for it.

    import strobe.compat.flashinfer
    strobe.compat.flashinfer.install()
    import flashinfer                       # is Strobe

or, for a program as it is: python -m strobe.compat -- pytest …, -- python script.py, -- any command.
"""
