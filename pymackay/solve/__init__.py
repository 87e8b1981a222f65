"""How it is fitted: the penalised least-squares solver and its optimisers."""
