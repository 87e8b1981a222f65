"""Linear mixed models with a covariance structure of the residuals, by their marginal likelihood.

``y ~ N(Xβ, σ² V)`` with ``V = R(psi) + Σ_k Z_k G_k Z_k'``, in bases as in `pymackay.solve`: rows
weighted, X orthonormal (Q), columns of Z whitened. Rows that share a level of any random factor,
or a group of the residuals, make a cluster; V is block-diagonal by clusters, and clusters with the
same number of rows are computed side by side.

The parameters ψ are, term by term, the elements of the lower factor of G (with a structure, its
chart), then those of R. All derivatives are exact.
"""
