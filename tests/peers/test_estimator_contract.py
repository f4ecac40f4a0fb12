"""scikit-learn's own checks of an estimator, on svdflow.compat.TruncatedSVD."""

import pytest

pytest.importorskip("sklearn", reason="the estimator needs scikit-learn")

from sklearn.utils.estimator_checks import check_estimator

from svdflow.compat import TruncatedSVD


@pytest.mark.filterwarnings(
    "ignore:Skipping check check_array_api_input"
)  # a check of SCIPY_ARRAY_API=1 only
@pytest.mark.parametrize("estimator", [TruncatedSVD(), TruncatedSVD(n_components=1, center=True)])
def test_check_estimator(estimator):
    results = check_estimator(estimator)
    passed = {result["check_name"] for result in results if result["status"] == "passed"}
    left = {result["check_name"] for result in results} - passed
    assert left <= {"check_array_api_input"}
    assert len(passed) > 40


class Contrary(TruncatedSVD):
    """Its transform is not what its fit_transform says."""

    def transform(self, X):
        return -super().transform(X)


@pytest.mark.filterwarnings("ignore:Skipping check check_array_api_input")
def test_check_estimator_catches_a_contrary_one():
    with pytest.raises(AssertionError):
        check_estimator(Contrary())
