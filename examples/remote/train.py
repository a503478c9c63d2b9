"""Trains a model of scikit-learn on what `millrace features` wrote, and keeps it for MLServer and for MLflow.

    python train.py features.csv model

makes the folder model, for `mlserver start model`, and in it the folder mlflow, for `mlflow models serve -m model/mlflow`.
"""

import json
import pathlib
import sys

import joblib
import mlflow.sklearn
import pandas as pd
from mlflow.models import infer_signature
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

LABEL = "price"
LEVELS = ["waterfront", "view", "condition", "city", "statezip"]  # the inputs that are enums in the pipeline file


def read(path):
    """Returns the rows of a file that `millrace features` wrote. Levels are texts, also where they look like numbers; a
    level that is missing is an empty text, as the stream sends it, and a number that is missing is NaN."""
    rows = pd.read_csv(path, dtype=dict.fromkeys(LEVELS, str), keep_default_na=False, na_values={})
    for name in inputs(rows):
        if name not in LEVELS:
            rows[name] = pd.to_numeric(rows[name]).astype("float64")
    return rows


def inputs(rows):
    """Returns the names of the columns that the model is given."""
    return [name for name in rows.columns if name != LABEL and not name.startswith("millrace.")]


def main(features, folder):
    rows = read(features)
    rows = rows[pd.to_numeric(rows[LABEL]).notna()].astype({LABEL: "float64"})  # a record that millrace would not train on has no label
    names = inputs(rows)
    # A level that is not in the training rows, and a missing one, is none of the encoder's columns; the trees split on missing numbers.
    model = make_pipeline(
        make_column_transformer((OneHotEncoder(handle_unknown="ignore", sparse_output=False), LEVELS), remainder="passthrough"),
        HistGradientBoostingRegressor(random_state=1),
    )
    part = rows["millrace.part"]
    train, test = rows[part == "train"], rows[part == "test"]
    model.fit(train[names], train[LABEL])
    print("R2 of the test rows:", round(model.score(test[names], test[LABEL]), 4))

    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    joblib.dump(model, folder / "model.joblib")
    settings = {"name": "house-prices", "implementation": "mlserver_sklearn.SKLearnModel", "parameters": {"uri": "./model.joblib", "version": "1"}}
    (folder / "model-settings.json").write_text(json.dumps(settings, indent=2))
    mlflow.sklearn.save_model(
        model, folder / "mlflow", serialization_format="cloudpickle",
        signature=infer_signature(train[names], model.predict(train[names][:1])),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
