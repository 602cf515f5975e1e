"""Which triplets of a batch to learn from.

A triplet is an anchor A, a positive P of the same person and a negative N of another, with the loss of Schroff et al.
2015, "FaceNet: A unified embedding for face recognition and clustering":

    L = max(|f(A) - f(P)|² - |f(A) - f(N)|² + α, 0),    |f| = 1

It's *active* where L > 0: the others teach nothing. Of a batch of B pictures all are encoded once; triplets are places in
the B x B matrix of distances.
"""

import torch

KINDS = ("random", "semi-hard", "batch-hard")


def distances(encodings: torch.Tensor) -> torch.Tensor:
    """Squared Euclidean distances, B x B, of B unit-length encodings: 0 to 4."""
    return (2 - 2 * encodings @ encodings.T).clamp(min=0)


def mine(kind: str, apart: torch.Tensor, people: torch.Tensor, generator: torch.Generator):
    """Anchors, positives and negatives, as places in the batch; `apart` are its distances, `people` B numbers.

    - random: each pair of one person, with any picture of anybody else;
    - semi-hard (FaceNet): each pair, with the nearest negative that is further away than the positive, or the furthest
      of all where none is: hard enough to teach, and not so hard that all encodings collapse into one;
    - batch-hard (Hermans, Beyer & Leibe 2017, "In defense of the triplet loss for person re-identification"): each
      picture with its furthest positive and its nearest negative.
    """
    apart = apart.detach()
    same = people[:, None] == people[None, :]
    positive = same & ~torch.eye(len(people), dtype=torch.bool, device=people.device)
    if kind == "batch-hard":
        anchors = (positive.any(1) & (~same).any(1)).nonzero()[:, 0]
        furthest = apart.masked_fill(~positive, -1).argmax(1)
        nearest = apart.masked_fill(same, 5).argmin(1)
        return anchors, furthest[anchors], nearest[anchors]
    anchors, positives = (positive & (~same).any(1)[:, None]).nonzero(as_tuple=True)
    others = ~same[anchors]
    if kind == "random":
        chances = torch.rand(others.shape, device=others.device, generator=generator)
        return anchors, positives, chances.masked_fill(~others, -1).argmax(1)
    if kind != "semi-hard":
        raise ValueError(f"mining is one of {KINDS}, not {kind!r}")
    away = apart[anchors]
    further = others & (away > apart[anchors, positives][:, None])
    nearest = away.masked_fill(~further, 5).argmin(1)
    furthest = away.masked_fill(~others, -1).argmax(1)
    return anchors, positives, torch.where(further.any(1), nearest, furthest)


def triplet_loss(apart: torch.Tensor, triplets, margin: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean loss of the triplets, and the share of them that are active; 0 where a batch has none."""
    anchors, positives, negatives = triplets
    losses = (apart[anchors, positives] - apart[anchors, negatives] + margin).clamp(min=0)
    count = max(1, len(losses))
    return losses.sum() / count, (losses > 0).sum() / count
