"""Evidently's default tests of columns: REFERENCES WINDOWS COLUMN.. -> JSON, for each window the columns that drifted.

The tests are those that Evidently chooses itself, by the kind of the column and the rows of the reference, with their
default thresholds: what its preset for data drift does for each column.
"""
import json
import sys
import warnings

import pandas as pd
from evidently.legacy.calculations.stattests.registry import get_stattest
from evidently.legacy.core import ColumnType

warnings.simplefilter("ignore")
references, windows, columns = sys.argv[1], sys.argv[2], sys.argv[3:]
references = dict(tuple(pd.read_csv(references, keep_default_na=False).groupby("reference")))
found = []
for _, window in pd.read_csv(windows, keep_default_na=False).groupby("window"):
    reference = references[window["reference"].iloc[0]]
    drifted = []
    for c in columns:
        kind = ColumnType.Numerical if pd.api.types.is_numeric_dtype(reference[c]) else ColumnType.Categorical
        test = get_stattest(reference[c], window[c], kind, None)
        if test(reference[c], window[c], kind, None).drifted:
            drifted.append(c)
    found.append(drifted)
json.dump(found, sys.stdout)
