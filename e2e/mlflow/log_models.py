"""Logs models to an MLflow server, for millrace to import; or predicts rows with one of them.

usage: log_models.py URL SALES.csv BUNDLE
       log_models.py URL lightgbm|xgboost ROWS.csv
"""

import csv
import os
import shutil
import sys
import tempfile
import warnings

warnings.simplefilter("ignore")

import lightgbm
import mlflow
import numpy
import xgboost
from mlflow import MlflowClient
from mlflow.models import Model
from sklearn.linear_model import LinearRegression

INPUTS = ["bedrooms", "bathrooms", "sqft_living", "sqft_lot", "floors", "sqft_above", "sqft_basement", "yr_built", "yr_renovated"]

mlflow.set_tracking_uri(sys.argv[1])
client = MlflowClient()


def read(path):
    with open(path, newline="") as f:
        rows = [r for r in csv.DictReader(f)]
    x = numpy.array([[float(r[name]) for name in INPUTS] for r in rows])
    return x, numpy.array([float(r.get("price") or 0) for r in rows])


def predict(name, path):
    x, _ = read(path)
    if name == "lightgbm":
        y = mlflow.lightgbm.load_model("models:/lightgbm/1").predict(x)
    else:
        y = mlflow.xgboost.load_model("models:/xgboost/1").predict(xgboost.DMatrix(x, feature_names=INPUTS))
    for v in y:
        print(repr(float(v)))


def log(sales, bundle):
    x, y = read(sales)
    x, y = x[y > 0], y[y > 0]
    mlflow.set_experiment("houses")
    with mlflow.start_run() as run:
        booster = lightgbm.train(
            {"objective": "regression", "verbosity": -1, "num_leaves": 15, "seed": 1, "num_threads": 1},
            lightgbm.Dataset(x, y, feature_name=INPUTS),
            20,
        )
        mlflow.lightgbm.log_model(booster, name="model", registered_model_name="lightgbm")
        wrapped = lightgbm.LGBMRegressor(n_estimators=2, verbosity=-1, n_jobs=1).fit(x, y)
        mlflow.lightgbm.log_model(wrapped, name="wrapped", registered_model_name="wrapped")
        trees = xgboost.train({"max_depth": 4, "nthread": 1, "seed": 1}, xgboost.DMatrix(x, y, feature_names=INPUTS), 20)
        mlflow.xgboost.log_model(trees, name="trees", registered_model_name="xgboost")
        mlflow.sklearn.log_model(LinearRegression().fit(x, y), name="pickled", registered_model_name="pickled", serialization_format="cloudpickle")

        # A bundle is an artifact like any other, with an MLmodel file that says what it is.
        folder = tempfile.mkdtemp()
        shutil.copy(bundle, os.path.join(folder, "house-prices.millrace"))
        model = Model(run_id=run.info.run_id)
        model.add_flavor("millrace", bundle="house-prices.millrace")
        model.save(os.path.join(folder, "MLmodel"))
        mlflow.log_artifacts(folder, "bundle")
        client.create_registered_model("bundles")
        client.create_model_version("bundles", f"{run.info.artifact_uri}/bundle", run.info.run_id)
        client.set_registered_model_alias("bundles", "good", "1")
        client.create_registered_model("nothing")
        client.create_model_version("nothing", f"{run.info.artifact_uri}/nothing", run.info.run_id)


if sys.argv[2] in ("lightgbm", "xgboost"):
    predict(sys.argv[2], sys.argv[3])
else:
    log(sys.argv[2], sys.argv[3])
