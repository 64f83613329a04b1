"""The likelihood as functions of PyTensor variables, for anyone's PyMC model.

Each function checks shapes at the door, casts to float64 and returns an ordinary PyTensor variable with gradients. All
of them take leading batch dimensions, and run in PyTensor's Python, C and numba modes. The Ops are in :mod:`.nodes`.
"""

from __future__ import annotations

import numpy as np
import pytensor.tensor as pt
from pytensor.graph import Constant
from pytensor.tensor import TensorLike, TensorVariable
from pytensor.tensor.blockwise import Blockwise

from regimelag.errors import RegimelagError
from regimelag.likelihood import dispatch, joint_dispatch, mixture_dispatch  # noqa: F401 register with numba
from regimelag.likelihood.joint_nodes import JointLogpdf
from regimelag.likelihood.mixture_node import LagMixtureLoglik
from regimelag.likelihood.nodes import LagSum, LinearMap, MarkovLoglik, NormalLogpdf, Predictor, StudentTLogpdf


def _float(values: TensorLike) -> TensorVariable:
    return pt.as_tensor_variable(values).astype("float64")


def _shapes(**variables: TensorVariable) -> str:
    shapes = [f"{name} {variable.type.shape}" for name, variable in variables.items()]
    return ", ".join(shapes).replace("None", "?")


def _require(asked: str, rule: str, came: str, cure: str, *, holds: bool) -> None:
    if not holds:
        raise RegimelagError(asked, rule, came, cure)


def _agree(*lengths: int | None) -> bool:
    """Whether the lengths that are known when the graph is built are equal."""
    return len({length for length in lengths if length is not None}) <= 1


def markov_loglik(log_obs: TensorLike, transition_logits: TensorLike, log_init: TensorLike) -> TensorVariable:
    """Log-likelihood of a hidden chain of regimes, with the regimes summed out.

    Parameters
    ----------
    log_obs : tensor (..., time, regime)
        Log density of each row of data under each regime, in nats. ``-inf`` where a regime cannot produce the row. The
        number of regimes should be part of the type of one input: if it is unknown, a slow recursion is used.
    transition_logits : tensor (..., time - 1, origin, destination) or (..., origin, destination)
        Row ``t`` drives the step from ``t`` to ``t + 1``. The softmax over the last axis is taken here. ``-inf``
        forbids a step. Without a time axis the matrix is constant; without batch dimensions as well it is shared.
    log_init : tensor (..., regime) or (regime)
        Log weights of the regimes at the first time, used as given.

    Returns
    -------
    tensor (...)
        In nats; a scalar without batch dimensions. ``-inf``, with zero gradients, if the data are impossible. NaN, with
        NaN gradients, if an input is NaN or ``+inf``.

    Raises
    ------
    RegimelagError
        If dimensions or lengths that are known when the graph is built do not fit together.
    ValueError
        If lengths found when the graph is evaluated do not fit together.

    Notes
    -----
    The forward recursion is that of the filter in [1]_, the gradient that of [2]_; see
    ``regimelag.likelihood.chain``. Value and gradient cost one forward and one backward pass together.

    References
    ----------
    .. [1] Hamilton, J. D. (1989). doi:10.2307/1912559
    .. [2] Baum, L. E., Petrie, T., Soules, G., & Weiss, N. (1970). doi:10.1214/aoms/1177697196

    Examples
    --------
    >>> import numpy as np
    >>> from regimelag.likelihood.op import markov_loglik
    >>> log_obs = np.log([[0.5, 0.1], [0.2, 0.4]])
    >>> loglik = markov_loglik(log_obs, np.zeros((2, 2)), np.log([0.5, 0.5]))
    >>> round(float(np.exp(loglik.eval())), 6)
    0.09
    """
    log_obs, transition_logits, log_init = map(_float, (log_obs, transition_logits, log_init))
    asked = "markov_loglik(log_obs, transition_logits, log_init)"
    came = _shapes(log_obs=log_obs, transition_logits=transition_logits, log_init=log_init)
    batch = log_obs.type.ndim - 2
    shared = ", ".join(["None"] * batch)
    _require(
        asked,
        "log_obs is (time, regime), after batch dimensions if any",
        came,
        "give log_obs a time axis and a regime axis; one regime is an axis of length 1",
        holds=batch >= 0,
    )
    _require(
        asked,
        "transition_logits is (time - 1, origin, destination) or (origin, destination), after batch dimensions if any",
        came,
        f"share moving transitions by an axis of length 1 for each batch dimension: transition_logits[{shared}]"
        if batch and transition_logits.type.ndim == 3  # noqa: PLR2004
        else "give transition_logits the axes (time - 1, origin, destination)",
        holds=transition_logits.type.ndim in (2, batch + 2, batch + 3),
    )
    _require(
        asked,
        "log_init is (regime), after the batch dimensions of log_obs if any",
        came,
        "give log_init one weight a regime",
        holds=log_init.type.ndim in (1, batch + 1),
    )
    if transition_logits.type.ndim != batch + 3:
        transition_logits = pt.expand_dims(transition_logits, -3)
    times, regimes = log_obs.type.shape[-2:]
    steps, origins, destinations = transition_logits.type.shape[-3:]
    _require(
        asked,
        "log_obs, transition_logits (both axes) and log_init have the same number of regimes",
        came,
        "check that the regime axis comes last in log_obs and log_init, and last twice in transition_logits",
        holds=_agree(regimes, origins, destinations, log_init.type.shape[-1]),
    )
    _require(
        asked,
        "row t of transition_logits drives the step from t to t + 1, so there are time - 1 rows, or 1 if constant",
        came,
        "drop the row that would drive the step into the first time (put it into log_init) or out of the last",
        holds=steps in (None, 1) or times is None or steps == times - 1,
    )
    # The Op wants time last.
    by_regime, by_origin = pt.moveaxis(log_obs, -2, -1), pt.moveaxis(transition_logits, -3, -1)
    known = regimes or origins or destinations or log_init.type.shape[-1]
    return Blockwise(MarkovLoglik(known))(by_regime, by_origin, log_init)[0]


