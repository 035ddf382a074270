"""Who is compared: Strobe and FlashInfer as libraries of the same calls, torch's own operators, torch.compile."""

import importlib

import torch

LIBRARIES = ("strobe", "flashinfer")


def load(wanted):
    """The libraries among `wanted` (None: all) that can be imported, and a line for each that cannot."""
    found, notes = {}, []
    for name in LIBRARIES:
        if wanted is not None and name not in wanted:
            continue
        try:
            found[name] = importlib.import_module(name)
        except ImportError as error:
            notes.append(f"{name} is left out: {error}")
    return found, notes


def contenders_of(case, libraries, wanted):
    """{name: function of the case's tensors that returns its outputs}, in the order of the table."""
    contenders = {name: case.library(module) for name, module in libraries.items()}
    if wanted is None or "torch" in wanted:
        contenders["torch"] = case.eager
    if wanted is None or "compile" in wanted:
        contenders["compile"] = torch.compile(case.formula, dynamic=False)
    return contenders
