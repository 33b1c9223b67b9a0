"""`currant map`: one command for each of many items, from the command line."""