def lag_mixture_loglik(
    log_obs: TensorLike,
    transition_logits: TensorLike,
    log_init: TensorLike,
    log_prior: TensorLike,
    block: TensorLike,
) -> TensorVariable:
    """Log-likelihood of a chain of regimes seen through one of several lags, with regimes and lags summed out.

    Times fall into blocks. Each block draws one combination of lags, independently of the others and of the regimes,
    whose chain runs through all blocks. With one block this is log sum_c prior_c L_c, where L_c is what
    :func:`markov_loglik` gives for combination c.

    Parameters
    ----------
    log_obs : tensor (combination, regime, time)
        Log density of each row under each regime and combination, in nats. ``-inf`` where they cannot produce the row.
        The number of regimes must be part of the type of one input.
    transition_logits : tensor (time - 1, origin, destination) or (origin, destination)
        As in :func:`markov_loglik`; with one regime, zeros (1, 1).
    log_init : tensor (regime)
        Log weights of the regimes at the first time, used as given.
    log_prior : tensor (combination)
        Log probability with which a block draws each combination, used as given; ``-inf`` forbids it.
    block : int tensor (time)
        Block of each time: 0 at the first, and from one time to the next the same or one more.

    Returns
    -------
    tensor ()
        In nats. ``-inf``, with zero gradients, if the data are impossible. NaN, with NaN gradients, if an input is NaN
        or ``+inf``.

    Raises
    ------
    RegimelagError
        If dimensions or lengths that are known when the graph is built do not fit together.
    ValueError
        If lengths found when the graph is evaluated do not fit together, or blocks do not follow each other.

    Notes
    -----
    The gradients are posterior probabilities: that for ``log_obs`` of each regime together with the combination of its
    block at each time, that for ``log_prior`` the expected number of blocks with each combination. See
    :mod:`regimelag.likelihood.mixture`.

    Examples
    --------
    >>> import numpy as np
    >>> from regimelag.likelihood.op import lag_mixture_loglik
    >>> log_obs = np.log([[[0.5, 0.2], [0.1, 0.4]], [[0.1, 0.2], [0.1, 0.2]]])
    >>> loglik = lag_mixture_loglik(log_obs, np.zeros((2, 2)), np.log([0.5, 0.5]), np.log([0.5, 0.5]), [0, 0])
    >>> round(float(np.exp(loglik.eval())), 6)
    0.055
    """
    floats = [_float(values) for values in (log_obs, transition_logits, log_init, log_prior)]
    log_obs, transition_logits, log_init, log_prior = floats
    block = pt.as_tensor_variable(block)
    asked = "lag_mixture_loglik(log_obs, transition_logits, log_init, log_prior, block)"
    came = _shapes(
        log_obs=log_obs, transition_logits=transition_logits, log_init=log_init, log_prior=log_prior, block=block
    )
    _require(
        asked,
        "log_obs is (combination, regime, time), transition_logits (time - 1, origin, destination) or (origin, "
        "destination), log_init (regime), log_prior (combination), block (time)",
        came,
        "give each its axes; one regime or one combination is an axis of length 1",
        holds=(log_obs.type.ndim, log_init.type.ndim, log_prior.type.ndim, block.type.ndim) == (3, 1, 1, 1)
        and transition_logits.type.ndim in (2, 3),
    )
    if transition_logits.type.ndim == 2:  # noqa: PLR2004
        transition_logits = transition_logits[None]
    combinations, regimes, times = log_obs.type.shape
    steps, origins, destinations = transition_logits.type.shape
    inits, priors = log_init.type.shape[0], log_prior.type.shape[0]
    known = regimes or origins or destinations or inits
    _require(
        asked,
        "log_obs, transition_logits (both axes) and log_init have the same number of regimes, known beforehand",
        came,
        "put the regime axis second in log_obs, and give one of them a static shape (pytensor's specify_shape)",
        holds=known is not None and _agree(regimes, origins, destinations, inits),
    )
    _require(
        asked,
        "log_prior has one entry for each combination, block one for each time",
        came,
        "put the combination axis first in log_obs and time last",
        holds=_agree(combinations, priors) and _agree(times, block.type.shape[0]),
    )
    _require(
        asked,
        "row t of transition_logits drives the step from t to t + 1, so there are time - 1 rows, or 1 if constant",
        came,
        "drop the row that would drive the step into the first time (put it into log_init) or out of the last",
        holds=steps in (None, 1) or times is None or steps == times - 1,
    )
    _require(
        asked,
        "block holds integers: 0 at the first time, and from one time to the next the same or one more",
        f"block of type {block.type.dtype}" if not isinstance(block, Constant) else f"block {block.data}",
        "number the blocks in the order of time, from 0",
        holds=block.type.dtype.startswith(("int", "uint"))
        and (not isinstance(block, Constant) or _are_consecutive(block.data.astype("int64"))),
    )
    by_origin = pt.moveaxis(transition_logits, -3, -1)
    return LagMixtureLoglik(known)(log_obs, by_origin, log_init, log_prior, block.astype("int64"))[0]


