"""What the detector is taught of each cell. Shapes: N pictures, C cells, M labels a picture (zeros where there are fewer)."""

import torch
import torch.nn.functional as F

from detector_nets import decode, grid

BY_ITSELF = 0.3  # a teacher's score from which a cell answers for a face
BACKGROUND = 3.0  # what a cell beside all faces counts: a false face is worse than a late one, as there's another frame
MATCHED = 0.4  # intersection over union of the teacher's box and the label's


def fed_loss(ours, features, gains, said, taught, size) -> dict:
    """Imitation part by part, as a share of the teacher's variance; and cell by cell, on the same picture."""
    errors = []
    for mine, theirs, gain in zip(ours, features, gains):
        off = (mine - theirs.to(mine.dtype)) * gain.to(mine.dtype)
        errors.append(torch.linalg.vector_norm(off, dtype=torch.float32) ** 2 / off.numel())
    score = taught[..., :2].sigmoid().prod(-1).sqrt()
    sure = score * (score > BY_ITSELF)
    total = sure.sum().clamp(min=1)
    # Away from faces YuNet's cls was never taught and says anything.
    meant = torch.stack([(taught[..., 1] > -4).float(), torch.ones_like(score)], -1)
    cells = F.binary_cross_entropy_with_logits(said[..., :2], taught[..., :2].sigmoid(), weight=meant, reduction="sum") / total
    geometry = (F.smooth_l1_loss(said[..., 2:], taught[..., 2:], beta=0.1, reduction="none").mean(-1) * sure).sum() / total
    return {"hints": torch.stack(errors).sum(), "cells": cells, "geometry": geometry}


def alone_loss(said, taught, labels, size) -> dict:
    """`said`: N x C x 16, the student's; `taught`: the teacher's; `labels`: boxes N x M x 4, points N x M x 10, doubtful
    regions N x M x 4, in pixels; `size`: height and width."""
    where = grid(*size, device=said.device)
    wanted = targets(taught, labels, where)
    total = wanted["weight"].sum().clamp(min=1)
    cls = _focal(said[..., 0], wanted["cls"]) * wanted["counts"]
    obj = _focal(said[..., 1], wanted["obj"]) * wanted["counts"]
    answering = wanted["weight"] > 0
    weight = wanted["weight"][answering]
    boxes, points = decode(said[answering], where.expand(*said.shape[:2], 3)[answering])
    true_boxes, true_points = wanted["boxes"][answering], wanted["points"][answering]
    sides = (true_boxes[:, 2:] - true_boxes[:, :2]).clamp(min=1)
    far = (points - true_points) / sides.prod(-1, keepdim=True).sqrt()
    kps = F.smooth_l1_loss(far, torch.zeros_like(far), beta=0.02, reduction="none").mean(-1)
    return {
        "cls": cls.sum() / total,
        "obj": obj.sum() / total,
        "bbox": 2 * (_distant(boxes, true_boxes) * weight).sum() / total,
        "kps": 8 * (kps * weight).sum() / total,
    }


def targets(taught, labels, where) -> dict:
    """What each cell should say: cls, obj (N x C), boxes (N x C x 4), points (N x C x 10); `weight`, by how much its box
    and points are taught; `counts`, by how much its cls and obj are."""
    boxes, points, doubtful = labels
    score = taught[..., :2].sigmoid()
    theirs, _ = decode(taught, where)
    shared = iou(theirs[:, :, None], boxes[:, None])  # N x C x M
    best, which = shared.max(-1)
    answering = (score.prod(-1).sqrt() > BY_ITSELF) & (best > MATCHED)
    middle = (where[:, :2] + 0.5) * where[:, 2:]
    extra, whose = _missed(boxes, which, answering, where, middle)
    which = torch.where(extra, whose, which)
    inside_label = _inside(middle, boxes).any(-1)
    inside_doubt = _inside(middle, doubtful).any(-1)
    # Beside its faces a picture has none, whatever the teacher says; in a face it's the teacher who knows the rim.
    rim = score[..., 1:].expand_as(score)  # cls, too, is to fall off as obj does: YuNet's own was taught in faces only
    known = torch.where(inside_label[..., None], rim, torch.zeros_like(score))
    known = torch.where(answering[..., None], score, known)
    known = torch.where(extra[..., None], torch.full_like(score, 0.9), known)
    take = lambda values: values.gather(1, which[..., None].expand(-1, -1, values.shape[-1]))  # noqa: E731
    weight = torch.where(answering, score.prod(-1).sqrt(), torch.zeros_like(best)) + 0.9 * extra
    counts = (~inside_doubt | answering | extra).float()
    counts = torch.where(inside_label | answering | extra, counts, counts * BACKGROUND)
    return {
        "cls": known[..., 0],
        "obj": known[..., 1],
        "boxes": take(boxes),
        "points": take(points),
        "weight": weight,
        "counts": counts,
    }


def _missed(boxes, which, answering, where, middle) -> tuple[torch.Tensor, torch.Tensor]:
    """Cells (N x C) for the labels that no cell of the teacher's answers for, and the label of each.

    Level and number are as YuNet has them (counted on composed pictures): faces below 90 pixels have six to nine cells of
    8 pixels, larger ones nine of 32, and hardly any has cells of 16.
    """
    real = (boxes[..., 2:] - boxes[..., :2]).amin(-1) > 0
    side = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1).sqrt()  # N x M
    index = torch.arange(boxes.shape[1], device=boxes.device)
    seen = ((which[..., None] == index) & answering[..., None]).any(1)  # N x M
    stride = torch.where(side < 90, 8.0, 32.0)
    centre = (boxes[..., :2] + boxes[..., 2:]) / 2
    far = (middle[None, :, None] - centre[:, None]).abs().amax(-1)  # N x C x M
    reach = torch.maximum(torch.minimum(side / 2, 1.5 * stride), 0.55 * stride)
    chosen = (far < reach[:, None]) & (where[:, 2][None, :, None] == stride[:, None]) & (real & ~seen)[:, None]
    nearest = torch.where(chosen, far, torch.full_like(far, 1e9)).argmin(-1)
    return chosen.any(-1) & ~answering, nearest


def _inside(middle, boxes) -> torch.Tensor:
    """N x C x M: whether a cell's middle lies in a box."""
    x, y = middle[None, :, None, 0], middle[None, :, None, 1]
    left, top, right, bottom = (boxes[:, None, :, i] for i in range(4))
    return (x >= left) & (x < right) & (y >= top) & (y < bottom)


def iou(a, b) -> torch.Tensor:
    sides = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0)
    shared = sides.prod(-1)
    areas = [(box[..., 2:] - box[..., :2]).prod(-1) for box in (a, b)]
    return shared / (areas[0] + areas[1] - shared).clamp(min=1e-6)


def _focal(logit, target) -> torch.Tensor:
    """Cross-entropy, less of it where the answer is nearly right (Li et al. 2020, "Generalized focal loss": quality)."""
    return F.binary_cross_entropy_with_logits(logit, target, reduction="none") * (logit.sigmoid() - target).abs().clamp(min=0.02)


def _distant(boxes, true) -> torch.Tensor:
    """DIoU (Zheng et al. 2020): one minus the intersection over union, plus how far apart the middles are."""
    outer = torch.maximum(boxes[:, 2:], true[:, 2:]) - torch.minimum(boxes[:, :2], true[:, :2])
    apart = (boxes[:, :2] + boxes[:, 2:] - true[:, :2] - true[:, 2:]) / 2
    return 1 - iou(boxes, true) + apart.square().sum(-1) / outer.square().sum(-1).clamp(min=1e-6)
