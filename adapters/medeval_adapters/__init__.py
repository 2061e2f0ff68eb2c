"""One module a wrapped model: classical methods without weights, floors, the oracle, other people's predictions."""
