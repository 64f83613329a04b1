// The reference problem. The lag matrix is built here because a request to pystan stops at one megabyte.
data {
  int<lower=2> T;
  int<lower=1> L;
  int<lower=1> D;
  vector[T] y;
  vector[L + T] signal;
  matrix[T - 1, D] drivers;
  int<lower=0, upper=1> tuned;  // which of two ways to write the likelihood
}
transformed data {
  int K = 2;
  matrix[T, L] lagged;
  for (l in 1 : L) {
    lagged[ : , l] = signal[(L + 1 - l) : (L + T - l)];
  }
}
parameters {
  vector[K] mu;
  real common;
  vector[K] deviation;
  real<lower=0> spread;
  ordered[K] log_sigma;
  real<lower=0> nu;
  simplex[L] weights;
  vector[K] stay_intercept;
  matrix[D, K] stay_slope;
}
model {
  // Full densities, so that the value can be compared with the other implementations.
  target += std_normal_lpdf(mu);
  target += std_normal_lpdf(common);
  target += std_normal_lpdf(deviation);
  target += std_normal_lpdf(spread) + log2();
  target += std_normal_lpdf(log_sigma);
  target += gamma_lpdf(nu | 2, 0.1);
  target += dirichlet_lpdf(weights | rep_vector(1, L));
  target += normal_lpdf(stay_intercept | 2, 1.5);
  target += std_normal_lpdf(to_vector(stay_slope));

  vector[K] beta = common + spread * deviation;
  vector[K] sigma = exp(log_sigma);
  vector[T] effect = lagged * weights;
  matrix[T - 1, K] stay = drivers * stay_slope + rep_matrix(stay_intercept', T - 1);
  matrix[T - 1, K] log_stay = log_inv_logit(stay);
  matrix[T - 1, K] log_leave = log1m_inv_logit(stay);

  if (tuned) {
    // What is the same at all times once, densities as vectors, two regimes as two scalars.
    array[K] vector[T] log_obs;
    real constant = lgamma((nu + 1) / 2) - lgamma(nu / 2) - 0.5 * log(nu * pi());
    for (k in 1 : K) {
      vector[T] z = (y - mu[k] - beta[k] * effect) / sigma[k];
      log_obs[k] = constant - log_sigma[k] - (nu + 1) / 2 * log1p(square(z) / nu);
    }
    real first = log_obs[1][1] - log2();
    real second = log_obs[2][1] - log2();
    for (t in 2 : T) {
      real next = log_sum_exp(first + log_stay[t - 1, 1], second + log_leave[t - 1, 2]) + log_obs[1][t];
      second = log_sum_exp(first + log_leave[t - 1, 1], second + log_stay[t - 1, 2]) + log_obs[2][t];
      first = next;
    }
    target += log_sum_exp(first, second);
  } else {
    // The forward algorithm in logs, as in the user's guide.
    vector[K] alpha;
    for (k in 1 : K) {
      alpha[k] = student_t_lpdf(y[1] | nu, mu[k] + beta[k] * effect[1], sigma[k]) - log(K);
    }
    for (t in 2 : T) {
      vector[K] next;
      for (k in 1 : K) {
        vector[K] paths;
        for (j in 1 : K) {
          paths[j] = alpha[j] + (j == k ? log_stay[t - 1, j] : log_leave[t - 1, j]);
        }
        next[k] = log_sum_exp(paths) + student_t_lpdf(y[t] | nu, mu[k] + beta[k] * effect[t], sigma[k]);
      }
      alpha = next;
    }
    target += log_sum_exp(alpha);
  }
}
