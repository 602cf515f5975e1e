"""Signals of bodies, that people and attacks are made of: sway, blinks, and the pulse's wave.

A path is N x F: a value for each session at each moment of a grid STEP apart.
"""

import csv
import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

STEP = 0.02  # seconds between the moments of a path
RECORDED = 0.5  # share of the pulses that are recorded ones, where there are any: a few bodies are not all hearts
KEPT_BACK = 4  # of so many recordings one is measured with and never trained on; where there are fewer, all serve both
BAND = (0.5, 8.0)  # hertz of a pulse's wave that are kept: its base and enough harmonics


def at(path: np.ndarray, times: np.ndarray) -> np.ndarray:
    """A path (N x F) at other times (N x K), linearly; held beyond its ends."""
    where = (times / STEP).clip(0, path.shape[1] - 1.001)
    low = where.astype(np.int64)
    share = (where - low).astype(path.dtype)
    a = np.take_along_axis(path, low, 1)
    return a + (np.take_along_axis(path, low + 1, 1) - a) * share


def smooth(random: np.random.Generator, n: int, frames: int, cutoff_hz: float) -> np.ndarray:
    """Noise of deviation 1 whose power falls with the fourth power of the frequency above `cutoff_hz`: how a standing body
    sways (the spectrum of quiet stance falls so above about half a hertz)."""
    length = 2 * frames + int(4 / (cutoff_hz * STEP))
    spectrum = np.fft.rfft(random.standard_normal((n, length), np.float32), axis=1)
    frequency = np.fft.rfftfreq(length, STEP)
    shape = 1 / (1 + (frequency / cutoff_hz) ** 2)
    spectrum *= shape
    made = np.fft.irfft(spectrum, length, axis=1)[:, :frames]
    return (made / np.sqrt(np.mean(shape**2))).astype(np.float32)


def blinks(random: np.random.Generator, n: int, frames: int, rate_hz: np.ndarray) -> np.ndarray:
    """How far lids are closed, 0 to 1: blinks of 0.15 to 0.4 s, the gaps between them exponential with a floor of half a
    second (adults blink 10 to 20 times a minute)."""
    time, closed = np.arange(frames) * STEP, np.zeros((n, frames), np.float32)
    begins = -random.uniform(0, 4, n)
    for _ in range(int(frames * STEP / 2) + 4):
        begins = begins + 0.5 + random.exponential(1 / np.maximum(rate_hz, 1e-3), n)
        half = random.uniform(0.07, 0.2, n)
        inside = np.abs(time[None] - begins[:, None]) / half[:, None]
        np.maximum(closed, np.where(inside < 1, 0.5 + 0.5 * np.cos(np.pi * inside), 0), out=closed)
    return closed


@dataclass
class Recordings:
    """What real bodies did: PPG waves (deviation 1, STEP apart) and head tracks (x, y, log size; share of the face's width)."""

    waves: list = field(default_factory=list)
    tracks: list = field(default_factory=list)

    @staticmethod
    def load(ppg: Path | None, motion: Path | None) -> "Recordings":
        made = Recordings()
        for path in sorted(Path(ppg).rglob("PPG.csv")) if ppg else []:
            time, red = read_ppg(path)
            made.waves.append(bandpass(resampled(time, red)).astype(np.float32))
        for path in sorted(Path(motion).glob("*real*.csv")) if motion else []:
            made.tracks.append(read_track(path))
        return made

    def part(self, measured: bool) -> "Recordings":
        """Those to measure with, or those to train with: no recording is in both. Some people's pulse is: of the 13 whom Welltory
        recorded eight have two recordings, each by itself on one side."""

        def some(every: list) -> list:
            if len(every) < KEPT_BACK:
                return every
            return [one for index, one in enumerate(every) if (index % KEPT_BACK == 0) == measured]

        return Recordings(some(self.waves), some(self.tracks))

    def name(self) -> str:
        """By which it's known what was made of them: "drawn" where there are none."""
        digest = hashlib.sha256()
        for kind, every in enumerate((self.waves, self.tracks)):
            for one in every:
                digest.update(f"{kind} {one.shape} ".encode() + one.tobytes())
        return digest.hexdigest()[:8] if self.waves or self.tracks else "drawn"


