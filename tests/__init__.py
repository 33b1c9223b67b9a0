"""The tests; see `conftest` for what they all check."""
