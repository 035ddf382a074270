"""Runs one Python solution, or a definition's reference, for `strobe trace run`.

Started with -c. Requests come as lines of JSON on file descriptor 3, answers go out on 4, tensors lie in the memory of 5. Nothing here
is trusted by the other side: it takes the time, holds the inputs' originals and looks at the outputs itself.
"""
import ctypes
import importlib.metadata
import importlib.util
import json
import mmap
import os
import re
import sys
import traceback

FLOATS = {"bfloat16": "bfloat16", "float8_e4m3fn": "float8_e4m3fn", "float8_e5m2": "float8_e5m2"}

# What is measured is the solution itself: nothing routes or records its calls, whatever the user's shell switches on.
for switch in ("ENABLE_APPLY", "ENABLE_TRACING"):
    os.environ.pop("STROBE_" + switch, None)
    os.environ.pop("FIB_" + switch, None)


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


class Cupti:
    """When kernels, copies and fills began and ended, as CUPTI records it: the GPU's own time, without launches."""

    KINDS = 1, 2, 10  # of CUpti_ActivityKind: copies, fills, kernels
    START, END = 16, 24  # bytes into a record of any of these

    def __init__(self, path):
        library = ctypes.CDLL(path)
        self.flush = library.cuptiActivityFlushAll
        self.work, buffers = [], {}
        pointer, size = ctypes.c_void_p, ctypes.c_size_t

        def request(buffer, room, most_records):
            memory = (ctypes.c_uint64 * (1 << 17))()
            buffer[0], room[0], most_records[0] = ctypes.addressof(memory), ctypes.sizeof(memory), 0
            buffers[buffer[0]] = memory

        def complete(context, stream, buffer, room, valid):
            record = pointer()
            while library.cuptiActivityGetNextRecord(pointer(buffer), size(valid), ctypes.byref(record)) == 0:
                if ctypes.c_uint32.from_address(record.value).value in self.KINDS:
                    self.work.append([ctypes.c_uint64.from_address(record.value + at).value for at in (self.START, self.END)])
            del buffers[buffer]

        self.callbacks = (  # for as long as the process lives
            ctypes.CFUNCTYPE(None, ctypes.POINTER(pointer), ctypes.POINTER(size), ctypes.POINTER(size))(request),
            ctypes.CFUNCTYPE(None, pointer, ctypes.c_uint32, pointer, size, size)(complete),
        )
        if library.cuptiActivityRegisterCallbacks(*self.callbacks) or any(library.cuptiActivityEnable(kind) for kind in self.KINDS):
            raise OSError(path + " does not record kernels")

    def take(self):
        """The beginning and end of each since the last call, in order."""
        self.flush(0)
        work, self.work = self.work, []
        return sorted(work)


class CudaTensors(TorchTensors):
    """Tensors of torch on a GPU, laid out there as in the shared memory, which goes over and comes back by the stream that the solution is
    given: what works in another stream, not ordered with it, comes too early or too late."""

    FLUSHES = 4  # of the L2 cache before a timed call; they keep the GPU busy until the call has enqueued all that it does

    def __init__(self, device, memory, count, cupti):
        super().__init__()
        torch = self.torch
        torch.cuda.set_device(device)
        self.host = torch.frombuffer(memory, dtype=torch.uint8, count=count)
        self.memory = torch.zeros(count, dtype=torch.uint8, device="cuda")
        self.staging = torch.zeros_like(self.memory)
        self.l2 = torch.zeros(2 * torch.cuda.get_device_properties(device).L2_cache_size, dtype=torch.uint8, device="cuda")
        # As they are before the solution is loaded.
        self.synchronize, self.event = torch.cuda.synchronize, torch.cuda.Event
        self.record, self.elapsed_time = torch.cuda.Event.record, torch.cuda.Event.elapsed_time
        self.cupti = None
        try:
            if path := loaded_library("libcupti.so") or cupti:
                self.cupti = Cupti(path)
        except OSError as reason:
            print(reason)

    def tensor(self, memory, offset, dtype, shape):
        dtype = getattr(self.torch, dtype)
        count = dtype.itemsize
        for extent in shape:
            count *= extent
        return self.memory[offset : offset + count].view(dtype).reshape(shape)

    def facts(self, value):
        if value.device != self.memory.device:
            raise Refused("dtype", "expected a tensor on %s, got one on %s" % (self.memory.device, value.device))
        return super().facts(value)

    def bring_late(self):
        self.staging.copy_(self.host)
        self.memory.zero_()
        self.synchronize()
        for _ in range(64):  # some milliseconds
            self.l2.zero_()
        self.memory.copy_(self.staging)

    def take_away(self):
        self.staging.copy_(self.memory)
        self.host.copy_(self.staging)
        self.synchronize()

    def check(self, calls, waits):
        self.bring_late()
        for call in calls:
            if waits:
                self.synchronize()
            call()
        if waits:
            self.synchronize()
        self.take_away()

    def time(self, calls, keep):
        """Milliseconds of the device, each call behind a flush of the L2 cache; by events, which count the launch, where there is no CUPTI."""
        self.bring_late()
        times = []
        for number, call in enumerate(calls):
            begin, end = self.event(enable_timing=True), self.event(enable_timing=True)
            self.synchronize()
            if self.cupti:
                self.cupti.take()
            for _ in range(self.FLUSHES):
                self.l2.zero_()
            self.record(begin)
            result = call()
            self.record(end)
            self.synchronize()
            work = self.cupti.take()[self.FLUSHES :] if self.cupti else []
            times.append((max(end for _, end in work) - work[0][0]) * 1e-6 if work else self.elapsed_time(begin, end))
            keep(number, result)
        self.take_away()
        return times


