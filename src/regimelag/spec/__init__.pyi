from .indicators import Condition, Indicator
from .parts import Episodes, Regimes
from .processes import OrderBy, RegimeProcess
from .transitions import Markov

__all__ = [
    "Condition",
    "Episodes",
    "Indicator",
    "Markov",
    "OrderBy",
    "RegimeProcess",
    "Regimes",
]
