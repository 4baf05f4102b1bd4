"""Tables of databases as sources and targets: exact types, one consistent state, loads that never count twice."""
