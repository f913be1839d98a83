"""`qsticky check`: the whole configuration, tried once."""
