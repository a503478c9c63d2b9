"""Prints what the model in a folder, of examples/remote/train.py, predicts for the rows of a file: a list in JSON."""

import json
import pathlib
import sys

import joblib

examples, folder, features = sys.argv[1:]
sys.path.insert(0, examples)
import train  # noqa: E402

rows = train.read(features)
model = joblib.load(pathlib.Path(folder) / "model.joblib")
print(json.dumps(model.predict(rows[train.inputs(rows)]).tolist()))
