"""What the processor can do at most: fused multiply-adds on registers, all threads at once."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

SOURCE = r"""
#include <atomic>
#include <thread>
#include <vector>
#if defined(__AVX512F__)
enum { BYTES = 64, CHAINS = 16 };   // 2 units of latency 4 need 8 chains; 32 registers
#elif defined(__AVX__)
enum { BYTES = 32, CHAINS = 12 };   // 16 registers
#else
enum { BYTES = 16, CHAINS = 24 };   // NEON: up to 4 units of latency 4; 32 registers
#endif
enum { LANES = BYTES / sizeof(float) };
typedef float vec __attribute__((vector_size(BYTES)));

static float chains(long steps, float factor, float summand) {
  const vec f = vec{} + factor, s = vec{} + summand;
  vec a[CHAINS];
  for (int i = 0; i < CHAINS; ++i) a[i] = f * (float)i;
  for (long k = 0; k < steps; ++k)
#pragma GCC unroll 24
    for (int i = 0; i < CHAINS; ++i) a[i] = a[i] * f + s;
  vec sum = a[0];
  for (int i = 1; i < CHAINS; ++i) sum += a[i];
  float total = 0;
  for (int l = 0; l < LANES; ++l) total += sum[l];
  return total;
}

extern "C" double flop_per_step() { return 2.0 * CHAINS * LANES; }

extern "C" float run(int threads, long steps, float factor, float summand) {
  std::vector<float> sums(threads);
  std::vector<std::thread> others;
  for (int i = 1; i < threads; ++i)
    others.emplace_back([&, i] { sums[i] = chains(steps, factor, summand); });
  sums[0] = chains(steps, factor, summand);
  for (auto& other : others) other.join();
  return sums[0];
}
"""

FLAGS = ("-O3", "-std=c++17", "-ffp-contract=fast", "-shared", "-fPIC", "-pthread")
STEPS = 8_000_000
"""About 20 ms: long against starting a thread, short against a change of the clock."""


class Peak:
    """A call is `flop` floating-point operations on `threads` threads."""

    def __init__(self, threads: int) -> None:
        compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("c++")
        if compiler is None:
            raise FileNotFoundError("no C++ compiler: neither $CXX nor g++ nor c++")
        with tempfile.TemporaryDirectory() as folder:
            source, library = Path(folder) / "peak.cpp", Path(folder) / "peak.so"
            source.write_text(SOURCE)
            files = [str(source), "-o", str(library)]
            subprocess.run([compiler, *FLAGS, "-march=native", *files], check=True)
            self.library = ctypes.CDLL(str(library))
        self.library.flop_per_step.restype = ctypes.c_double
        self.library.run.restype = ctypes.c_float
        self.library.run.argtypes = [ctypes.c_int, ctypes.c_long, ctypes.c_float, ctypes.c_float]
        self.threads = threads
        self.flop = self.library.flop_per_step() * STEPS * threads

    def __call__(self) -> None:
        self.library.run(self.threads, STEPS, 0.999, 0.001)
