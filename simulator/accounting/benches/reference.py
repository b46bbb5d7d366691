"""Answers speed.rs: for each line of JSON on stdin {"els": bool, "sigma", "rate", "group", "rounds", "delta"}, one line
`<seconds of CPU> <epsilon>` by dp_accounting's PLD accountant at its default interval.

Needs: pip install dp-accounting
"""
import json
import sys
import time

from scipy import stats
from dp_accounting import dp_event
from dp_accounting.pld import pld_privacy_accountant

for line in sys.stdin:
    case = json.loads(line)
    start = time.process_time()
    if case["els"]:
        counts = range(case["group"] + 1)
        event = dp_event.MixtureOfGaussiansDpEvent(
            case["sigma"], list(counts), list(stats.binom.pmf(counts, case["group"], case["rate"])))
    else:
        event = dp_event.PoissonSampledDpEvent(case["rate"], dp_event.GaussianDpEvent(case["sigma"]))
    accountant = pld_privacy_accountant.PLDAccountant()
    accountant.compose(event, case["rounds"])
    epsilon = accountant.get_epsilon(case["delta"])
    print(time.process_time() - start, epsilon, flush=True)
