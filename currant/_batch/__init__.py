"""`currant.map`: one command for each of many items."""
