"""Selects, from a full file of accounting goldens, the records that siskin-accounting is tested against.

Run: python3 select_golden.py <dp_golden.json> > dp_accounting.json
"""
import json
import sys

MECHANISMS = {"gaussian", "poisson_gaussian", "poisson_gaussian_inverse", "gaussian_analytic",
              "gaussian_analytic_inverse", "zcdp", "tree_aggregation", "tree_aggregation_no_restart", "composed"}
FIELDS = {"id", "mechanism", "sigma", "sampling_prob", "steps", "delta", "adjacency", "eps_ref", "eps_rdp", "rdp_order",
          "eps_exact", "sigma_exact", "epsilon", "delta_pld", "delta_ref_tilted", "target_epsilon", "rho", "eps_pld_if_gaussian", "noise_multiplier",
          "steps_per_tree", "trees", "depth", "sens2_lower", "eps_rdp_recomputed_sens2_79",
          "eps_exact_gaussian_sens2_79", "description", "source"}

full = json.load(open(sys.argv[1]))
meta = {key: full["meta"][key] for key in ("generated", "dp_accounting", "value_discretization_interval", "conventions")}
rows = [json.dumps({k: v for k, v in r.items() if k in FIELDS}) for r in full["records"]
        if r["mechanism"] in MECHANISMS and r["id"] != "tree-sens-01"]
print('{"meta": ' + json.dumps(meta) + ',\n"records": [\n ' + ",\n ".join(rows) + "\n]}")
