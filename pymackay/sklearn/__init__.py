"""Mixed models for scikit-learn; they need the extra ``sklearn`` of the package."""

from pymackay.sklearn.regressor import MixedModelRegressor

__all__ = ["MixedModelRegressor"]
