"""The profile that whylogs makes: chunk by chunk, into one view."""
import sys

import pandas as pd
import whylogs as why

view = None
for chunk in pd.read_csv(sys.argv[1], chunksize=100_000):
    part = why.log(pandas=chunk).view()
    view = part if view is None else view.merge(part)
table = view.to_pandas()
print(table[["counts/n", "counts/null", "cardinality/est", "distribution/mean", "distribution/stddev", "distribution/min", "distribution/max", "distribution/median"]])
print("rows", int(table["counts/n"].max()))
