"""apply() from Python: which solution a call gets, in which convention, and when the fallback."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from data_sets import HARDWARE, Writer, axes, tensors
from strobe.apply import ApplyConfig, active, apply, disable_apply, enable_apply

CONFIG = ApplyConfig(hardware=HARDWARE)


@pytest.fixture
def data_set(tmp_path):
    """scale(x, s) = x * s: 'twice' for 2 rows writes 2 x s, 'thrice' for 3 rows returns 3 x s, as do their names."""
    writer = Writer(tmp_path)
    writer.definition(
        "scale_n4", "scale", axes(rows=None, n=4), tensors(x=["rows", "n"], s=None), tensors(y=["rows", "n"]),
        "def run(x, s):\n    return x * s\n",
    )  # fmt: skip
    writer.solution("twice", "scale_n4", "def run(x, s, y):\n    y[...] = 2 * x * s\n")
    writer.solution(
        "thrice",
        "scale_n4",
        "from .helper import factor\n\ndef run(x, s):\n    return factor * x * s\n",
        dps=False,
        helper="factor = 3\n",
    )
    writer.trace("scale_n4", "twice", rows=2)
    writer.trace("scale_n4", "thrice", rows=3)
    yield writer
    while active():
        disable_apply()


def x(rows):
    return np.full((rows, 4), 5, np.float32)


def fall_back(*args, **kwargs):
    return "fallback", args, kwargs


def test_both_conventions_of_call_and_solution(data_set):
    with enable_apply(data_set.root, CONFIG):
        for rows, factor in ((2, 2), (3, 3)):
            assert (apply("scale_n4", (x(rows), 10.0)) == 50 * factor).all()
            y = np.zeros((rows, 4), np.float32)
            assert apply("scale_n4", (x(rows), 10.0, y)) is None
            assert (y == 50 * factor).all()
            assert (apply("scale_n4", (x(rows),), {"s": 10.0, "other": 1}) == 50 * factor).all()


def test_the_fallback_gets_the_arguments_as_they_came(data_set):
    with enable_apply(data_set.root, CONFIG) as runtime:
        array = x(4)
        kind, args, kwargs = apply("scale_n4", (array,), {"s": 10.0, "mode": "fast"}, fall_back)
        assert kind == "fallback" and args[0] is array and kwargs == {"s": 10.0, "mode": "fast"}
        assert apply("unknown", (array,), fallback=fall_back)[0] == "fallback"
        assert apply("scale_n4", (array.astype(np.float64), 1.0), fallback=fall_back)[0] == "fallback"
        assert apply("scale_n4", (x(2)[:, ::-1], 1.0), fallback=fall_back)[0] == "fallback"
        assert apply("scale_n4", (x(2),), fallback=fall_back)[0] == "fallback"
        with pytest.raises(RuntimeError, match="scale_n4: expected a solution or a fallback"):
            apply("scale_n4", (array, 10.0))
        with pytest.raises(TypeError, match="two values for the argument 's'"):
            apply("scale_n4", (array, 10.0), {"s": 3.0}, fall_back)
        counted = runtime.statistics()["definitions"]
        assert counted["scale_n4"]["routes"] == {"not measured": 2}
        assert counted["scale_n4"]["mismatches"] == {"number of arguments": 1, "dtype": 1, "strides": 1}
        assert (
            counted["unknown"]["calls"] == 1 and counted["unknown"]["unusable"] == "the data set has no such definition"
        )
        assert "x: expected float32, got float64" in runtime.explain()


def test_what_a_solution_raises_is_the_callers(data_set):
    data_set.solution("broken", "scale_n4", "def run(x, s, y):\n    raise KeyError('mine')\n")
    data_set.trace("scale_n4", "broken", rows=7)
    with enable_apply(data_set.root, CONFIG), pytest.raises(KeyError, match="mine"):
        apply("scale_n4", (x(7), 1.0), fallback=fall_back)


def test_decorator_and_resolver(data_set):
    @apply(lambda x, s: f"scale_n{x.shape[1]}")
    def scale(x, s):
        """Scales."""
        return "fallback"

    assert scale.__doc__ == "Scales."
    assert scale(x(2), 1.0) == "fallback"
    with enable_apply(data_set.root, CONFIG):
        assert (scale(x(2), 1.0) == 10).all()
        assert scale(np.zeros((2, 5), np.float32), 1.0) == "fallback"
    assert scale(x(2), 1.0) == "fallback"


def test_enabling_stacks(data_set, tmp_path):
    other = Writer(tmp_path / "other")
    other.definition("other", "o", axes(n=None), tensors(x=["n"]), tensors(y=["n"]))
    first = enable_apply(data_set.root, CONFIG)
    second = enable_apply(other.root, CONFIG)
    assert active() is second
    assert apply("scale_n4", (x(2), 1.0), fallback=fall_back)[0] == "fallback"
    disable_apply()
    assert active() is first and (apply("scale_n4", (x(2), 1.0)) == 10).all()
    disable_apply()
    disable_apply()
    assert active() is None


def test_the_next_solution_wins_where_the_first_cannot_be_loaded(data_set, caplog):
    data_set.solution("fast", "scale_n4", "import no_such_module\n\ndef run(x, s, y):\n    pass\n")
    data_set.trace("scale_n4", "fast", ms=0.01, rows=2)
    with enable_apply(data_set.root, CONFIG):
        assert (apply("scale_n4", (x(2), 1.0)) == 10).all()
    assert "solution fast: it cannot be loaded: ModuleNotFoundError" in caplog.text


def test_solutions_have_helpers_of_the_same_name(data_set):
    for name, value in (("p", 100), ("q", 200)):
        data_set.solution(
            name,
            "scale_n4",
            "import helper\n\ndef run(x, s, y):\n    y[...] = helper.value\n",
            helper=f"value = {value}\n",
        )
        data_set.trace("scale_n4", name, rows=value)
    with enable_apply(data_set.root, CONFIG):
        assert (apply("scale_n4", (x(100), 1.0)) == 100).all()
        assert (apply("scale_n4", (x(200), 1.0)) == 200).all()
    assert "helper" not in sys.modules


def test_policies_for_sizes_that_were_not_measured(data_set):
    with enable_apply(data_set.root, ApplyConfig(hardware=HARDWARE, on_miss="nearest")) as runtime:
        assert (apply("scale_n4", (x(4), 1.0)) == 15).all()
        assert (apply("scale_n4", (x(1), 1.0)) == 10).all()
        assert apply("scale_n4", (x(100), 1.0), fallback=fall_back)[0] == "fallback"
        assert runtime.statistics()["definitions"]["scale_n4"]["routes"] == {"nearest": 2, "not measured": 1}
    with enable_apply(data_set.root, ApplyConfig(hardware=HARDWARE, on_miss="use_def_best")):
        assert apply("scale_n4", (x(100), 1.0)) is not None
    with pytest.raises(ValueError, match="on_miss: expected one of"):
        ApplyConfig(on_miss="guess")


def test_other_frameworks(data_set):
    jax = pytest.importorskip("jax")
    with enable_apply(data_set.root, CONFIG):
        result = apply("scale_n4", (jax.numpy.asarray(x(2)), 1.0))
        assert isinstance(result, jax.Array) and (np.asarray(result) == 10).all()
        y = x(2)
        readonly = x(2)
        readonly.flags.writeable = False
        apply("scale_n4", (readonly, np.float32(1.0), y))
        assert (y == 10).all()


def test_the_environment_switches_it_on_and_statistics_are_written(data_set, tmp_path):
    program = """
import numpy as np, strobe.apply
x = np.full((2, 4), 5, np.float32)
print(strobe.apply.apply("scale_n4", (x, 1.0), fallback=lambda x, s: "fallback"))
"""
    file = tmp_path / "statistics.json"
    environment = {
        **os.environ,
        "FIB_ENABLE_APPLY": "1",
        "FIB_DATASET_PATH": str(data_set.root),
        "STROBE_APPLY_STATISTICS": str(file),
    }
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout == "fallback\n"  # the traces are those of another machine
    assert json.loads(file.read_text())["definitions"]["scale_n4"]["routes"] == {"no traces": 1}
