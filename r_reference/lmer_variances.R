# How uncertain the random effects are: blocks of Var(b | y), level by level.

# Group -> array q x q x levels over the joined terms of that group, in ranef()'s order of effects.
# With `uncertain_beta` the uncertainty of beta is included, which makes it Var(b-hat - b).
effect_variances <- function(kept_fit, uncertain_beta) {
  blocks <- given_beta(kept_fit)
  if (!uncertain_beta) return(blocks)
  fit <- kept_fit$fit
  K <- beta_spread(fit) * stats::sigma(fit)
  Map(function(block, position) block + outer_blocks(K, position), blocks, effect_positions(fit))
}

# Computed once for a fit: it is the expensive part of both.
given_beta <- function(kept_fit) {
  if (is.null(kept_fit$given_beta)) {
    fit <- kept_fit$fit
    factor <- lme4::getME(fit, "L")
    Lambdat <- lme4::getME(fit, "Lambdat")
    kept_fit$given_beta <- lapply(effect_positions(fit), function(position) {
      conditional_blocks(factor, Lambdat, position) * stats::sigma(fit)^2
    })
  }
  kept_fit$given_beta
}

# Group -> matrix levels x q: where each effect of each level stands in b.
effect_positions <- function(fit) {
  flist <- lme4::getME(fit, "flist")
  term_group <- attr(flist, "assign")
  starts <- fit@Gp
  positions <- lapply(seq_along(flist), function(group) {
    do.call(cbind, lapply(which(term_group == group), function(term) {
      q <- length(fit@cnms[[term]])
      matrix(seq(starts[term] + 1L, starts[term + 1L]), ncol = q, byrow = TRUE)
    }))
  })
  names(positions) <- names(flist)
  positions
}

# Blocks of Lambda (L L')^-1 Lambda', a few hundred columns of L^-1 P Lambda' at a time.
conditional_blocks <- function(factor, Lambdat, position) {
  q <- ncol(position)
  blocks <- array(0, c(q, q, nrow(position)))
  per_chunk <- max(1L, 512L %/% q)
  for (first in seq(1L, nrow(position), by = per_chunk)) {
    rows <- seq(first, min(first + per_chunk - 1L, nrow(position)))
    columns <- methods::as(Lambdat[, as.vector(position[rows, ]), drop = FALSE], "CsparseMatrix")
    half <- Matrix::solve(factor, Matrix::solve(factor, columns, system = "P"), system = "L")
    blocks[, , rows] <- products(half, length(rows), q)
  }
  blocks
}

# Column i of effect a times column i of effect b, summed over rows: q x q x columns per effect.
products <- function(half, levels, q) {
  of_effect <- lapply(seq_len(q), function(a) {
    half[, (a - 1L) * levels + seq_len(levels), drop = FALSE]
  })
  blocks <- array(0, c(q, q, levels))
  for (a in seq_len(q)) {
    for (b in seq_len(a)) {
      blocks[a, b, ] <- blocks[b, a, ] <- Matrix::colSums(of_effect[[a]] * of_effect[[b]])
    }
  }
  blocks
}

# K / sigma, where K K' is what beta's uncertainty adds to Var(b-hat - b): Lambda P' L'^-1 RZX RX^-1.
beta_spread <- function(fit) {
  factor <- lme4::getME(fit, "L")
  RZX <- as.matrix(lme4::getME(fit, "RZX"))
  RX <- lme4::getME(fit, "RX")
  if (ncol(RZX) == 0L) return(RZX)
  back <- Matrix::solve(factor, Matrix::solve(factor, RZX, system = "Lt"), system = "Pt")
  as.matrix(Matrix::crossprod(lme4::getME(fit, "Lambdat"), back)) %*% backsolve(RX, diag(ncol(RX)))
}

# Blocks of K K', level by level.
outer_blocks <- function(K, position) {
  q <- ncol(position)
  blocks <- array(0, c(q, q, nrow(position)))
  for (a in seq_len(q)) {
    for (b in seq_len(q)) {
      blocks[a, b, ] <- rowSums(K[position[, a], , drop = FALSE] * K[position[, b], , drop = FALSE])
    }
  }
  blocks
}