def _are_consecutive(block: np.ndarray) -> bool:
    return block.size > 0 and block[0] == 0 and bool(np.isin(np.diff(block), (0, 1)).all())


def lag_sum(signal: TensorLike, weights: TensorLike) -> TensorVariable:
    """Weighted sum of the L values of a signal before each time.

    ``out[t] = sum_{l=1..L} weights[l-1] * signal[L + t - l]``

    Parameters
    ----------
    signal : tensor (..., L + time)
        The signal, with L rows of history before the first time. Row L + t is of the same time as ``out[t]``, which
        does not use it.
    weights : tensor (..., lag)
        Weight of lag l at position l - 1, l = 1..L.

    Returns
    -------
    tensor (..., time)
        In units of signal times weights.

    Raises
    ------
    RegimelagError
        If dimensions or lengths that are known when the graph is built do not fit together.
    ValueError
        If lengths found when the graph is evaluated do not fit together.

    Examples
    --------
    >>> from regimelag.likelihood.op import lag_sum
    >>> lag_sum([1.0, 2.0, 3.0, 4.0], [0.75, 0.25]).eval()
    array([1.75, 2.75])
    """
    signal, weights = map(_float, (signal, weights))
    asked, came = "lag_sum(signal, weights)", _shapes(signal=signal, weights=weights)
    _require(
        asked,
        "signal is (L + time) and weights is (lag), after batch dimensions if any",
        came,
        "give both at least one axis",
        holds=signal.type.ndim >= 1 and weights.type.ndim >= 1,
    )
    rows, count = signal.type.shape[-1], weights.type.shape[-1]
    _require(
        asked,
        "signal has L rows of history before the first time, L the number of weights",
        came,
        "start the signal L rows earlier, or use fewer lags",
        holds=rows is None or count is None or rows >= count,
    )
    return Blockwise(LagSum())(signal, weights)


