"""Spoken digits as log-mel spectra: an archive of WAV files → train.npz and test.npz.

    python examples/digits/features.py fsdd/train.tar.gz digits/

Every file is DIGIT_SPEAKER_INDEX.wav, 8 kHz. A recording whose index ends in --held-out goes to
test.npz, so that a tenth of every speaker's recordings of every digit is never trained on. A step
is 10 ms: the logarithm of the energy in 32 bands of the mel scale.
"""

from __future__ import annotations

import argparse
import io
import tarfile
from pathlib import Path

import numpy as np
from scipy.io import wavfile

RATE, WINDOW, HOP, BANDS = 8000, 256, 80, 32
LEAST = 1e-6
"""Energy below which all is silence."""


def mel(hertz: np.ndarray) -> np.ndarray:
    """The mel scale: 2595 log₁₀(1 + f / 700)."""
    return 2595 * np.log10(1 + hertz / 700)


def filters() -> np.ndarray:
    """Triangles on the mel scale [BANDS, WINDOW / 2 + 1]."""
    places = np.linspace(mel(np.array(60.0)), mel(np.array(RATE / 2)), BANDS + 2)
    edges = 700 * (10 ** (places / 2595) - 1)
    f = np.fft.rfftfreq(WINDOW, 1 / RATE)
    left, middle, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (f - left) / (middle - left), (right - f) / (right - middle)
    return np.maximum(0, np.minimum(rising, falling))


def log_mel(samples: np.ndarray) -> np.ndarray:
    """Samples between −1 and 1 → [T, BANDS]."""
    samples = np.pad(samples, (0, max(0, WINDOW - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW))) ** 2 / WINDOW
    return np.log(np.maximum(power @ filters().T, LEAST)).astype(np.float32)


def main() -> None:
    """Read the archive, write two others."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("archive", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--held-out", type=int, default=7, help="last digit of the index")
    options = parser.parse_args()
    parts: dict[str, list[tuple[np.ndarray, int]]] = {"train": [], "test": []}
    with tarfile.open(options.archive) as archive:
        for member in sorted(archive.getmembers(), key=lambda m: m.name):
            name = Path(member.name)
            if name.suffix != ".wav" or (file := archive.extractfile(member)) is None:
                continue
            rate, samples = wavfile.read(io.BytesIO(file.read()))
            if rate != RATE or samples.dtype != np.int16:
                raise SystemExit(f"{name}: expected 16 bits at {RATE} Hz, got {rate}")
            digit, _, index = name.stem.split("_")
            part = "test" if int(index) % 10 == options.held_out else "train"
            parts[part].append((log_mel(samples / 32768), int(digit)))
    options.folder.mkdir(parents=True, exist_ok=True)
    for part, recordings in parts.items():
        path = options.folder / f"{part}.npz"
        if path.exists():
            raise SystemExit(f"{path} exists and is not overwritten.")
        x, y = zip(*recordings)
        np.savez(path, x=np.concatenate(x), y=np.array(y), lengths=np.array(list(map(len, x))))
        print(f"{path}: {len(y):,} recordings, {sum(map(len, x)):,} steps of {BANDS} bands")


if __name__ == "__main__":
    main()
