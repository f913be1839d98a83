"""README's two commands on a bare machine, as a stranger has them."""
