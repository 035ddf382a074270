"""The Python of the README is examples/quickstart.py, and runs."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_readme_shows_the_example():
    example = (ROOT / "examples" / "quickstart.py").read_text()
    assert f"```python\n{example}```" in (ROOT / "README.md").read_text()


def test_the_example_runs():
    command = [sys.executable, str(ROOT / "examples" / "quickstart.py")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "0.5\n1.0\n"
