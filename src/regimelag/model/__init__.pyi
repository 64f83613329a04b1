from .custom import hidden_markov
from .data import model_coords, model_data, prediction_data

__all__ = [
    "hidden_markov",
    "model_coords",
    "model_data",
    "prediction_data",
]
