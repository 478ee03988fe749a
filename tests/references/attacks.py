"""Attacks written from the papers' algorithms, one sample at a time.

`loss_and_slope` takes one input and gives the loss, its gradient, and whether the network is fooled there.
"""

from math import ceil

import torch


def project(place, centre, size, norm, low, high):
    """Into the bounds, then along the line to the centre into the ball."""
    change = place.clamp(low, high) - centre
    if norm == "linf":
        change = change.clamp(-size, size)
    elif change.norm() > size:
        change = change * size / change.norm()
    return centre + change


def steepest(slope, norm):
    return slope.sign() if norm == "linf" else slope / slope.norm()


def pgd(loss_and_slope, centre, start, size, norm, low, high, steps):
    """Every place of projected gradient ascent with strides of 2.5 sizes / steps (Madry et al. 2018)."""
    places = [project(start, centre, size, norm, low, high)]
    for _ in range(steps):
        _, slope, _ = loss_and_slope(places[-1])
        moved = places[-1] + 2.5 * size / steps * steepest(slope, norm)
        places.append(project(moved, centre, size, norm, low, high))
    return places


def auto_pgd(loss_and_slope, centre, start, size, norm, low, high, steps):
    """Every place of Auto-PGD, its losses, and its strides (Croce & Hein 2020, algorithm 1, and section 3.2).

    Checkpoint w_j is looked at when x^(w_j) is known. The last line of `places` is where the loss was largest.
    """
    shares = [0.0, 0.22]
    while round(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06), 9) <= 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    checkpoints = [ceil(round(share * steps, 9)) for share in shares]

    def stepped(place, slope, stride):
        return project(place + stride * steepest(slope, norm), centre, size, norm, low, high)

    stride, x = 2 * size, [start]
    f, slopes = ([value] for value in loss_and_slope(start)[:2])
    x_max, f_max, slope_max = x[0], f[0], slopes[0]
    strides, then = [stride], (stride, f_max)  # at the last checkpoint
    climbs = []  # of the steps, whether they raised the loss
    halved = True  # before the first checkpoint there is no stride to compare with
    trail = [start]
    for k in range(steps):
        if k in checkpoints and k > 0:
            before = checkpoints[checkpoints.index(k) - 1]
            first = sum(climbs[before:k]) < 0.75 * (k - before)
            second = not halved and then[1] == f_max
            halved = first or second
            if halved:
                stride /= 2
                x[-1], f[-1], slopes[-1] = x_max, f_max, slope_max
            then = (stride, f_max)
        z = stepped(x[-1], slopes[-1], stride)
        if k == 0:
            new = z
        else:
            new = project(x[-1] + 0.75 * (z - x[-1]) + 0.25 * (x[-1] - x[-2]), centre, size, norm, low, high)
        loss, slope, _ = loss_and_slope(new)
        climbs.append(bool(loss > f[-1]))
        x.append(new)
        f.append(loss)
        slopes.append(slope)
        trail.append(new)
        strides.append(stride)
        if loss > f_max:
            x_max, f_max, slope_max = new, loss, slope
    return trail, strides, x_max, f_max


def cross_entropy(logits, label):
    return logits.logsumexp(0) - logits[label]


def ratio(logits, label):
    """Difference of logits ratio (Croce & Hein 2020, eq. 6)."""
    ordered = sorted(logits, reverse=True)
    other = max(logit for k, logit in enumerate(logits) if k != label)
    return -(logits[label] - other) / (ordered[0] - ordered[2])


def seen_at(network, label, loss):
    """`loss_and_slope` of one sample."""

    def look(place):
        place = place.detach().requires_grad_(True)
        logits = network(place[None])[0]
        value = loss(logits, label)
        (slope,) = torch.autograd.grad(value, place)
        return value.detach(), slope, int(logits.argmax()) != label

    return look
