"""How a model is fitted: solvers of the mixed-model equations, and what searches with them.

The symbols below mean the same in every file of this folder. Everything is in the bases of
`pymackay.model.bases.scaling`: a response of unit length, an orthonormal basis of X (written Q
there, X here), whitened columns of Z, rows multiplied by the roots of their weights. A column of
Z is one effect of one level of a grouping factor. Covariances are relative to sigma².

**Sizes.** n rows, p fixed columns, m parameters in theta (``bases.n_theta``), J levels of a
grouping factor with q effects each, B responses (or starting points) side by side. In `many`,
levels with the same matrices are of one kind (`solve.many.kinds`). A *block* is all terms of one
grouping factor, the *leading* block the one with most effects.

====================  ================  ==========================================================
Symbol                Shape             Meaning, and where it is computed
====================  ================  ==========================================================
theta                 (m,)              elements of Λ in lme4's order, user's units (`covariance`)
Λ  (``factor``)       (q, q)            relative factor of a term or a block, lower triangle
G = ΛΛ'               (q, q)            relative covariance of one level's effects
U  (``transforms``)   (q, q)            effects in the user's units are U times those computed
A_j = Z_j'Z_j         (J, q, q)         of each level of the leading block (`model.sums.gram`)
C_j = Z_j'R           (J, q, k)         R: all other columns, the response last
D = R'R               (k, k)            of these columns
c_j = Z_j'y           (J, q)            the last column of C_j
L_j                   (J, q, q)         Cholesky factor of M_j = I + Λ'A_jΛ (`exact.levels`)
h_j (``half``)        (J, q, q)         L_j⁻¹Λ', so that F_j = h_j'h_j
F_j = Λ(L_jL_j')⁻¹Λ'  (J, q, q)         elimination of a level: V₁⁻¹ = I − Z₁ F Z₁'
N_j = (I + A_jG)⁻¹    (J, q, q)         so that Z_j'V₁⁻¹ = N_j Z_j' (`exact.levels`)
H_j = N_jA_j          (J, q, q)         Z_j'V₁⁻¹Z_j
K = R'V₁⁻¹R           (k, k)            what is left after the leading block (`exact.eliminated`)
S                     (k − 1, k − 1)    Λ₊'KΛ₊ + [I 0; 0 0] without the response, the equations of
                                        what is left; Λ₊ = [Λ₂ 0; 0 I], Λ₂ the factors of the other
                                        blocks. In `iterative` S is the part of the random effects
                                        alone, never formed, and S₀ its diagonal blocks
Q̄ (``Q``)             (k − 1, k − 1)    Λ₊S⁻¹Λ₊' (same file)
T_j = N_jC_jQ̄C_j'N_j' (J, q, q)         so that Z_j'PZ_j = H_j − T_j, C_j without the response
V = I + ZGZ'          (n, n)            covariance of the response; V₁: the leading block alone.
                                        Only in `loop`, as in MacKay's rules and in messages, V is
                                        the absolute covariance of a term's effects, sigma² G
P                     (n, n)            V⁻¹ − V⁻¹X(X'V⁻¹X)⁻¹X'V⁻¹, the projection; V⁻¹ in its place
                                        for maximum likelihood's traces
a = Z'Py              (J, q)            working effects; b = G a are the predicted effects
τ (``traces``)        (q, q)            Σ_j Z_j'PZ_j of a term, so that γ = tr(Gτ)
s (``squares``)       (q, q)            Σ_j a_j a_j' of a term
score                 (q, q)            τ − s/sigma²: d criterion = tr(score dG)
E_i                   (q, q)            dG/dG_i, the pattern of element i (`solver.Elements`)
V̇_i = ZE_iZ'          (n, n)            dV/dG_i, never formed
curvature             (m, m)            second derivatives by the elements of G
r2                    scalar            y'Py, the penalised residual sum of squares
ν (``nu``)            scalar            n − p for REML, n for ML; sigma² = r2/ν
====================  ================  ==========================================================

**The criterion** (`solver.criterion_value`) is
``log|V| + log|X'V⁻¹X| + ν (1 + log(2π r2/ν))`` plus constants of the units; maximum likelihood has
no second term. Its derivative by G is the score; its observed curvature by elements i and k is
``−tr(P V̇_i P V̇_k) + 2 y'P V̇_i P V̇_k P y/sigma² − s_i s_k/(ν sigma⁴)``, s_i = y'P V̇_i P y.

**Where things are.** `solver` is the seam that all callers stand on; `choose` takes a solver,
`assemble` turns its answer into a `Fit`. `exact` and `iterative` are the solvers, `many` evaluates
many responses to one design at once. `search` minimises the criterion, `loop` runs MacKay's loop,
`descent` gradient descent on the effects; `linalg` holds matrix products and factors.
"""
