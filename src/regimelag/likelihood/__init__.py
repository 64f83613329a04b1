"""The likelihood of a regime-switching regression: recursions, and the PyTensor Ops that wrap them."""
