"""Heart rates from finger PPG, beside a chest strap: `python liveness_pulse.py DIR` of Welltory's recordings.

A reference for the daemon's own estimator. A window is band-passed to .7 to 3 Hz; its autocorrelation's first strong peak is the
beat. A peak at twice the time, three times and so on is the same rhythm: the candidate whose multiples agree best wins. The
recording's rate is the median over windows; the truth is the number of beats over the time that they took.
"""

import argparse
from pathlib import Path

import numpy as np

from liveness_signals import read_ppg, resampled

STEP = 0.02  # seconds
BEATS = (40.0, 180.0)  # a minute
HOP = 2.0  # seconds between windows


def rate(wave: np.ndarray, step: float = STEP) -> float:
    """Beats a minute of one window, NaN where it has no rhythm."""
    n = len(wave)
    along = np.arange(n)
    wave = wave - np.polyval(np.polyfit(along, wave, 1), along)
    spectrum, frequency = np.fft.rfft(wave * np.hanning(n), 4 * n), np.fft.rfftfreq(4 * n, step)
    spectrum[(frequency < 0.7) | (frequency > 3.0)] = 0
    found = np.fft.irfft(np.abs(spectrum) ** 2)[:n]
    if not found[0] > 0:
        return float("nan")
    found = found / found[0]
    first, last = int(60 / BEATS[1] / step), min(int(60 / BEATS[0] / step), n - 2)
    peaks = [i for i in range(max(first, 1), last) if found[i - 1] < found[i] >= found[i + 1]]
    if not peaks:
        return float("nan")
    highest = max(found[i] for i in peaks)
    beat = next(i for i in peaks if found[i] >= 0.75 * highest)
    # Where the parabola through the peak and its neighbours is highest.
    a, b, c = found[beat - 1 : beat + 2]
    return 60 / ((beat + 0.5 * (a - c) / (a - 2 * b + c)) * step)


def recording(path: Path, seconds: float) -> tuple[float, float, float]:
    """Estimated and true beats a minute of a recording, and the mean error of its windows against the beats at that time."""
    time, red = read_ppg(path)
    wave, width = resampled(time, red, STEP), int(seconds / STEP)
    beats = np.array(path.with_name("RR.txt").read_text().split(), float) / 1000
    ends = np.cumsum(beats)
    starts = range(0, len(wave) - width, int(HOP / STEP))
    found = np.array([rate(wave[s : s + width]) for s in starts])
    at = [(ends > s * STEP) & (ends <= s * STEP + seconds) for s in starts]
    near = np.array([60 / beats[a].mean() if a.sum() > 3 else np.nan for a in at])
    return float(np.nanmedian(found)), 60 / beats.mean(), float(np.nanmean(np.abs(found - near)))


def main(given=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, nargs="+", default=[10, 15, 20], help="of a window")
    args = parser.parse_args(given)
    paths = sorted(args.folder.rglob("PPG.csv"))
    if not paths:
        raise SystemExit(f"{args.folder}: no PPG.csv")
    for seconds in args.seconds:
        rows = np.array([recording(path, seconds) for path in paths])
        errors = np.abs(rows[:, 0] - rows[:, 1])
        print(
            f"{seconds:g} s: {len(rows)} recordings, error of the recording's rate mean {errors.mean():.2f}, worst {errors.max():.2f}; ",
            end="",
        )
        print(f"of its windows mean {rows[:, 2].mean():.2f}, worst recording {rows[:, 2].max():.2f} beats a minute")


if __name__ == "__main__":
    main()
