"""H(label | code) where each code has few samples: what they tell without a prior, and the rest by all codes together.

The entropy of a share p is a series, -p ln p = p sum_j (1 - p)^j / j. Its first N - 1 terms have an unbiased estimate
from N samples, and those after them have none (Zhang 2012, Neural Computation 24, 1368; in closed form Schürmann 2015,
Neural Computation 27, 2097). That tail is what estimators of entropy differ in. Here a prior is learned from all codes
(`_learned`), and the tail is estimated by the polynomial of the count whose error, added up over the table, has the
least mean square under that prior (`_rules`): errors of chance cancel between codes and a bias does not, so that the
larger the table, the closer to unbiased. A prior that is wrong can harm the tail alone, which vanishes with more
samples.

A posterior mean, code by code, is the best for each code and not for their sum: it leans on the prior in all of them
alike.
"""

from math import comb, factorial, log
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from numpy.polynomial.legendre import leggauss
from torch import Tensor, nn

Joint = Float[Tensor, "... codes classes"]

CONCENTRATIONS = torch.logspace(-1.7, 4.3, 13, dtype=torch.float64)
"""Of the Dirichlet priors: 0.02 (each code holds one class) to 20,000 (each holds all classes in their shares)."""
DOMINANCES = torch.linspace(0.1, 0.9, 7, dtype=torch.float64)
"""Of the priors with one dominant class: the share of a code that is that class's alone."""
DOMINANT = 0.05
"""Of all priors' weight, at the start of learning, those with a dominant class: what few samples can't tell, stays."""
ROUNDS = 60
"""Of expectation-maximisation; with ten samples a code, forty give the same bias to a thousandth of a bit."""
DEGREE = 6
"""Of the polynomial that estimates the tail, at most: higher ones vary so much that they get next to no weight."""
PLAIN, GAUSS = 256, leggauss(6)
"""Of the series' sums, the terms added one by one, and an integral's points and weights that stand for others."""
RIDGE = 1e-10
"""Added to the equations' unit diagonal, where powers of shares can't be told apart."""
STEEPEST = 600.0
"""Of a class's evidence for being dominant, in nats: e^600 is near the largest number."""
CELLS = 2**20
"""Numbers held at once, about: 8 MB of each of a dozen."""


def conditional_entropy(joint: Joint) -> Float[Tensor, "..."]:
    """H(column | row) in bits: what is left of a label (column) once the code (row) is known; about 0 to H(column).

    Zhang's estimate of each row, and the expected tail of its series under priors learned from all rows: Dirichlet
    priors around the columns' shares, where concentration says how much rows differ, and priors with one dominant
    column. Where rows tell nothing it comes out around H(column), now above and now below; where each row holds one
    label it comes out as 0.

    Args:
        joint: (..., rows, columns), whole counts.
    """
    flat = joint.reshape(-1, *joint.shape[-2:])
    height = max(
        1, CELLS // ((len(CONCENTRATIONS) + len(DOMINANCES)) * max(int(flat[:1].count_nonzero()), flat.shape[1], 1))
    )
    return torch.cat([_left(some) for some in flat.split(height)]).reshape(joint.shape[:-2])


class _Counted(NamedTuple):
    """Tables, row by row; costs nothing for empty cells."""

    sizes: Float[Tensor, " sizes"]
    """The rows' sizes, each once."""
    level: Int[Tensor, "t rows"]
    """Which of them a row has."""
    shares: Float[Tensor, " shares"]
    """The columns' shares, each once."""
    columns: Float[Tensor, "t shares"]
    """How many columns of a table have each."""
    likelihood: Float[Tensor, "t rows priors"]
    """Of each prior, up to a factor for the row."""
    falling: Float[Tensor, "t rows powers"]
    """Sums over cells of n (n - 1) ... (n - k + 1), from k = 0."""
    spent: Float[Tensor, "t rows"]
    """Sums over cells of n psi(n)."""


