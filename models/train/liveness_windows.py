"""From sessions to what the head is shown: 50 ticks of 40 ms, 116 rows.

Rows: one for each input of the table, three for the pulse, one for each channel's mask. The same is computed in Rust;
models/golden/liveness-fusion.json has whole sessions and their windows, and both sides are tested against it.
"""

import numpy as np

from liveness_table import CHANNELS, NAMES

TICKS, TICK = 50, 0.04  # ticks of a window, and seconds of each
FEWEST = 5  # valid ticks, or the channel is invalid throughout
CAMERA_TICKS = 45  # ticks with a face, or the daemon judges no window (src/liveness/judge.rs)
CAMERA_FRAMES = 22  # and frames with one
FEWEST_COLOURS = 25  # ticks with all three colours, or there is no pulse
LIMIT = 4.0
VALUE_ROWS = sum(len(channel.inputs) for channel in CHANNELS)
PULSE_ROW = VALUE_ROWS
PULSE_ROWS = 3  # the pulse, how far it stands out of the noise, and the noise
MASK_ROW = PULSE_ROW + PULSE_ROWS
ROWS = MASK_ROW + len(CHANNELS)
# Of a window's Fourier transform, half a hertz each: where hearts beat (0.5 to 3.5 Hz), and where only noise is (4.5 to 7 Hz).
BEATS, NOISE = range(1, 8), range(9, 15)
COLOURS = tuple(NAMES.index(name) for name in ("skin_r", "skin_g", "skin_b"))


def resample(times, values, ticks, channel) -> tuple[np.ndarray, np.ndarray]:
    """N x K samples of one channel → its values (N x T, 0 where invalid) and whether they are valid, at `ticks` (N x T).

    Samples later than the newest tick aren't known yet and are left out.
    """
    times, values = np.asarray(times, np.float64), np.asarray(values, np.float64)
    if times.shape[1] == 0:
        return np.zeros(ticks.shape), np.zeros(ticks.shape, bool)
    good = np.isfinite(times) & np.isfinite(values) & (values >= channel.low) & (values <= channel.high)
    good &= times <= ticks[:, -1:] + 1e-9
    times = np.where(good, times, np.inf)
    order = np.argsort(times, axis=1, kind="stable")
    times, values = np.take_along_axis(times, order, 1), np.take_along_axis(np.where(good, values, 0.0), order, 1)
    # The number of samples at or before each tick, less one.
    before = (times[:, None, :] <= ticks[:, :, None] + 1e-9).sum(2) - 1
    after = np.minimum(before + 1, times.shape[1] - 1)
    at = np.maximum(before, 0)
    t0, t1 = np.take_along_axis(times, at, 1), np.take_along_axis(times, after, 1)
    v0, v1 = np.take_along_axis(values, at, 1), np.take_along_axis(values, after, 1)
    is_last = ~np.isfinite(t1) | (after == before)
    with np.errstate(invalid="ignore"):
        gap = np.where(is_last, 1.0, t1 - t0)
        share = np.where(is_last, 0.0, (ticks - t0) / np.where(gap > 0, gap, 1.0)).clip(0, 1)
    valid = (before >= 0) & np.where(is_last, ticks - t0 <= channel.hold / 2 + 1e-9, gap <= channel.hold + 1e-9)
    # A sample at the tick itself is its value, whatever gap follows.
    valid |= (before >= 0) & (np.abs(ticks - t0) <= 1e-9)
    with np.errstate(invalid="ignore"):
        mixed = np.where(is_last, v0, v0 + (v1 - v0) * share)
    return np.where(valid, mixed, 0.0), valid


def ticks_until(ends) -> np.ndarray:
    """N ends in seconds → N x 50 ticks, the newest at the end."""
    return np.asarray(ends, np.float64)[:, None] - TICK * np.arange(TICKS - 1, -1, -1)


def series(batch: dict, ends) -> tuple[np.ndarray, np.ndarray]:
    """A batch of sessions, one window each → values and validity, N x 47 x 50."""
    ticks = ticks_until(ends)
    values, valid = np.zeros((len(ticks), len(CHANNELS), TICKS)), np.zeros((len(ticks), len(CHANNELS), TICKS), bool)
    for index, channel in enumerate(CHANNELS):
        if channel.name in batch:
            values[:, index], valid[:, index] = resample(*batch[channel.name], ticks, channel)
    return values, valid


