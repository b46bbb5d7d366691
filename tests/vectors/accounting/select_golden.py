"""Selects, from a full file of accounting goldens, the records that siskin-accounting is tested against.

Run: python3 select_golden.py <dp_golden.json> > dp_accounting.json
"""
import json
import sys

# Correlated noise has its own vectors.
ELSEWHERE = {"blt", "banded_toeplitz"}
# Timings are of a machine; independent values at the same grid repeat eps_ref.
DROPPED = {"wall_pld_s", "wall_rdp_s", "wall_indep_s", "wall_indep_di1e-5_s", "wall_search_s", "eps_indep", "note",
           "eps_indep_tilted_fft", "eps_pld"}

full = json.load(open(sys.argv[1]))
meta = {key: full["meta"][key] for key in ("generated", "dp_accounting", "value_discretization_interval", "conventions")}
rows = [json.dumps({k: v for k, v in r.items() if k not in DROPPED}) for r in full["records"]
        if r["mechanism"] not in ELSEWHERE]
print('{"meta": ' + json.dumps(meta) + ',\n"records": [\n ' + ",\n ".join(rows) + "\n]}")
