"""Makes golden/: models that LightGBM trained on made-up data, and what it predicts for rows of every kind.

    python -m venv V; V/bin/pip install lightgbm==4.6.0 numpy pandas; V/bin/python make.py
    python -m venv W; W/bin/pip install lightgbm==3.3.5 'numpy<2' 'pandas<2' scipy; W/bin/python make.py old

NAME.txt is the model, NAME.json the rows: null is missing, numbers are as repr writes them, "inf" and "-inf" are infinite. sums are LightGBM's
raw scores, predictions those after the link.
"""

import json
import pathlib
import sys

import lightgbm as lgb
import numpy as np
import pandas as pd

OUT = pathlib.Path(__file__).parent / "golden"
rng = np.random.default_rng(20261129)
ODD = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e300, -1e300, 5e-324, 1e-35, -1e-35, 1.0000000180025095e-35, 1.1e-35, -1.1e-35, 1.0, 2.5]


def frame(n, levels=12):
    f = pd.DataFrame(
        {
            "size": rng.normal(100, 40, n),
            "rooms": rng.integers(0, 7, n).astype(float),
            "age": np.where(rng.random(n) < 0.3, 0.0, rng.exponential(30, n)),
            "near zero": rng.choice([0.0, 1e-36, -1e-36, 1e-3, -1e-3, 1.0, -1.0], n),
        }
    )
    for c in ("size", "age"):
        f.loc[rng.random(n) < 0.15, c] = np.nan
    f["city"] = rng.choice([f"city {i}" for i in range(levels)], n)
    f.loc[rng.random(n) < 0.1, "city"] = None
    f["view"] = rng.integers(0, 5, n)
    return f


def label(f):
    effect = f["city"].map({f"city {i}": (i * 7) % 11 for i in range(100)}).fillna(3)
    y = 0.02 * f["size"].fillna(60) + 0.5 * f["rooms"] - 0.01 * f["age"].fillna(100) + f["near zero"] + 0.3 * effect + (f["view"] % 3)
    return (y + rng.normal(0, 0.2, len(f))).to_numpy()


def odd(f):
    """Rows of every kind: missing values in all columns, infinities, numbers about zero, levels that no training has seen."""
    f = f.copy()
    for c in ("size", "rooms", "age", "near zero"):
        hit = rng.random(len(f)) < 0.4
        f.loc[hit, c] = rng.choice(ODD, hit.sum())
    f.loc[rng.random(len(f)) < 0.15, "city"] = "nowhere"
    f.loc[rng.random(len(f)) < 0.15, "city"] = None
    return f


def value(v):
    if v is None or v is pd.NA or isinstance(v, float) and np.isnan(v):
        return None
    if isinstance(v, str):
        return v
    v = float(v)
    return repr(v) if np.isinf(v) else v


def write(name, booster, test, model_rows, enums):
    columns = [{"name": c, "type": "enum" if c in enums else "numeric"} for c in test.columns]
    rows = []
    for record in test.to_dict("records"):
        rows.append([value(v) if c not in enums else None if value(v) is None else v if isinstance(v, str) else str(int(v)) for c, v in record.items()])
    out = {
        "made_by": f"lightgbm {lgb.__version__}",
        "columns": columns,
        "rows": rows,
        "sums": booster.predict(model_rows, raw_score=True).tolist(),
        "predictions": booster.predict(model_rows).tolist(),
    }
    booster.save_model(str(OUT / f"{name}.txt"))
    with open(OUT / f"{name}.json", "w") as file:
        head = {k: v for k, v in out.items() if k != "rows"}
        file.write(json.dumps(head)[:-1] + ',\n"rows": [\n' + ",\n".join(map(json.dumps, out["rows"])) + "\n]}\n")


BASE = {"num_leaves": 12, "min_data_in_leaf": 5, "verbose": -1, "num_threads": 1, "min_data_per_group": 5, "cat_smooth": 1, "max_cat_to_onehot": 2, "seed": 1}
NUMBERS = ["size", "rooms", "age", "near zero"]


