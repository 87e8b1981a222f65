"""Generalised models: the mode of the random effects, Laplace's criterion, and its minimum.

The symbols below mean the same in every file of this folder. The columns of X are orthonormal, and
those of Z whitened, as in `pymackay.solve`. Arrays of the levels have the levels last.

==================  =============  ================================================================
Symbol              Shape          Meaning
==================  =============  ================================================================
η                   (n,)           linear predictor ``Xβ + ZΛu + offset``
D, D', D'', D'''    (n,)           half deviances and derivatives by η (`pymackay.family`)
φ                   scalar         dispersion; 1 for binomial, Poisson and negative binomial
w                   (n,)           weights: D''/φ (observed), or expected ones over φ
u                   (N,)           spherical random effects, block by block, (q, J) each
A = ZΛ              (n, N)         formed for few rows only (`batch`)
H = A'WA + I        (N, N)         half the second derivative by u of the penalised deviance
A_j                 (q, q, J)      Z_j'WZ_j of the leading block
C                   (q J, m)       Z_1'WZ_2: leading block by the m effects of all other blocks
D (``rest``)        (m, m)         Z_2'WZ_2
F_j                 (q, q, J)      Λ(I + Λ'A_jΛ)⁻¹Λ'
K                   (m, m)         D − C'FC
S = I + Λ₂'KΛ₂      (m, m)         Schur complement
s                   (n,)           leverages a_i'H⁻¹a_i: conditional variances of η given β
ψ                   (p + k + ..)   β, the k elements of the factors, then log φ or log shape
==================  =============  ================================================================

Laplace's criterion (Tierney & Kadane 1986, JASA 81; Breslow & Clayton 1993, JASA 88, eq. 4) is
``2 Σ D/φ + constant(φ) + |u|² + log|H|`` at the mode of u.
"""
