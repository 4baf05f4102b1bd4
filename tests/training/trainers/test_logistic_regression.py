"""Logistic regression: the coefficients that scikit-learn finds for the same penalty."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from sklearn import linear_model

from tests.training.versions import make_features

pytestmark = pytest.mark.spark


@pytest.mark.parametrize("labels", [("no", "yes"), ("a", "b", "c")], ids=["binomial", "multinomial"])
def test_probabilities_are_those_of_scikit_learn(store, train, labels):
    rng = np.random.default_rng(7)
    rows, penalty = 400, 0.05
    x = rng.normal(size=(rows, 3)) * (1, 5, 0.2)
    weights = rng.normal(size=(3, len(labels)))
    numbers = (x @ weights + rng.gumbel(size=(rows, len(labels)))).argmax(axis=1)
    names = [labels[number] for number in numbers]
    columns = {"row_id": [f"{row:04}" for row in range(rows)], "label": names}
    data = pa.table(columns | {f"x{place}": x[:, place] for place in range(3)})
    make_features(store, {"train": [data], "test": [data]}, columns=("x0", "x1", "x2"))
    parameters = {"regularisation": penalty, "tolerance": 1e-10, "standardise": False, "max_iterations": 500}
    ours = _probabilities(store, train(parameters=parameters))
    # scikit-learn's penalty is relative to the sum over rows, Spark's to the mean.
    theirs = linear_model.LogisticRegression(C=1 / (penalty * rows), tol=1e-10, max_iter=5000).fit(x, names)
    assert ours == pytest.approx(theirs.predict_proba(x).max(axis=1), abs=1e-4)


def _probabilities(store, model):
    with store.directory(model).open("predictions/test.parquet") as file:
        return pl.read_parquet(file)["probability"].to_numpy()
