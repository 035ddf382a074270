"""What benchmarks/versus_torch.py, versus_host.py and versus_sampling.py say of their measurements; needs neither torch nor a GPU.

    python3 tests/versus_test.py
"""

import json
import math
import pathlib
import subprocess
import sys
import tempfile
import unittest

BENCHMARKS = pathlib.Path(__file__).resolve().parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from versus import report  # noqa: E402


def row(name="strobe", samples=(3e-6, 1e-6, 2e-6), error=0.001):
    return report.row(name, list(samples), bytes_moved=4e6, copy_rate=4e12, error=error, tolerance=0.01)


class Rows(unittest.TestCase):
    def test_have_median_minimum_and_rates(self):
        got = row()
        self.assertAlmostEqual(got["median_us"], 2)
        self.assertAlmostEqual(got["min_us"], 1)
        self.assertAlmostEqual(got["tb_s"], 2)
        self.assertAlmostEqual(got["of_copy"], 0.5)
        self.assertEqual(len(got["samples_us"]), 3)

    def test_have_operations_where_they_are_counted(self):
        got = report.row("strobe", [2e-3], bytes_moved=4e6, copy_rate=4e12, error=0.001, tolerance=0.01, flops=1e12)
        self.assertAlmostEqual(got["tflop_s"], 500)
        self.assertNotIn("tflop_s", row())
        self.assertIn("500.0 TFLOP/s", report.table(result(got)))

    def test_are_wrong_beyond_the_tolerance_and_for_nan(self):
        self.assertTrue(row()["correct"])
        self.assertFalse(row(error=0.02)["correct"])
        self.assertFalse(row(error=math.nan)["correct"])


def result(*rows):
    return {"case": "rmsnorm 128x4096", "bytes": 4e6, "instances": 3, "calls": 9, "copy_tb_s": 4.0, "rows": list(rows)}


class Tables(unittest.TestCase):
    def test_compare_with_strobe_and_mark_what_is_wrong(self):
        lines = report.table(result(row(), row("torch", [6e-6], error=0.5))).splitlines()
        self.assertIn("strobe", lines[3])
        self.assertIn("1.00", lines[3])
        self.assertNotIn("WRONG", lines[3])
        self.assertIn("3.00", lines[4])
        self.assertTrue(lines[4].endswith("WRONG"))

    def test_need_no_strobe(self):
        self.assertIn("torch", report.table(result(row("torch"))))


class HostTables(unittest.TestCase):
    def test_name_the_goal_and_mark_what_is_wrong(self):
        rows = [{"contender": "strobe", "median_us": 3.5, "min_us": 3.25, "error": 0.0, "correct": True},
                {"contender": "flashinfer tensor cores", "median_us": 645, "min_us": 640, "error": 1.0, "correct": False}]
        lines = report.host_table({"case": "plan", "goal_us": 40, "calls": 100, "rows": rows}).splitlines()
        self.assertEqual(lines[1], "plan: 100 calls a sample, goal 40 us")
        self.assertIn("      3.50       3.25", lines[3])
        self.assertTrue(lines[4].endswith("WRONG") and lines[4].startswith("  flashinfer tensor cores"))
        self.assertNotIn("goal", report.host_table({"case": "plan", "goal_us": None, "calls": 100, "rows": rows}))


class Files(unittest.TestCase):
    def test_are_replaced_as_a_whole(self):
        with tempfile.TemporaryDirectory() as folder:
            path = folder + "/out.json"
            for cases in ([result(row())], [result(row()), result(row("torch"))]):
                report.write_json(path, {"gpu": "a GPU"}, ["benchmarks/versus_torch.py", "--warm"], cases)
            with open(path, encoding="utf-8") as file:
                written = json.load(file)
            self.assertEqual(written["command"], "benchmarks/versus_torch.py --warm")
            self.assertEqual(len(written["cases"]), 2)
            self.assertEqual([entry.name for entry in pathlib.Path(folder).iterdir()], ["out.json"])


class Command(unittest.TestCase):
    def test_names_the_flag_that_is_wrong(self):
        none = ["--repetitions", "0"], "--repetitions: expected at least 1, got 0"
        for command, flags, words in (("versus_torch.py", *none), ("versus_host.py", *none), ("versus_sampling.py", *none),
                                      ("versus_torch.py", ["--contenders", "triton"], "invalid choice: 'triton'")):
            done = subprocess.run([sys.executable, str(BENCHMARKS / command), *flags], capture_output=True, text=True)
            self.assertEqual(done.returncode, 2)
            self.assertIn(words, done.stderr)


if __name__ == "__main__":
    unittest.main()
