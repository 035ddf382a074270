"""Runs one Python solution, or a definition's reference, for `strobe trace run`.

Started with -c. Requests come as lines of JSON on file descriptor 3, answers go out on 4, tensors lie in the memory of 5. Nothing here
is trusted by the other side: it takes the time, holds the inputs' originals and looks at the outputs itself.
"""
import importlib.metadata
import importlib.util
import json
import mmap
import os
import re
import sys
import traceback

FLOATS = {"bfloat16": "bfloat16", "float8_e4m3fn": "float8_e4m3fn", "float8_e5m2": "float8_e5m2"}


class Refused(Exception):
    def __init__(self, kind, text):
        super().__init__(text)
        self.kind = kind


class NumpyArrays:
    """Tensors as numpy arrays over the shared memory."""

    def __init__(self):
        import numpy

        self.numpy = numpy

    def dtype(self, name):
        if name in FLOATS:
            import ml_dtypes

            return self.numpy.dtype(getattr(ml_dtypes, FLOATS[name]))
        return self.numpy.dtype(name)

    def tensor(self, memory, offset, dtype, shape):
        dtype = self.dtype(dtype)
        count = 1
        for extent in shape:
            count *= extent
        return self.numpy.frombuffer(memory, dtype, count, offset).reshape(shape)

    def is_tensor(self, value):
        return type(value) is self.numpy.ndarray  # no subclass, which could still be at work when it is read

    def facts(self, value):
        return str(value.dtype), list(value.shape)

    def copy(self, target, value):
        target[...] = value


class TorchTensors:
    """Tensors of torch over the shared memory."""

    def __init__(self):
        import torch

        self.torch = torch

    def tensor(self, memory, offset, dtype, shape):
        dtype = getattr(self.torch, dtype)
        count = 1
        for extent in shape:
            count *= extent
        if count == 0:
            return self.torch.empty(shape, dtype=dtype)
        return self.torch.frombuffer(memory, dtype=dtype, count=count, offset=offset).reshape(shape)

    def is_tensor(self, value):
        return type(value) is self.torch.Tensor

    def facts(self, value):
        return str(value.dtype).removeprefix("torch."), list(value.shape)

    def copy(self, target, value):
        target.copy_(value)


class Worker:
    def load(self, request):
        for dependency in request["modules"]:
            if not is_installed(dependency):
                raise Refused("unsupported", "it needs %s, which %s does not have" % (dependency, sys.executable))
        sys.path.insert(0, request["folder"])
        file = os.path.join(request["folder"], request["file"])
        spec = importlib.util.spec_from_file_location("solution", file, submodule_search_locations=[request["folder"]])
        module = importlib.util.module_from_spec(spec)
        sys.modules["solution"] = module
        spec.loader.exec_module(module)
        self.function = getattr(module, request["symbol"])
        if not callable(self.function):
            raise TypeError(request["symbol"] + " is not callable")
        self.arrays = TorchTensors() if request["torch"] else NumpyArrays()
        self.passes_outputs = request["destination_passing"]
        self.outputs = request["outputs"]
        self.inputs = request["inputs"]
        self.memory = mmap.mmap(5, request["bytes"])
        libs = {"python": sys.version.split()[0]}
        for name in ("numpy", "torch"):
            if name in sys.modules:
                libs[name] = sys.modules[name].__version__
        return {"libs": libs}

    def bind(self, request):
        self.calls = []
        for places in request["sets"]:
            inputs = [
                value["value"] if spec["shape"] is None else self.tensor(spec, value["offset"])
                for spec, value in zip(self.inputs, places["inputs"])
            ]
            outputs = [self.tensor(spec, offset) for spec, offset in zip(self.outputs, places["outputs"])]
            self.calls.append((inputs, outputs))
        return {}

    def tensor(self, spec, offset):
        return self.arrays.tensor(self.memory, offset, spec["dtype"], spec["shape"])

    def run(self, request):
        function, results = self.function, []
        if self.passes_outputs:
            for number in request["sets"]:
                inputs, outputs = self.calls[number]
                function(*inputs, *outputs)
        else:
            for number in request["sets"]:
                inputs, _ = self.calls[number]
                results.append(function(*inputs))
        self.results = results, request["sets"]
        return {}

    def empty(self, request):
        """What the loop, the request and the answer take by themselves."""
        function, self.function = self.function, nothing
        try:
            return self.run(request)
        finally:
            self.function = function

    def collect(self, request):
        if self.passes_outputs:
            return {}
        results, numbers = self.results
        for number, result in zip(numbers, results):
            values = list(result) if isinstance(result, (tuple, list)) else [result]
            if len(values) != len(self.outputs):
                raise Refused("shape", "expected %d outputs, got %d" % (len(self.outputs), len(values)))
            for spec, target, value in zip(self.outputs, self.calls[number][1], values):
                self.check(spec, value)
                self.arrays.copy(target, value)
        self.results = [], []
        return {}

    def check(self, spec, value):
        if not self.arrays.is_tensor(value):
            raise Refused("dtype", "%s: expected a tensor, got %s" % (spec["name"], type(value).__name__))
        dtype, shape = self.arrays.facts(value)
        if shape != spec["shape"]:
            raise Refused("shape", "%s: expected the shape %s, got %s" % (spec["name"], spec["shape"], shape))
        if dtype != spec["dtype"]:
            raise Refused("dtype", "%s: expected %s, got %s" % (spec["name"], spec["dtype"], dtype))


def is_installed(dependency):
    """A requirement such as "numpy>=1.26", by the name of its distribution or of its module."""
    name = re.match(r"[\w.-]*", dependency).group()
    try:
        importlib.metadata.distribution(name)
        return True
    except importlib.metadata.PackageNotFoundError:
        return importlib.util.find_spec(name.replace("-", "_").split(".")[0] or "-") is not None


def nothing(*arguments):
    return arguments


def main():
    requests, answers = os.fdopen(3, "r"), os.fdopen(4, "w")
    worker = Worker()
    for line in requests:
        request = json.loads(line)
        try:
            answer = getattr(worker, request["do"])(request)
        except Refused as refused:
            answer = {"error": str(refused), "kind": refused.kind}
        except BaseException:  # SystemExit of a solution, too
            answer = {"error": traceback.format_exc(limit=-8), "kind": "exception"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


main()
