"""The tests of currant; `conftest` holds the leak checks that run around each of them."""
