"""The profile that a person makes with pandas: the whole file in memory, describe, nunique and value_counts of its columns."""
import sys

import pandas as pd

frame = pd.read_csv(sys.argv[1])
numbers = frame.select_dtypes("number")
print(numbers.describe())
print(frame.isna().sum())
print(frame.nunique())
for name in frame.columns.difference(numbers.columns):
    print(frame[name].value_counts().head(10))
print("rows", len(frame))