def linear_predictor(
    covariates: TensorLike, coefficients: TensorLike, episode: TensorLike | None = None
) -> TensorVariable:
    """Linear predictor whose coefficients change from episode to episode.

    ``out[m, t] = sum_c coefficients[episode[t], c, m] * covariates[c, t]``

    Parameters
    ----------
    covariates : tensor (..., covariate, time)
        What is known.
    coefficients : tensor (..., episode, covariate, column)
        A set of coefficients for each episode.
    episode : int tensor (..., time), optional
        Row of ``coefficients`` that holds at each time; the first throughout if it is left out.

    Returns
    -------
    tensor (..., column, time)
        In units of covariates times coefficients.

    Raises
    ------
    RegimelagError
        If dimensions or lengths that are known when the graph is built do not fit together.
    ValueError
        If lengths found when the graph is evaluated do not fit together, or an episode is not a row of `coefficients`.
    """
    covariates, coefficients = map(_float, (covariates, coefficients))
    one = episode is None
    episode = pt.as_tensor_variable(np.zeros(0, dtype="int64") if one else episode)
    asked = "linear_predictor(covariates, coefficients, episode)"
    came = _shapes(covariates=covariates, coefficients=coefficients, episode=episode)
    _require(
        asked,
        "covariates is (covariate, time), coefficients (episode, covariate, column), episode (time) of integers",
        came,
        "with one set of coefficients give coefficients[None] and no episode",
        holds=covariates.type.ndim >= 2  # noqa: PLR2004
        and coefficients.type.ndim >= 3  # noqa: PLR2004
        and episode.type.ndim >= 1
        and episode.type.dtype.startswith(("int", "uint")),
    )
    _require(
        asked,
        "covariates and coefficients have the same covariates; covariates and episode one length in time",
        came,
        "put the covariate axis first in covariates and second in coefficients",
        holds=_agree(covariates.type.shape[-2], coefficients.type.shape[-2])
        and (one or _agree(covariates.type.shape[-1], episode.type.shape[-1])),
    )
    return Blockwise(Predictor())(covariates, coefficients, episode.astype("int64"))


def linear_map(matrix: np.ndarray, vectors: TensorLike) -> TensorVariable:
    """Product of vectors with a constant matrix, ``vectors @ matrix``.

    Does what `pytensor.tensor.dot` does; that calls BLAS, which takes numba a quarter of a minute to compile.

    Parameters
    ----------
    matrix : ndarray (entry, column)
        The constant.
    vectors : tensor (..., entry)
        What it is applied to.

    Returns
    -------
    tensor (..., column)
        The product.
    """
    vectors = _float(vectors)
    rows = vectors.reshape((-1, len(matrix))) if vectors.type.ndim != 2 else vectors  # noqa: PLR2004
    product = LinearMap()(pt.constant(np.ascontiguousarray(matrix, dtype="float64")), rows)
    lead = vectors.type.shape[:-1]
    if vectors.type.ndim == 2:  # noqa: PLR2004
        return product
    shape = lead if None not in lead else tuple(vectors.shape)[:-1]
    return product.reshape((*shape, matrix.shape[1]))