class Worker:
    def load(self, request):
        for dependency in request["modules"]:
            if not is_installed(dependency):
                raise Refused("unsupported", "it needs %s, which %s does not have" % (dependency, sys.executable))
        self.passes_outputs = request["destination_passing"]
        self.outputs = request["outputs"]
        self.inputs = request["inputs"]
        self.memory = mmap.mmap(5, request["bytes"])
        self.gpu = None
        if request["device"] >= 0:
            self.arrays = self.gpu = CudaTensors(request["device"], self.memory, request["bytes"], request["cupti"])
        else:
            self.arrays = TorchTensors() if request["torch"] else NumpyArrays()
        sys.path.insert(0, request["folder"])
        file = os.path.join(request["folder"], request["file"])
        spec = importlib.util.spec_from_file_location("solution", file, submodule_search_locations=[request["folder"]])
        module = importlib.util.module_from_spec(spec)
        sys.modules["solution"] = module
        spec.loader.exec_module(module)
        self.function = getattr(module, request["symbol"])
        if not callable(self.function):
            raise TypeError(request["symbol"] + " is not callable")
        libs = {"python": sys.version.split()[0]}
        for name in ("numpy", "torch", "triton", "tilelang"):
            if name in sys.modules:
                libs[name] = sys.modules[name].__version__
        if self.gpu:
            libs["cuda"], libs["clock"] = self.gpu.torch.version.cuda, "cupti" if self.gpu.cupti else "events"
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
        if self.gpu:
            return {"ms": self.gpu.time([self.call(number) for number in request["sets"]], self.keeper(request))}
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

    def call(self, number):
        inputs, outputs = self.calls[number]
        if self.passes_outputs:
            return lambda: self.function(*inputs, *outputs)
        return lambda: self.function(*inputs)

    def keeper(self, request):
        """Brings what a call has returned to where its outputs belong."""
        if self.passes_outputs:
            return lambda place, result: None
        return lambda place, result: self.take(request["sets"][place], result)

    def late(self, request, waits=False):
        keep, calls = self.keeper(request), [self.call(number) for number in request["sets"]]
        self.gpu.check([lambda place=place, call=call: keep(place, call()) for place, call in enumerate(calls)], waits)
        return {}

    def waiting(self, request):
        return self.late(request, True)

    def through(self, request):
        for number in request["sets"]:
            self.call(number)()
        self.gpu.synchronize()
        return {}

    def empty(self, request):
        """What the loop, the request and the answer take by themselves."""
        function, self.function = self.function, nothing
        try:
            return self.run(request)
        finally:
            self.function = function

    def collect(self, request):
        if self.passes_outputs or self.gpu:
            return {}
        results, numbers = self.results
        for number, result in zip(numbers, results):
            self.take(number, result)
        self.results = [], []
        return {}

    def take(self, number, result):
        values = list(result) if isinstance(result, (tuple, list)) else [result]
        if len(values) != len(self.outputs):
            raise Refused("shape", "expected %d outputs, got %d" % (len(self.outputs), len(values)))
        for spec, target, value in zip(self.outputs, self.calls[number][1], values):
            self.check(spec, value)
            self.arrays.copy(target, value)

    def check(self, spec, value):
        if not self.arrays.is_tensor(value):
            raise Refused("dtype", "%s: expected a tensor, got %s" % (spec["name"], type(value).__name__))
        dtype, shape = self.arrays.facts(value)
        if shape != spec["shape"]:
            raise Refused("shape", "%s: expected the shape %s, got %s" % (spec["name"], spec["shape"], shape))
        if dtype != spec["dtype"]:
            raise Refused("dtype", "%s: expected %s, got %s" % (spec["name"], spec["dtype"], dtype))


def loaded_library(name):
    """The file of a library that the process has loaded."""
    with open("/proc/self/maps") as maps:
        return next((line.split()[-1] for line in maps if "/" + name in line), "")


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
    ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL: not to stay, stopped, behind an arbiter that was ended
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