def read_ppg(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Seconds and the red channel of a Welltory recording (Neshitov et al. 2021, doi 10.3390/s21206798)."""
    with open(path, newline="") as file:
        rows = [(float(row["time"]), float(row["R"])) for row in csv.DictReader(file)]
    time, red = np.array(rows).T
    keep = np.concatenate([[True], np.diff(time) > 0])
    return time[keep] / 1000, red[keep]


def resampled(time: np.ndarray, values: np.ndarray, step: float = STEP) -> np.ndarray:
    return np.interp(np.arange(time[0], time[-1], step), time, values)


def bandpass(x: np.ndarray, step: float = STEP, band: tuple = BAND) -> np.ndarray:
    """By the Fourier transform; then each stretch of 4 s to deviation 1, so that a shifting finger has no loud parts."""
    spectrum, frequency = np.fft.rfft(x - x.mean()), np.fft.rfftfreq(len(x), step)
    spectrum[(frequency < band[0]) | (frequency > band[1])] = 0
    x = np.fft.irfft(spectrum, len(x))
    width = int(4 / step)
    power = np.convolve(x**2, np.ones(width) / width, "same")
    return x / np.sqrt(np.maximum(power, 1e-3 * power.max()))


def read_track(path: Path) -> np.ndarray:
    """3 x F of a clip's face boxes: x and y of the middle and the logarithm of the size, each about its mean."""
    with open(path, newline="") as file:
        rows = np.array([[float(row[c]) for c in ("t_s", "x", "y", "w", "h")] for row in csv.DictReader(file)])
    time, x, y, w, h = rows.T
    width = w.mean()
    track = [resampled(time, v) for v in ((x + w / 2) / width, (y + h / 2) / width, np.log(w * h) / 2)]
    return np.array([v - v.mean() for v in track], np.float32)


def pulses(random: np.random.Generator, n: int, frames: int, recordings: Recordings) -> np.ndarray:
    """A wave each, deviation about 1, rising when more light comes back; hearts of 48 to 130 beats a minute. RECORDED of them
    are recorded ones where there are any."""
    made = np.empty((n, frames), np.float32)
    rate = random.uniform(0.8, 1.8, n)
    # Beats wander by a few per cent with breathing; the wave has a second, smaller and later hump (the dicrotic wave).
    phase = np.cumsum(rate[:, None] * (1 + 0.05 * smooth(random, n, frames, 0.3)) * STEP, axis=1) + random.random((n, 1))
    turn = 2 * np.pi * phase
    second = random.uniform(0.2, 0.5, n)[:, None]
    made[:] = 1.2 * (np.cos(turn) + second * np.cos(2 * turn - 1.0) + 0.3 * second * np.cos(3 * turn - 2.0))
    chosen = np.flatnonzero(random.random(n) < RECORDED) if recordings.waves else []
    for index in chosen:
        wave = recordings.waves[random.integers(len(recordings.waves))]
        # A heart may beat a quarter slower or faster than the one that was recorded.
        pace, need = random.uniform(0.8, 1.25), frames
        length = int(need * pace) + 2
        if length < len(wave):
            start = random.integers(len(wave) - length)
            made[index] = np.interp(np.arange(need) * pace, np.arange(length), wave[start : start + length])
    return made


def sway(random: np.random.Generator, n: int, frames: int, recordings: Recordings) -> np.ndarray:
    """3 x N x F: x, y and z in units of their deviation; of real clips for a third where there are any."""
    made = np.stack([smooth(random, n, frames, 0.5) for _ in range(3)])
    chosen = np.flatnonzero(random.random(n) < 0.33) if recordings.tracks else []
    for index in chosen:
        track = recordings.tracks[random.integers(len(recordings.tracks))]
        if random.random() < 0.5:
            track = track[:, ::-1]
        # Forth and back as often as it takes: no jumps.
        there_and_back = np.concatenate([track, track[:, ::-1]], 1)
        start = random.integers(there_and_back.shape[1])
        place = (start + np.arange(frames)) % there_and_back.shape[1]
        made[:, index] = there_and_back[:, place] / np.maximum(track.std(1, keepdims=True), 1e-6)
    return made
