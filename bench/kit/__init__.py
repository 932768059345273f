"""What several figures need: a server, a load, a table, the machine's facts."""
