"""MacKay's loop on the weight groups of a Keras network: a prior variance for each group."""

from pymackay.keras.callback import MacKay
from pymackay.keras.fit import fit
from pymackay.keras.network.groups import WeightGroups
from pymackay.keras.network.penalty import EvidencePenalty
from pymackay.keras.result import EvidenceFit

__all__ = ["EvidenceFit", "EvidencePenalty", "MacKay", "WeightGroups", "fit"]