def numbers(name, trees=8, **params):
    f = frame(400)
    y = label(f)
    if params["objective"] in ("binary", "cross_entropy"):
        y = (y > np.median(y)).astype(float)
    if params["objective"] in ("gamma", "poisson", "tweedie"):
        y = np.exp(0.2 * y)
    b = lgb.train({**BASE, **params}, lgb.Dataset(f[NUMBERS], y), trees)
    test = odd(frame(60))[NUMBERS]
    write(name, b, test, test, [])


def pandas(name, ordered=False, levels=12, categorical="auto", **params):
    f, test = frame(600, levels), odd(frame(60, levels))
    cities = [f"city {i}" for i in rng.permutation(levels)]
    plain = test.copy()
    for x in (f, test):
        x["city"] = pd.Categorical(x["city"].where(x["city"].isin(cities), None), categories=cities, ordered=ordered)
        x["view"] = pd.Categorical(x["view"], categories=[3, 0, 4, 1, 2])
    b = lgb.train({**BASE, "objective": "regression", **params}, lgb.Dataset(f, label_of(f)), 8)
    write(name, b, plain, test, ["city", "view"])


def label_of(f):
    g = f.copy()
    g["city"] = f["city"].astype(object)
    g["view"] = f["view"].astype(int)
    return label(g)


def codes(name):
    f, test = frame(600), frame(60)
    zips = rng.integers(301, 380, 600)
    f["city"] = zips
    test["city"] = np.where(rng.random(60) < 0.2, 297, rng.choice(zips, 60))
    y = 0.01 * f["size"].fillna(0) + (zips % 13) + f["view"]
    b = lgb.train({**BASE, "objective": "regression"}, lgb.Dataset(f.to_numpy(float), y, feature_name=[c.replace(" ", "_") for c in f.columns], categorical_feature=[4, 5]), 8)
    write(name, b, test, test.to_numpy(float), ["city", "view"])


def constant(name):
    f = frame(50)[NUMBERS]
    b = lgb.train({**BASE, "objective": "regression", "min_data_in_leaf": 100}, lgb.Dataset(f, np.full(50, 7.25)), 3)
    test = odd(frame(20))[NUMBERS]
    write(name, b, test, test, [])


def stopped(name):
    """Early stopping: the file has the best trees alone, as predict uses them."""
    f = frame(400)
    y = label(f)
    data = lgb.Dataset(f[NUMBERS][:300], y[:300])
    b = lgb.train({**BASE, "objective": "regression", "learning_rate": 0.6}, data, 60, valid_sets=[data.create_valid(f[NUMBERS][300:], y[300:])], callbacks=[lgb.early_stopping(3, verbose=False)])
    test = odd(frame(40))[NUMBERS]
    write(name, b, test, test, [])


if sys.argv[1:] == ["old"]:
    numbers("v3_numbers", objective="regression")
    numbers("v3_zero", objective="regression", zero_as_missing=True)
    pandas("v3_pandas")
else:
    OUT.mkdir(exist_ok=True)
    numbers("numbers", objective="regression")
    numbers("zero", objective="regression", zero_as_missing=True)
    numbers("none", objective="regression", use_missing=False)
    for o in ("regression_l1", "huber", "fair", "quantile", "mape", "poisson", "gamma", "tweedie", "binary", "cross_entropy"):
        numbers(o, objective=o)
    numbers("dart", objective="regression", boosting="dart", drop_rate=0.5)
    numbers("goss", objective="regression", data_sample_strategy="goss")
    numbers("monotone", objective="regression", monotone_constraints=[1, 1, 0, 0])
    numbers("deep", objective="regression", num_leaves=150, min_data_in_leaf=1, trees=3)
    pandas("pandas")
    pandas("pandas_many", levels=90)
    pandas("pandas_ordered", ordered=True)
    pandas("pandas_zero", zero_as_missing=True)
    pandas("pandas_none", ordered=True, use_missing=False)
    pandas("pandas_dart", boosting="dart")
    codes("codes")
    constant("constant")
    stopped("stopped")
