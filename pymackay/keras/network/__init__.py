"""The network as the loop sees it: groups, penalties, likelihood, rows, Jacobian rows."""