def _left(tables: Float[Tensor, "t rows columns"]) -> Float[Tensor, " t"]:
    """H(column | row) of each table, in bits."""
    counted = _counted(tables)
    size = counted.sizes[counted.level]
    rule = _rules(counted, _learned(counted.likelihood, size))
    tail = (rule.flatten(0, 1)[_flat(counted)] * counted.falling).sum(2)
    series = size.clamp_min(1).digamma() * size - counted.spent
    return (series + size * tail).sum(1) / size.sum(1) / log(2)


def _flat(counted: _Counted) -> Int[Tensor, "t rows"]:
    """Where each row's rule stands when those of all tables and sizes are in one list."""
    first = torch.arange(len(counted.level), device=counted.level.device) * len(counted.sizes)
    return first[:, None] + counted.level


def _counted(tables: Float[Tensor, "t rows columns"]) -> _Counted:
    size, (table, row, column) = tables.sum(2), tables.nonzero(as_tuple=True)
    share = tables.sum(1) / size.sum(1, keepdim=True)
    shares, which = share.where(share > 0, 1.0).unique(return_inverse=True)  # an empty column counts nowhere
    columns = torch.zeros(len(tables), len(shares), dtype=torch.float64, device=tables.device)
    columns.scatter_add_(1, which, (share > 0).double())
    # cells alike in count and share are evaluated once: most hold few samples
    counts = tables[table, row, column].long()
    height = int(counts.max()) + 1
    kinds, kind = (which[table, column] * height + counts).unique(return_inverse=True)
    n, own = (kinds % height).double()[:, None], shares[kinds // height][:, None]
    below = torch.arange(DEGREE, device=n.device)
    falling, spent = (n - below).clamp_min(0).cumprod(1), n * n.digamma()
    found = torch.cat([_evidence(n, own), falling, spent], 1)
    # a row's cells stand together, one bag of kinds
    in_use = torch.bincount(table * tables.shape[1] + row, minlength=size.numel())
    first = nn.functional.pad(in_use.cumsum(0)[:-1], (1, 0))
    gathered = nn.functional.embedding_bag(kind, found, first, mode="sum").reshape(*size.shape, -1)
    evidence, falling, spent = gathered.split([gathered.shape[2] - DEGREE - 1, DEGREE, 1], 2)
    sizes, level = size.unique(return_inverse=True)
    cells = columns.sum(1)[:, None, None].expand(*size.shape, 1)
    falling = torch.cat([cells, falling], 2)
    return _Counted(sizes, level, shares, columns, _likelihood(evidence, sizes, level), falling, spent[..., 0])


def _evidence(n: Float[Tensor, "kinds 1"], share: Float[Tensor, "kinds 1"]) -> Float[Tensor, "kinds evidence"]:
    """What cells of a count and a share say of each prior: what adds up over the cells of a row."""
    prior = share * CONCENTRATIONS.to(n)
    dominances = DOMINANCES.to(n)
    steep = n * (dominances / ((1 - dominances) * share)).log1p()
    return torch.cat(
        [(prior + n).lgamma() - prior.lgamma(), share * steep.clamp_max(STEEPEST).expm1(), n * share.log()], 1
    )


def _likelihood(
    evidence: Float[Tensor, "t rows evidence"], sizes: Float[Tensor, " sizes"], level: Int[Tensor, "t rows"]
) -> Float[Tensor, "t rows priors"]:
    """Of each prior in each row, the largest 1.

    A Dirichlet prior's is Dirichlet-multinomial. With a class k dominant by w, shares are w e_k + (1 - w) m; each class
    is dominant with the probability of its share m_k, and the sum over classes is that over those seen: without
    samples of its own, a class changes nothing by being dominant.
    """
    b, dominances = CONCENTRATIONS.to(sizes), DOMINANCES.to(sizes)
    around, dominant, plain = evidence.split([len(b), len(dominances), 1], 2)
    around = around + (b.lgamma() - (sizes[:, None] + b).lgamma())[level]
    dominant = dominant.log1p() + plain + (sizes[:, None] * (-dominances).log1p())[level]
    both = torch.cat([around, dominant], 2)
    return (both - both.amax(2, keepdim=True)).exp()


def _learned(likelihood: Float[Tensor, "t rows priors"], size: Float[Tensor, "t rows"]) -> Float[Tensor, "t priors"]:
    """How the priors are distributed over the rows in use, by maximum likelihood (expectation-maximisation)."""
    used = (size > 0).double()[:, None]
    share = used / used.sum(2, keepdim=True)  # (t, 1, rows): products with row vectors are the faster, by far
    across, counts = likelihood.mT.contiguous(), (len(CONCENTRATIONS), len(DOMINANCES))
    starts = ((1 - DOMINANT) / counts[0], DOMINANT / counts[1])
    start = [torch.full((len(size), 1, count), one).to(likelihood) for count, one in zip(counts, starts, strict=True)]
    weight = torch.cat(start, 2)
    for _ in range(ROUNDS):
        weight = weight * ((share / (weight @ across)) @ likelihood)
    return weight[:, 0]


def _rules(counted: _Counted, weight: Float[Tensor, "t priors"]) -> Float[Tensor, "t sizes powers"]:
    """What the falling powers of a cell's count are multiplied by, to estimate the tail of its series in nats.

    With q_k = n (n - 1) ... / (N (N - 1) ...), whose mean is p^k, the rule q c has the error c E[q] - tail at a share
    p, and a variance. Over M cells the square of the error's sum is at most M^2 E[(c E[q] - tail)^2] + M E[var(q c)];
    it is least where ((M - 1) A + V) c = M r, with A = E[p^(k + l)], V = E[q_k q_l] and r = E[p^k tail], over the prior
    of all cells. A row of N samples has powers up to N.
    """
    moments, tails = _moments(counted, weight)
    cells = (counted.falling[:, :, 0] * (counted.sizes > 0)[counted.level]).sum(1)
    powers = torch.arange(DEGREE + 1, device=weight.device)
    twice = torch.arange(2 * DEGREE, device=weight.device)
    falling = (counted.sizes[:, None] - twice).clamp_min(0).cumprod(1)
    falling = torch.cat([torch.ones_like(falling[:, :1]), falling], 1)
    scale, there = falling[:, : DEGREE + 1].clamp_min(1), powers <= counted.sizes[:, None]
    products = (PRODUCTS.to(falling) * falling[:, None, None]) / (scale[:, :, None] * scale[:, None])[..., None]
    both = (there[:, :, None] & there[:, None]).double()
    second = (moments @ products.flatten(0, 2).mT).reshape(len(weight), *products.shape[:3])
    first = moments[:, powers[:, None] + powers]
    left = ((cells[:, None, None] - 1) * first)[:, None] * both + second * both
    unit = torch.where(there, left.diagonal(dim1=2, dim2=3), 1.0).rsqrt()
    ridge = torch.diag_embed(torch.where(there, RIDGE, 1.0))
    left = left * unit[..., None] * unit[:, :, None] + ridge
    right = (cells[:, None, None] * tails * there * unit)[..., None]
    return torch.linalg.solve(left, right)[..., 0] * unit / scale


def _products(degree: int) -> Float[Tensor, "powers powers sums"]:
    """Falling powers k and l of n multiplied, as falling powers: sum_i C(k, i) C(l, i) i! of k + l - i."""
    found = torch.zeros(degree + 1, degree + 1, 2 * degree + 1, dtype=torch.float64)
    for k in range(degree + 1):
        for power in range(degree + 1):
            for i in range(min(k, power) + 1):
                found[k, power, k + power - i] = comb(k, i) * comb(power, i) * factorial(i)
    return found


PRODUCTS = _products(DEGREE)


def _moments(
    counted: _Counted, weight: Float[Tensor, "t priors"]
) -> tuple[Float[Tensor, "t sums"], Float[Tensor, "t sizes powers"]]:
    """E[p^k] up to twice the degree, and E[p^k tail] for each size, over the prior of all cells of each table."""
    share = counted.shares[:, None]
    b, dominances = CONCENTRATIONS.to(share), DOMINANCES.to(share)
    prior, low = share * b, share * (1 - dominances)
    high, powers = low + dominances, torch.arange(2 * DEGREE + 1, device=share.device)[:, None, None].double()
    rising = ((prior + powers[:-1]) / (b + powers[:-1])).cumprod(0)
    rising = torch.cat([torch.ones_like(rising[:1]), rising])
    dominant = share * high**powers + (1 - share) * low**powers
    moments = _over_cells(torch.cat([rising, dominant], 2), counted, weight)
    first = powers[1 : DEGREE + 2]
    around = rising[1 : DEGREE + 2] * ((b + first).digamma() - (prior + first).digamma())
    dominant = -share * high**first * high.log() - (1 - share) * low**first * low.log()
    whole = _over_cells(torch.cat([around, dominant], 2), counted, weight)
    return moments, whole[:, None] - _started(counted, weight)


def _started(counted: _Counted, weight: Float[Tensor, "t priors"]) -> Float[Tensor, "t sizes powers"]:
    """E[p^k p sum_{j < N} (1 - p)^j / j] for each size N, k = 0 to the degree."""
    points, weights, ends = _points(counted.sizes)
    share = counted.shares[:, None]
    b, dominances = CONCENTRATIONS.to(share), DOMINANCES.to(share)
    prior, low = share * b, share * (1 - dominances)
    rest, high = b - prior, low + dominances
    found = []
    for at in points.split(max(1, CELLS // (weight.shape[1] * len(share)))):
        x = at[:, None, None]
        # E[(1 - p)^x] of a Beta distribution; a column that is all there is leaves nothing
        left = (rest + x).lgamma() - rest.lgamma() + b.lgamma() - (b + x).lgamma()
        around = left.exp().where(rest > 0, 0.0)
        of_high, of_low = share * (1 - high) ** x, (1 - share) * (1 - low) ** x
        terms = []
        for k in range(DEGREE + 1):
            around = around * (prior + k) / (b + k + x)
            of_high, of_low = of_high * high, of_low * low
            terms.append(_over_cells(torch.cat([around, of_high + of_low], 2), counted, weight))
        found.append(torch.stack(terms, 2))
    sums = (torch.cat(found, 1) * weights[:, None]).cumsum(1)
    return nn.functional.pad(sums, (0, 0, 1, 0))[:, ends]


def _points(
    sizes: Float[Tensor, " sizes"],
) -> tuple[Float[Tensor, " points"], Float[Tensor, " points"], Int[Tensor, " sizes"]]:
    """Where a sum over j < N of f(j) / j is read, with what weights, and how many of the points belong to each size.

    Each j up to `PLAIN`; beyond, where f(j) / j changes by less than one part in 10^4 from one j to the next, the
    integral from the middle before the first j to that after the last one, by Gauss and Legendre in log j.
    """
    longest = float(sizes[-1])
    plain = torch.arange(1, min(longest, PLAIN + 1), dtype=torch.float64, device=sizes.device)
    octaves = PLAIN * 2.0 ** torch.arange(1, 60)
    borders = torch.cat([sizes.new_tensor([PLAIN + 1.0]), octaves[octaves < longest].to(sizes), sizes[sizes > PLAIN]])
    borders = (borders.unique() - 0.5).log()
    nodes, shares = (torch.tensor(part, dtype=torch.float64, device=sizes.device) for part in GAUSS)
    half = borders.diff()[:, None] / 2
    middle = (borders[1:] + borders[:-1])[:, None] / 2
    points = torch.cat([plain, (middle + half * nodes).exp().flatten()])
    weights = torch.cat([1 / plain, (half * shares).flatten()])
    behind = torch.searchsorted(borders, (sizes - 0.5).clamp_min(PLAIN + 0.5).log() + 1e-9) - 1
    ends = torch.where(sizes <= PLAIN, (sizes.long() - 1).clamp_min(0), len(plain) + len(nodes) * behind)
    return points, weights, ends


def _over_cells(
    values: Float[Tensor, "k shares priors"], counted: _Counted, weight: Float[Tensor, "t priors"]
) -> Float[Tensor, "t k"]:
    """The mean of something over the columns of each table and its priors."""
    mean = counted.columns / counted.columns.sum(1, keepdim=True)
    by_prior = (mean @ values.transpose(0, 1).flatten(1)).reshape(len(mean), len(values), weight.shape[1])
    return (by_prior @ weight[..., None])[..., 0]