def _check_density(
    asked: str,
    y: TensorVariable,
    location: TensorVariable,
    log_scale: TensorVariable,
    episode: TensorVariable,
    **scalars: TensorVariable,
) -> None:
    came = _shapes(y=y, location=location, log_scale=log_scale, episode=episode, **scalars)
    batch = location.type.ndim - 2
    _require(
        asked,
        "location is (regime, time), after batch dimensions if any",
        came,
        "give location a regime axis and a time axis",
        holds=batch >= 0,
    )
    fits = (
        1 <= y.type.ndim <= batch + 1
        and 2 <= log_scale.type.ndim <= batch + 2  # noqa: PLR2004
        and 1 <= episode.type.ndim <= batch + 1
        and all(scalar.type.ndim <= batch for scalar in scalars.values())
    )
    _require(
        asked,
        "y and episode are (time), log_scale is (episode, regime), nu is a scalar, after batch dimensions if any",
        came,
        "with one episode give log_scale[None, :] and an episode of zeros",
        holds=fits,
    )
    _require(
        asked,
        "episode holds integers, rows of log_scale",
        f"episode of type {episode.type.dtype}",
        "number the episodes from 0",
        holds=episode.type.dtype.startswith(("int", "uint")),
    )
    _require(
        asked,
        "y, location and episode have one length in time; location and log_scale have the same regimes",
        came,
        "align them on the rows of the panel; time is the last axis of location, regime that of log_scale",
        holds=_agree(y.type.shape[-1], location.type.shape[-1], episode.type.shape[-1])
        and _agree(location.type.shape[-2], log_scale.type.shape[-1]),
    )


def student_t_logpdf(
    y: TensorLike, location: TensorLike, log_scale: TensorLike, episode: TensorLike, nu: TensorLike
) -> TensorVariable:
    """Log density of each row under each regime, Student-t.

    Parameters
    ----------
    y : tensor (..., time)
        Response; NaN where it is missing.
    location : tensor (..., regime, time)
        In units of ``y``.
    log_scale : tensor (..., episode, regime)
        Log of the scale of the t. The standard deviation is the scale times sqrt(nu / (nu - 2)).
    episode : integer tensor (..., time)
        Row of ``log_scale`` that holds at each time.
    nu : tensor (...)
        Degrees of freedom, positive; above 2 the variance is finite.

    Returns
    -------
    tensor (..., regime, time)
        In nats; 0, with zero gradients, where ``y`` is missing.

    Raises
    ------
    RegimelagError
        If dimensions or lengths that are known when the graph is built do not fit together.
    ValueError
        If lengths found when the graph is evaluated do not fit together, or an episode is not a row of ``log_scale``.
    """
    y, location, log_scale, nu = map(_float, (y, location, log_scale, nu))
    episode = pt.as_tensor_variable(episode)
    _check_density("student_t_logpdf(y, location, log_scale, episode, nu)", y, location, log_scale, episode, nu=nu)
    return Blockwise(StudentTLogpdf())(y, location, log_scale, episode.astype("int64"), nu)


def normal_logpdf(y: TensorLike, location: TensorLike, log_scale: TensorLike, episode: TensorLike) -> TensorVariable:
    """Log density of each row under each regime, normal.

    Parameters
    ----------
    y, location, log_scale, episode
        As in :func:`student_t_logpdf`; the scale is the standard deviation.

    Returns
    -------
    tensor (..., regime, time)
        In nats; 0, with zero gradients, where ``y`` is missing.

    Raises
    ------
    RegimelagError
        If dimensions or lengths that are known when the graph is built do not fit together.
    ValueError
        If lengths found when the graph is evaluated do not fit together, or an episode is not a row of ``log_scale``.
    """
    y, location, log_scale = map(_float, (y, location, log_scale))
    episode = pt.as_tensor_variable(episode)
    _check_density("normal_logpdf(y, location, log_scale, episode)", y, location, log_scale, episode)
    return Blockwise(NormalLogpdf())(y, location, log_scale, episode.astype("int64"))


