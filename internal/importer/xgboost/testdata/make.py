"""Makes golden/: models that XGBoost trained on made-up data, and what it predicts for rows of every kind.

    python -m venv V; V/bin/pip install xgboost==3.2.0 numpy pandas; V/bin/python make.py
    python -m venv W; W/bin/pip install xgboost==1.7.6 'numpy<2' 'pandas<2'; W/bin/python make.py old

NAME.json or NAME.ubj is the model, NAME.rows.json the rows: null is missing, numbers are as repr writes them. sums are XGBoost's margins,
predictions those after the link; both are float32, written as the float64 that they are.
"""

import json
import pathlib
import sys

import numpy as np
import pandas as pd
import xgboost as xgb

OUT = pathlib.Path(__file__).parent / "golden"
rng = np.random.default_rng(20261129)
NUMBERS = ["size", "rooms", "age", "near zero"]
# 0.1 and its neighbours are not numbers of single precision: XGBoost rounds them.
ODD = [0.0, -0.0, np.nan, 1e30, -1e30, 1e-46, -1e-46, 1e-45, 1.0, 2.5, 0.1, 0.30000001192092893, 0.3]


def frame(n, levels=12):
    f = pd.DataFrame(
        {
            "size": rng.normal(100, 40, n),
            "rooms": rng.integers(0, 7, n).astype(float),
            "age": np.where(rng.random(n) < 0.3, 0.0, rng.exponential(30, n)),
            "near zero": rng.choice([0.0, 1e-36, -1e-36, 1e-3, -1e-3, 0.1, 0.3, -1.0], n),
        }
    )
    for c in ("size", "age"):
        f.loc[rng.random(n) < 0.15, c] = np.nan
    f["city"] = rng.choice([f"city {i}" for i in range(levels)], n)
    f.loc[rng.random(n) < 0.1, "city"] = None
    f["view"] = rng.integers(0, 5, n)
    return f


def label(f):
    effect = f["city"].astype(object).map({f"city {i}": (i * 7) % 11 for i in range(100)}).fillna(3).astype(float)
    y = 0.02 * f["size"].fillna(60) + 0.5 * f["rooms"] - 0.01 * f["age"].fillna(100) + f["near zero"] + 0.3 * effect + (f["view"].astype(int) % 3)
    return (y + rng.normal(0, 0.2, len(f))).to_numpy()


def odd(f, booster):
    """Rows of every kind: missing values, odd numbers, and the conditions of the model with their neighbours."""
    f = f.copy()
    conditions = booster.trees_to_dataframe()
    for c in NUMBERS:
        hit = rng.random(len(f)) < 0.3
        f.loc[hit, c] = rng.choice(ODD, hit.sum())
        own = pd.to_numeric(conditions[conditions.Feature == c].Split).dropna().to_numpy(np.float32)
        if len(own):
            hit = rng.random(len(f)) < 0.4
            at = rng.choice(own, hit.sum())
            near = np.nextafter(at, np.float32(-np.inf))
            middle = (at.astype(float) + near.astype(float)) / 2
            f.loc[hit, c] = np.choose(rng.integers(0, 5, hit.sum()), [at.astype(float), near.astype(float), middle, np.nextafter(middle, -np.inf), np.nextafter(middle, np.inf)])
    return f


def value(v):
    if v is None or isinstance(v, float) and np.isnan(v):
        return None
    return v if isinstance(v, str) else float(v)


def write(name, booster, plain, data, enums, form):
    rows = [[value(v) if c not in enums else None if value(v) is None else v if isinstance(v, str) else str(int(v)) for c, v in r.items()] for r in plain.to_dict("records")]
    booster.save_model(str(OUT / f"{name}.{form}"))
    head = {
        "made_by": f"xgboost {xgb.__version__}",
        "columns": [{"name": c, "type": "enum" if c in enums else "numeric"} for c in plain.columns],
        "sums": booster.predict(data, output_margin=True).astype(float).tolist(),
        "predictions": booster.predict(data).astype(float).tolist(),
    }
    with open(OUT / f"{name}.rows.json", "w") as file:
        file.write(json.dumps(head)[:-1] + ',\n"rows": [\n' + ",\n".join(map(json.dumps, rows)) + "\n]}\n")


def numbers(name, form="json", trees=12, **params):
    f = frame(400)
    y = label(f)
    if "logi" in params["objective"]:
        y = (y > np.median(y)).astype(float)
    elif params["objective"].split(":")[1] in ("poisson", "gamma", "tweedie", "cox", "squaredlogerror"):
        y = np.exp(0.2 * y)
    b = xgb.train({"max_depth": 4, "seed": 1, **params}, xgb.DMatrix(f[NUMBERS], y), trees)
    test = odd(frame(60), b)[NUMBERS]
    write(name, b, test, xgb.DMatrix(test), [], form)


def pandas(name, form="json", levels=12, **params):
    f = frame(600, levels)
    y = label(f)
    cities = [f"city {i}" for i in rng.permutation(levels)]

    def typed(x):
        x = x.copy()
        x["city"] = pd.Categorical(x["city"], categories=cities)
        x["view"] = pd.Categorical(x["view"], categories=[3, 0, 4, 1, 2])
        return x

    b = xgb.train({"max_depth": 4, "seed": 1, "tree_method": "hist", "objective": "reg:squarederror", **params}, xgb.DMatrix(typed(f), y, enable_categorical=True), 12)
    test = odd(frame(60, levels), b)
    write(name, b, test, xgb.DMatrix(typed(test), enable_categorical=True), ["city", "view"], form)


OUT.mkdir(exist_ok=True)
if sys.argv[1:] == ["old"]:
    numbers("v1_numbers", objective="reg:squarederror")
    numbers("v1_logistic", "ubj", objective="binary:logistic", base_score=0.3)
else:
    numbers("numbers", objective="reg:squarederror")
    numbers("numbers_ubj", "ubj", objective="reg:squarederror")
    for o in ("reg:absoluteerror", "reg:pseudohubererror", "reg:squaredlogerror", "binary:logistic", "binary:logitraw", "reg:logistic", "count:poisson", "reg:gamma", "reg:tweedie"):
        numbers(o.split(":")[1], objective=o)
    numbers("quantile", objective="reg:quantileerror", quantile_alpha=0.7)
    numbers("base", objective="reg:squarederror", base_score=123.456)
    numbers("forest", objective="reg:squarederror", num_parallel_tree=5, subsample=0.5, trees=2)
    numbers("pruned", objective="reg:squarederror", gamma=5.0, tree_method="exact")
    numbers("lossguide", objective="reg:squarederror", grow_policy="lossguide", max_leaves=20, max_depth=0)
    pandas("pandas")
    pandas("pandas_onehot", max_cat_to_onehot=100)
    pandas("pandas_many", "ubj", levels=90, max_cat_threshold=64)
