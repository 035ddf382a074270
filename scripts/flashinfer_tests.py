#!/usr/bin/env python3
"""Runs FlashInfer's own tests on Strobe and counts what comes of them.

    scripts/flashinfer_tests.py flashinfer/tests --sample 20 --jobs 8 --seconds 300 --json results.json

TESTS is the folder `tests` of a checkout of FlashInfer, or some files of it; nothing of it is changed or kept. Needs the
package, torch and pytest in the environment that runs it. FlashInfer's tests are products of many parameters, hundreds
of thousands of cases, so `--sample N` takes N cases of each test function at random (the same ones for the same seed). Each
file has a process of its own, in which `flashinfer` is Strobe, as `python -m strobe.compat` makes it. A case is
`unsupported` when it ends in strobe.Unsupported: Strobe says that it has no such operator. Exits with 1 when one failed.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

OUTCOMES = ("passed", "failed", "unsupported", "skipped")
_OPTIONS = "STROBE_FLASHINFER_TESTS"  # the environment variable by which the plugin hears of the command's options


class Plugin:
    """Inside pytest: takes some of each test's cases, and writes down what came of them."""

    def __init__(self, options):
        self.options = options
        self.random = random.Random(options["seed"])
        self.counts = dict.fromkeys(OUTCOMES, 0)
        self.messages = {outcome: {} for outcome in OUTCOMES[1:]}

    def pytest_collection_modifyitems(self, items):
        self.random.shuffle(items)  # when time runs out, some of every test have run

    def pytest_runtest_setup(self, item):
        if time.time() > self.options["until"]:
            item.session.shouldstop = "out of time"

    def sample(self, calls):
        n = self.options["sample"]
        return self.random.sample(calls, n) if n and len(calls) > n else calls

    def outcome(self, report, call):
        if report.failed:
            error = call.excinfo
            return "unsupported" if error is not None and error.type.__name__ == "Unsupported" else "failed"
        return report.outcome

    def write(self, item, report, call):
        if report.when != "call" and report.outcome == "passed":
            return
        outcome = self.outcome(report, call)
        self.counts[outcome] += 1
        if outcome != "passed":
            text = str(call.excinfo.value) if call.excinfo is not None else "no reason"
            lines = [line.strip() for line in text.splitlines() if line.strip()] or [type(call.excinfo.value).__name__]
            seen = self.messages[outcome].setdefault(f"{item.originalname}: {' '.join(lines[:4])[:250]}", [])
            seen.append(item.name)
        self.save()

    def save(self):
        """After every case, so that a crash or the end of time leaves what there is."""
        Path(self.options["result"]).write_text(json.dumps({"counts": self.counts, "messages": self.messages}))


if _OPTIONS in os.environ:  # pytest has imported this file as a plugin
    import pytest

    if not json.loads(os.environ[_OPTIONS])["warm_up"]:
        from strobe import jit

        jit._warm = True
    _plugin = Plugin(json.loads(os.environ[_OPTIONS]))
    pytest_collection_modifyitems = _plugin.pytest_collection_modifyitems
    pytest_runtest_setup = _plugin.pytest_runtest_setup

    @pytest.hookimpl(wrapper=True)
    def pytest_generate_tests(metafunc):
        yield
        # pytest has no public way to drop cases before it makes items of all of them, which takes minutes and gigabytes.
        metafunc._calls = _plugin.sample(metafunc._calls)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(item, call):
        report = yield
        _plugin.write(item, report, call)
        return report

    def pytest_sessionfinish():
        _plugin.save()


def run_file(test, args, until):
    """Runs one file; returns counts and messages, and a remark where something kept its cases from running."""
    if time.time() > until:
        return {"counts": {}, "messages": {}, "remark": "not begun: out of time"}
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        options = {"seed": args.seed, "sample": args.sample, "until": until, "warm_up": args.warm_up, "result": str(result)}
        here = Path(__file__)
        environment = {
            **os.environ,
            _OPTIONS: json.dumps(options),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(here.parent), os.environ.get("PYTHONPATH")])),
        }
        command = [sys.executable, "-m", "strobe.compat", "--", sys.executable, "-m", "pytest", "-q", *(["-x"] if args.first else []),
                   "-p", here.stem, "-p", "no:cacheprovider", "--tb=short", str(test)]  # fmt: skip
        try:
            ran = subprocess.run(
                command, env=environment, capture_output=True, text=True, cwd=test.parent,
                timeout=max(1.0, until + 20 - time.time()),
            )  # fmt: skip
            text, crashed = ran.stdout + ran.stderr, ran.returncode not in (0, 1, 2, 5)  # pytest's own codes
            remark = f"crashed: exit code {ran.returncode}" if crashed else ""
        except subprocess.TimeoutExpired:
            text, crashed, remark = "", False, "out of time in a case"
        if args.logs:
            (args.logs / f"{test.stem}.log").write_text(text)
        found = json.loads(result.read_text()) if result.exists() else {"counts": {}, "messages": {}}
        if not any(found["counts"].values()) and not remark:
            remark = next((line[1:].strip() for line in text.splitlines() if line.startswith("E  ")), "no cases")
        return {**found, "remark": remark, "crashed": crashed}


def table(results):
    """The counts as Markdown."""
    lines = [f"| file | {' | '.join(OUTCOMES)} | |", f"|---|{'---:|' * len(OUTCOMES)}---|"]
    for name, found in results.items():
        counts = [str(found["counts"].get(outcome, 0)) for outcome in OUTCOMES]
        lines.append(f"| `{name}` | {' | '.join(counts)} | {found['remark'][:120]} |")
    totals = [str(sum(found["counts"].get(outcome, 0) for found in results.values())) for outcome in OUTCOMES]
    return "\n".join([*lines, f"| all | {' | '.join(totals)} | |"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tests", nargs="+", type=Path, help="the folder tests of FlashInfer, or files of it")
    parser.add_argument("--sample", type=int, default=20, help="cases of each test function; 0: all (default 20)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=600, help="no case begins later than this (default 600)")
    parser.add_argument("--jobs", type=int, default=4, help="files at a time (default 4)")
    parser.add_argument("--first", action="store_true", help="stop each file at its first failure")
    parser.add_argument("--warm-up", action="store_true", help="where FlashInfer's tests compile ahead, run `strobe warmup`")
    parser.add_argument("--logs", type=Path, help="a folder for pytest's output, one file for each of theirs")
    parser.add_argument("--json", type=Path, help="where counts and messages go")
    args = parser.parse_args()
    files = [f.resolve() for path in args.tests for f in (sorted(path.rglob("test_*.py")) if path.is_dir() else [path])]
    for missing in (path for path in [*args.tests, *files] if not path.exists()):
        parser.error(f"no such file or folder: {missing}")
    if args.logs:
        args.logs.mkdir(parents=True, exist_ok=True)
    until = time.time() + args.seconds
    results = {}
    with ThreadPoolExecutor(args.jobs) as pool:
        for test, result in zip(files, pool.map(lambda test: run_file(test, args, until), files)):
            results[test.name] = result
            if args.json:  # an end by force leaves what there is
                args.json.write_text(json.dumps(results, indent=1))
    print(table(results))
    for name, result in results.items():
        for outcome in ("failed", "unsupported"):
            for message, cases in result["messages"].get(outcome, {}).items():
                print(f"{outcome}: {name}: {len(cases)} x {message}")
    return any(result["counts"].get("failed") or result.get("crashed") for result in results.values())


if __name__ == "__main__":
    sys.exit(main())
