"""Runs in the sandbox: a program held to LiveCodeBench's tests, by its own checker.

Handed over as text, to a Python that can import ``lcb_runner`` and ``numpy``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

ORDER = "order.json"


def main() -> None:
    """Do what the order says; the last line that is written tells what came of it."""
    from lcb_runner.evaluation.testing_util import run_test

    order = json.loads(Path(ORDER).read_text(encoding="utf-8"))
    # What is tested finds neither its tests nor the word there.
    Path(ORDER).unlink()
    sample = {"input_output": order["input_output"]}
    results, metadata = run_test(
        sample, test=order["program"], debug=False, timeout=order["timeout_s"]
    )
    # Below 0 are its codes of errors.
    is_right = [bool(one > 0) for one in results]
    report = {
        "passed": bool(is_right) and all(is_right),
        "code": metadata.get("error_code"),
        "detail": str(metadata.get("error_message") or metadata.get("error") or ""),
    }
    os.write(1, f"\n{order['word']} {json.dumps(report)}\n".encode())
    os._exit(0)


if __name__ == "__main__":
    main()
