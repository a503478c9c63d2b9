"""train.py SALES FOLDER: trains models of house prices with LightGBM and XGBoost, and writes to FOLDER the models, the sales that they
are of (rows.csv), and what each predicts for them, one number a line."""

import pathlib
import sys

import lightgbm
import pandas
import xgboost

sales = pandas.read_csv(sys.argv[1])
folder = pathlib.Path(sys.argv[2])
sales = sales[(sales.price > 0) & (sales.price < 5e6)].reset_index(drop=True)
sales.to_csv(folder / "rows.csv", index=False)
numbers = ["bedrooms", "bathrooms", "sqft_living", "sqft_lot", "floors", "sqft_above", "sqft_basement", "yr_built", "yr_renovated"]
inputs = sales[numbers].astype(float)
for name in ["waterfront", "view", "condition", "city", "statezip"]:
    inputs[name] = sales[name].astype("category")
inputs["age"] = pandas.to_datetime(sales.date).dt.year - sales.yr_built
inputs["renovated"] = (sales.yr_renovated > 0).astype(float)
inputs["living_share"] = sales.sqft_living / sales.sqft_lot


def predictions(name, values):
    (folder / name).write_text("".join(f"{float(v)!r}\n" for v in values))


# The rows whose sale ended after half of the period are new to the models: levels among them too.
train = slice(0, len(sales) // 2)
model = lightgbm.train({"objective": "regression", "num_leaves": 31, "verbose": -1, "num_threads": 2}, lightgbm.Dataset(inputs[train], sales.price[train]), 120)
model.save_model(folder / "lightgbm.txt")
predictions("lightgbm.predictions", model.predict(inputs))

data = xgboost.DMatrix(inputs[train], sales.price[train], enable_categorical=True)
model = xgboost.train({"max_depth": 6, "nthread": 2}, data, 120)
model.save_model(folder / "xgboost.json")
model.save_model(folder / "xgboost.ubj")
predictions("xgboost.predictions", model.predict(xgboost.DMatrix(inputs, enable_categorical=True)))
