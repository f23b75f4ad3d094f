"""Reading rows: one module per aggregate; every list is bound in pieces of PIECE at most."""