def joint_logpdf(
    y: TensorLike,
    location: TensorLike,
    log_scale: TensorLike,
    episode: TensorLike,
    correlation: TensorLike,
    nu: TensorLike,
) -> TensorVariable:
    """Log density of each row under each regime, multivariate Student-t of all responses that are observed.

    Parameters
    ----------
    y : tensor (..., asset, time)
        Responses; NaN where one is missing, which leaves the marginal law of the others.
    location : tensor (..., asset, regime, time)
        In units of ``y``.
    log_scale : tensor (..., episode, asset, regime)
        Log of the scales of the t. A standard deviation is a scale times sqrt(nu / (nu - 2)).
    episode : integer tensor (..., time)
        Row of ``log_scale`` that holds at each time.
    correlation : tensor (..., asset, asset)
        Residual correlation, the same in all regimes and episodes. It is read as the mean of itself and its transpose.
    nu : tensor (...)
        Degrees of freedom, positive; infinity for the multivariate normal.

    Returns
    -------
    tensor (..., regime, time)
        In nats; 0, with zero gradients, where no response is observed. NaN, with NaN gradients, where the correlation
        of those observed is not positive definite.

    Raises
    ------
    RegimelagError
        If dimensions or lengths that are known when the graph is built do not fit together.
    ValueError
        If lengths found when the graph is evaluated do not fit together, or an episode is not a row of ``log_scale``.

    Examples
    --------
    >>> import numpy as np
    >>> from regimelag.likelihood.op import joint_logpdf
    >>> y, location, log_scale = np.zeros((2, 1)), np.zeros((2, 1, 1)), np.zeros((1, 2, 1))
    >>> joint_logpdf(y, location, log_scale, [0], [[1.0, 0.6], [0.6, 1.0]], np.inf).eval().round(6)
    array([[-1.614734]])
    """
    y, location, log_scale, correlation, nu = map(_float, (y, location, log_scale, correlation, nu))
    episode = pt.as_tensor_variable(episode)
    inputs = {"y": y, "location": location, "log_scale": log_scale, "episode": episode, "correlation": correlation}
    _check_joint(**inputs, nu=nu)
    return Blockwise(JointLogpdf())(y, location, log_scale, episode.astype("int64"), correlation, nu)


def _check_joint(**inputs: TensorVariable) -> None:
    asked, came = "joint_logpdf(y, location, log_scale, episode, correlation, nu)", _shapes(**inputs)
    core = {"y": 2, "location": 3, "log_scale": 3, "episode": 1, "correlation": 2, "nu": 0}
    batch = inputs["location"].type.ndim - core["location"]
    _require(
        asked,
        "y is (asset, time), location (asset, regime, time), log_scale (episode, asset, regime), episode (time), "
        "correlation (asset, asset), nu a scalar, after the batch dimensions of location if any",
        came,
        "with one asset give y[None], location[None] and correlation [[1.0]]; with one episode log_scale[None]",
        holds=all(least <= inputs[name].type.ndim <= least + batch for name, least in core.items()),
    )
    _require(
        asked,
        "episode holds integers, rows of log_scale",
        f"episode of type {inputs['episode'].type.dtype}",
        "number the episodes from 0",
        holds=inputs["episode"].type.dtype.startswith(("int", "uint")),
    )
    y, location, log_scale, episode, correlation = (inputs[name].type.shape for name in list(core)[:5])
    _require(
        asked,
        "y, location, log_scale and correlation have the same assets",
        came,
        "asset is the first axis of y and location, the second of log_scale, and both of correlation",
        holds=_agree(y[-2], location[-3], log_scale[-2], *correlation[-2:]),
    )
    _require(
        asked,
        "y, location and episode have one length in time; location and log_scale have the same regimes",
        came,
        "align them on the rows of the panel; time is the last axis of location, regime that of log_scale",
        holds=_agree(y[-1], location[-1], episode[-1]) and _agree(location[-2], log_scale[-1]),
    )
