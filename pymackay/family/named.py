"""`family_of`: a family by its name or as an object."""

from __future__ import annotations

from pymackay.errors import ArgumentError
from pymackay.family.binomial import Binomial
from pymackay.family.family import Family
from pymackay.family.gamma import Gamma
from pymackay.family.gaussian import Gaussian
from pymackay.family.inverse_gaussian import InverseGaussian
from pymackay.family.negative_binomial import NegativeBinomial
from pymackay.family.poisson import Poisson
from pymackay.hints import OTHER_FAMILIES

FAMILIES: dict[str, type[Family]] = {
    "binomial": Binomial,
    "poisson": Poisson,
    "Gamma": Gamma,
    "inverse.gaussian": InverseGaussian,
    "negative binomial": NegativeBinomial,
    "gaussian": Gaussian,
}

_SPELLINGS = {
    "bernoulli": "binomial",
    "gamma": "Gamma",
    "inverse_gaussian": "inverse.gaussian",
    "inversegaussian": "inverse.gaussian",
    "negative_binomial": "negative binomial",
    "negativebinomial": "negative binomial",
    "negbin": "negative binomial",
    "nbinom2": "negative binomial",
    "normal": "gaussian",
}


def family_of(family: Family | type[Family] | str) -> Family:
    """Return the family that a user's argument stands for.

    Raises
    ------
    ArgumentError
        If it stands for none.

    Examples
    --------
    >>> family_of("poisson")
    Poisson(link='log')
    """
    if isinstance(family, Family):
        return family
    if isinstance(family, type) and issubclass(family, Family):
        return family()
    if isinstance(family, str):
        name = _SPELLINGS.get(family.lower(), family)
        for known, kind in FAMILIES.items():
            if known.lower() == name.lower():
                return kind()
    word = str(family).lower()
    hint = f" Instead of {word}: {OTHER_FAMILIES[word]}." if word in OTHER_FAMILIES else ""
    raise ArgumentError(
        f"family must be one of {', '.join(map(repr, FAMILIES))}, or an object such as "
        f"pymackay.Binomial('probit'), but it is {family!r}.{hint}"
    )
