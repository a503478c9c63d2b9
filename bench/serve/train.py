"""train.py SALES FOLDER: trains the house model with LightGBM and writes to FOLDER the model, and rows.json: sales as each way of asking
for a prediction takes them, with what LightGBM predicts."""

import json
import pathlib
import sys

import lightgbm
import pandas

ROWS = 1024
sales = pandas.read_csv(sys.argv[1])
folder = pathlib.Path(sys.argv[2])
sales = sales[(sales.price > 0) & (sales.price < 5e6)].reset_index(drop=True)
numbers = ["bedrooms", "bathrooms", "sqft_living", "sqft_lot", "floors", "sqft_above", "sqft_basement", "yr_built", "yr_renovated"]
enums = ["waterfront", "view", "condition", "city", "statezip"]
inputs = sales[numbers].astype(float)
for name in enums:
    inputs[name] = sales[name].astype("category")
inputs["age"] = (pandas.to_datetime(sales.date).dt.year - sales.yr_built).astype(float)
inputs["renovated"] = (sales.yr_renovated > 0).astype(float)
inputs["living_share"] = sales.sqft_living / sales.sqft_lot

params = {"objective": "regression", "num_leaves": 31, "learning_rate": 0.1, "verbose": -1}
model = lightgbm.train(params, lightgbm.Dataset(inputs, sales.price), 120)
model.save_model(folder / "model.bst")

inputs, sales = inputs[:ROWS], sales[:ROWS]
matrix = inputs.copy()
for name in enums:
    matrix[name] = inputs[name].cat.codes.astype(float)
rows = []
for i, expected in enumerate(model.predict(inputs)):
    record = {"date": sales.date[i]} | {n: float(sales[n][i]) for n in numbers} | {n: str(sales[n][i]) for n in enums}
    rows.append(
        {
            "record": record | {"street": sales.street[i], "country": sales.country[i]},
            "inputs": {n: str(inputs[n][i]) if n in enums else float(inputs[n][i]) for n in inputs.columns},
            "matrix": matrix.iloc[i].tolist(),
            "expected": float(expected),
        }
    )
(folder / "rows.json").write_text(json.dumps(rows, allow_nan=False))