def pulse(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """POS (Wang et al. 2017, doi 10.1109/TBME.2016.2609282) over one window, its line taken out, in hundredths: N x 50."""
    colours, good = values[:, COLOURS], valid[:, COLOURS].all(1)
    good &= good.sum(1, keepdims=True) >= FEWEST_COLOURS
    count = np.maximum(good.sum(1, keepdims=True), 1)
    mean = lambda x: np.where(good, x, 0.0).sum(1, keepdims=True) / count  # noqa: E731
    r, g, b = (np.where(good, c / np.where(mean(c) > 0, mean(c), 1.0), 0.0) for c in colours.transpose(1, 0, 2))
    first, second = g - b, g + b - 2 * r
    spread = lambda x: np.sqrt(mean((x - mean(x)) ** 2))  # noqa: E731
    found = np.where(spread(second) < 1e-9, 0.0, first + spread(first) / np.maximum(spread(second), 1e-9) * second)
    along = np.broadcast_to(np.arange(TICKS, dtype=float), found.shape)
    along = along - mean(along)
    slope = mean(along * (found - mean(found))) / np.maximum(mean(along**2), 1e-12)
    return np.where(good, (found - mean(found) - slope * along) / 0.01, 0.0).clip(-LIMIT, LIMIT)


def spectrum(pulse: np.ndarray) -> np.ndarray:
    """N x 50 of `pulse` → N x 2: decimal logarithms, of its power where hearts beat over that where only noise is, each as a
    mean of its bins, and of the latter; 0 where there is no pulse."""
    power = np.abs(np.fft.rfft(pulse, axis=1)) ** 2 / TICKS
    beats, noise = (power[:, list(bins)].mean(1) for bins in (BEATS, NOISE))
    there = noise > 1e-12
    with np.errstate(divide="ignore", invalid="ignore"):
        made = np.stack([np.log10(beats / noise), np.log10(noise) / 2 + 1], 1)
    return np.where(there[:, None] & np.isfinite(made), made, 0.0).clip(-LIMIT, LIMIT)


def rows(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """N x 47 x 50 values and validity → N x 116 x 50 of the head's input, float32."""
    valid = valid & (valid.sum(2, keepdims=True) >= FEWEST)
    count = np.maximum(valid.sum(2, keepdims=True), 1)
    means = np.where(valid, values, 0.0).sum(2, keepdims=True) / count
    made, at = np.zeros((len(values), ROWS, TICKS), np.float32), 0
    for index, channel in enumerate(CHANNELS):
        x, mean = values[:, index], means[:, index]
        for kind, offset, scale in channel.inputs:
            if kind == "absolute":
                row = (x - offset) / scale
            elif kind == "centred":
                row = (x - mean) / scale
            else:
                usable = np.abs(mean) >= 1e-3
                row = np.where(usable, x / np.where(usable, mean, 1.0) - 1, 0.0) / scale
            made[:, at] = np.where(valid[:, index], row.clip(-LIMIT, LIMIT), 0.0)
            at += 1
    made[:, PULSE_ROW] = pulse(values, valid)
    made[:, PULSE_ROW + 1 : MASK_ROW] = spectrum(made[:, PULSE_ROW].astype(np.float64))[:, :, None]
    made[:, MASK_ROW:] = valid
    return made


def windows(batch: dict, ends) -> np.ndarray:
    """A batch of sessions with one window each, that ends at `ends` → N x 116 x 50."""
    return rows(*series(batch, ends))


def of_session(session: dict, ends) -> np.ndarray:
    """Several windows of one session."""
    ends = np.atleast_1d(ends)
    batch = {name: tuple(np.broadcast_to(x, (len(ends), len(x))) for x in pair) for name, pair in session.items()}
    return windows(batch, ends)


def has_face(made: np.ndarray) -> np.ndarray:
    """N x 116 x 50 → N: whether a face is in as many ticks of a window as the daemon needs to judge it."""
    return made[:, MASK_ROW + NAMES.index("face_size")].sum(1) >= CAMERA_TICKS


def has_frames(session: dict, ends) -> np.ndarray:
    """N ends of a session's windows → N: whether so many frames with a face are in each. A simulated camera is as quick as that."""
    times, ends = np.asarray(session["face_size"][0]), np.atleast_1d(ends)[:, None]
    return ((times >= ends - TICK * (TICKS - 1) - 1e-9) & (times <= ends + 1e-9)).sum(1) >= CAMERA_FRAMES


# Which channel each row belongs to; the pulse's are the green's.
_OF_VALUES = [index for index, channel in enumerate(CHANNELS) for _ in channel.inputs]
ROW_CHANNEL = np.array([*_OF_VALUES, *[COLOURS[1]] * PULSE_ROWS, *range(len(CHANNELS))])


def without(made: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The same windows with only the channels `kept` (47 booleans), as if the other sensors weren't there."""
    return made * kept[ROW_CHANNEL][:, None].astype(made.dtype)
