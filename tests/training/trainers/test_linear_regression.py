"""Linear regression: least squares as NumPy and scikit-learn solve them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from sklearn.linear_model import ElasticNet

from tests.training.versions import make_features

pytestmark = pytest.mark.spark


@pytest.fixture
def sample(store):
    """Make a version of features with a noisy linear label, and return features and label."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(300, 2)) * (1, 10) + (0, 5)
    y = x @ [2.0, -0.5] + 7 + rng.normal(size=300)
    names = [f"{row:04}" for row in range(300)]
    columns = {"row_id": names, "label": [str(value) for value in y], "label_value": y, "x0": x[:, 0], "x1": x[:, 1]}
    make_features(store, {"train": [pa.table(columns)], "test": [pa.table(columns)]}, columns=("x0", "x1"))
    return x, y


def _predictions(store, model):
    with store.directory(model).open("predictions/test.parquet") as file:
        return pl.read_parquet(file)["prediction"].to_numpy()


def test_without_a_penalty_it_is_least_squares(store, train, sample):
    x, y = sample
    with_constant = np.column_stack([x, np.ones(len(x))])
    best, *_ = np.linalg.lstsq(with_constant, y, rcond=None)
    model = train("linear_regression", {"regularisation": 0})
    assert _predictions(store, model) == pytest.approx(with_constant @ best, abs=1e-6)


def test_the_penalty_is_that_of_an_elastic_net(store, train, sample):
    x, y = sample
    parameters = {"regularisation": 0.5, "elastic_net_fraction": 0.4, "standardise": False, "tolerance": 1e-10}
    ours = _predictions(store, train("linear_regression", parameters))
    # Spark scales the label to unit deviation first, and with it the L2 part of its penalty.
    l1, l2 = 0.5 * 0.4, 0.5 * 0.6 / y.std(ddof=1)
    theirs = ElasticNet(alpha=l1 + l2, l1_ratio=l1 / (l1 + l2), tol=1e-10, max_iter=10_000).fit(x, y).predict(x)
    assert ours == pytest.approx(theirs, abs=1e-3)
