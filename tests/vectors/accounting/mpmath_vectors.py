"""Makes mpmath.json: Renyi divergences of the Poisson-subsampled Gaussian and epsilons of the Gaussian, to 40 digits;
and what the records of dp_accounting.json whose best order is fractional would be with the exact divergence.

Nothing is shared with the Rust code: the divergence is the defining integral, by quadrature, and not the series of
Mironov, Talwar, Zhang 2019; epsilon comes from bisection of Balle & Wang 2018, theorem 8.
Run: python3 mpmath_vectors.py > mpmath.json   (mpmath 1.3)
"""
import json
import os

from mpmath import erfc, exp, expm1, log, log1p, mp, mpf, quad, sqrt, pi

mp.dps = 40


def renyi(q, sigma, alpha):
    """D_alpha((1-q) N(0, s^2) + q N(1, s^2) || N(0, s^2)), as log1p of E[(1+u)^alpha - 1 - alpha u] >= 0."""
    q, s, a = mpf(q), mpf(sigma), mpf(alpha)

    def integrand(x):
        u = q * expm1((2 * x - 1) / (2 * s * s))
        return exp(-x * x / (2 * s * s)) / (s * sqrt(2 * pi)) * ((1 + u) ** a - 1 - a * u)

    ends = sorted({-30 * s, -12 * s, mpf(0), mpf(1), a, a - 6 * s, a + 6 * s, a / 2, a + 30 * s, 12 * s})
    cuts = sorted(set(ends) | {ends[0] + (ends[-1] - ends[0]) * k / 40 for k in range(41)})
    return log1p(quad(integrand, cuts)) / (a - 1)


def converted(record):
    """Canonne, Kamath, Steinke 2020, proposition 12, at the order that dp_accounting found best."""
    order, delta = mpf(str(record["rdp_order"])), mpf(str(record["delta"]))
    divergence = record["steps"] * renyi(str(record["sampling_prob"]), str(record["sigma"]), order)
    return divergence + log1p(-1 / order) - log(delta * order) / (order - 1)


def normal_cdf(x):
    return erfc(-x / sqrt(2)) / 2


def gaussian_epsilon(mu, delta):
    mu, delta = mpf(mu), mpf(delta)
    lo, hi = mpf(0), mu * mu / 2 + mu * sqrt(2 * log(1 / delta))
    value = lambda e: normal_cdf(mu / 2 - e / mu) - exp(e) * normal_cdf(-mu / 2 - e / mu)
    if value(lo) <= delta:
        return lo
    for _ in range(130):
        mid = (lo + hi) / 2
        lo, hi = (mid, hi) if value(mid) > delta else (lo, mid)
    return hi


def main():
    cases = [(q, s, a) for q in ("1e-4", "0.01", "0.3", "0.9") for s in ("0.5", "1.0", "5.0")
             for a in ("1.1", "2.0", "2.5", "9.7", "33.0")]
    cases += [("1e-6", "20.0", "3.3"), ("0.5", "0.2", "4.6"), ("0.999", "1.0", "6.4"), ("0.065", "1.0", "1.5")]
    out = {"renyi": [], "sampled": [], "gaussian": []}
    for q, s, a in cases:
        out["renyi"].append({"rate": float(q), "noise_multiplier": float(s), "order": float(a),
                             "renyi": float(renyi(q, s, a))})
    golden = os.path.join(os.path.dirname(os.path.abspath(__file__)), "dp_accounting.json")
    for record in json.load(open(golden))["records"]:
        if record["mechanism"] == "poisson_gaussian" and record.get("rdp_order", 1) % 1:
            out["sampled"].append({"id": record["id"], "order": record["rdp_order"],
                                   "epsilon": float(converted(record))})
    for mu in ("1e-5", "1e-3", "0.05", "0.4999", "0.5", "1", "3", "20", "1000"):
        for delta in ("1e-15", "1e-9", "1e-5", "0.1"):
            out["gaussian"].append({"mu": float(mu), "dp_delta": float(delta),
                                    "epsilon": float(gaussian_epsilon(mu, delta))})
    lines = ["{", ' "source": "mpmath_vectors.py, mpmath 1.3, 40 digits",']
    for name in out:
        rows = ",\n  ".join(json.dumps(row) for row in out[name])
        lines.append(f' "{name}": [\n  {rows}\n ]' + ("," if name != "gaussian" else ""))
    print("\n".join(lines + ["}"]))


main()
