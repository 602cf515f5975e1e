"""A rule of thresholds on the same channels, tuned on the same windows as the head: what the head must be better than.

Each channel's mean over the window, its deviation, and the pulse's must lie within an interval. Intervals begin as wide as
possible; again and again the one end is moved in, by a step of people's quantiles, that turns away most attacks for each person lost, until
the budget of people is spent. A channel that isn't valid says nothing.
"""

import numpy as np

from liveness_table import CHANNELS
from liveness_windows import MASK_ROW, ROW_CHANNEL

STEPS = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016)  # of people, that an end may cut off by itself
KINDS_OF_ROWS = [kind for channel in CHANNELS for kind, _, _ in channel.inputs] + ["centred"]


def features(rows: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """N x features, NaN where invalid: means of absolute rows and deviations of the others, the pulse's among them."""
    made = []
    for start in range(0, len(rows), 4096):
        some = rows[start : start + 4096].astype(np.float32)
        columns = []
        for row, kind in enumerate(KINDS_OF_ROWS):
            if kept[ROW_CHANNEL[row]]:
                mask = some[:, MASK_ROW + ROW_CHANNEL[row]]
                count, x = mask.sum(1), some[:, row]
                mean = (x * mask).sum(1) / np.maximum(count, 1)
                value = mean if kind == "absolute" else np.sqrt((mask * (x - mean[:, None]) ** 2).sum(1) / np.maximum(count, 1))
                columns.append(np.where(count > 0, value, np.nan))
        made.append(np.stack(columns, 1))
    return np.concatenate(made)


def tune(people: np.ndarray, attacks: np.ndarray, budget: float) -> np.ndarray:
    """Features x 2: the lowest and the highest value that a person may show, for `budget` of people turned away."""
    found = np.stack([np.full(people.shape[1], -np.inf), np.full(people.shape[1], np.inf)], 1)
    people_in, attacks_in = np.ones(len(people), bool), np.ones(len(attacks), bool)
    ends = []
    for feature in range(people.shape[1]):
        values = people[:, feature][np.isfinite(people[:, feature])]
        for share in STEPS if len(values) else ():
            ends += [(feature, 0, np.quantile(values, share)), (feature, 1, np.quantile(values, 1 - share))]
    out = lambda x, end: (x[:, end[0]] < end[2]) if end[1] == 0 else (x[:, end[0]] > end[2])  # noqa: E731
    people_out = np.stack([out(people, end) for end in ends])
    attacks_out = np.stack([out(attacks, end) for end in ends])
    while True:
        lost, gained = (people_out & people_in).sum(1), (attacks_out & attacks_in).sum(1)
        left = budget * len(people) - (~people_in).sum()
        worth = np.where((lost <= left) & (gained > 0), gained / (lost + 0.5), -1)
        best = int(np.argmax(worth))
        if worth[best] <= 0:
            return found
        feature, side, at = ends[best]
        found[feature, side] = max(found[feature, 0], at) if side == 0 else min(found[feature, 1], at)
        people_in &= ~people_out[best]
        attacks_in &= ~attacks_out[best]


def passes(x: np.ndarray, interval: np.ndarray) -> np.ndarray:
    """Whether each of N is within every interval; NaN is within any."""
    return ~((x < interval[:, 0]) | (x > interval[:, 1])).any(1)
