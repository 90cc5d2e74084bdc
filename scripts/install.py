"""Make .venv and install the project in it, with a torch that pulls in no CUDA packages.

On Linux, PyPI's torch brings gigabytes of CUDA libraries. So pip is asked first what it would
install: where that includes CUDA and this machine has no NVIDIA GPU, torch comes from the index
that its makers keep for CPU builds instead.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PIP = [str(ROOT / ".venv/bin/python"), "-m", "pip", "--disable-pip-version-check"]
TORCH = "torch>=2.11,<2.14"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"


def main() -> None:
    """Make the environment, or bring it up to date."""
    if sys.version_info < (3, 11):  # noqa: UP036 - this runs before anything is installed
        sys.exit(
            f"throughtime needs Python 3.11 or newer; this is {sys.version.split()[0]}. "
            "Choose another: make PYTHON=python3.12 …"
        )
    if not (ROOT / ".venv/bin/pip").exists():
        print("making .venv", flush=True)
        venv = [sys.executable, "-m", "venv", "--clear", str(ROOT / ".venv")]
        if subprocess.run(venv).returncode:
            sys.exit("cannot make .venv; on Debian and Ubuntu: apt install python3-venv")
    if subprocess.run([*PIP, "show", "-q", "torch"], capture_output=True).returncode:
        install_torch()
    print("installing throughtime and its tools", flush=True)
    run(["install", "-q", "-e", f"{ROOT}[dev]"])


def install_torch() -> None:
    """The CPU build where one is at hand or no GPU is here; else what pip would choose."""
    arguments = [TORCH]
    if shutil.which("nvidia-smi") is None and brings_cuda():
        arguments = [TORCH, "--index-url", CPU_INDEX]
        print(f"installing torch from {CPU_INDEX}: no NVIDIA GPU here", flush=True)
    else:
        print("installing torch", flush=True)
    run(["install", "-q", *arguments])


def brings_cuda() -> bool:
    """Whether pip's own choice of torch would install CUDA packages."""
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        run(["install", "-q", "--dry-run", "--report", report.name, TORCH])
        found = json.loads(Path(report.name).read_text())["install"]
    names = [item["metadata"]["name"].lower() for item in found]
    return any(name.startswith(("nvidia-", "cuda-", "triton")) for name in names)


def run(arguments: list[str]) -> None:
    """Run pip; stop if it fails."""
    if code := subprocess.run([*PIP, *arguments]).returncode:
        sys.exit(f"pip {' '.join(arguments)} failed with exit code {code}")


if __name__ == "__main__":
    main()
