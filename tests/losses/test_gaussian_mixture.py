"""Eqs 6 and 7 against torch.distributions, by hand, and at their limits."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal
from torch.nn import functional as F

from hep2gan.errors import Hep2ganError
from hep2gan.losses.classification import GaussianMixtureLoss, GaussianMixtureSettings
from tests.helpers.schema import refusal_of_setting

K, D, N = 4, 5, 7
COVARIANCES = ["identity", "isotropic", "diagonal"]
COUNTS = [10, 20, 30, 40]


def mixture(covariance="identity", seed=0, **given):
    """Build a double-precision mixture whose means and variances are far from their start."""
    torch.manual_seed(seed)
    gm = GaussianMixtureLoss(K, D, covariance, mean_std=1.0, **given).double()
    if gm.free_log_variance is not None:
        torch.nn.init.normal_(gm.free_log_variance, std=1.5)
    return gm


def reference(gm, priors=None):
    """Give the same mixture as torch.distributions has it."""
    weights = torch.ones(K) if priors is None else torch.tensor(priors, dtype=torch.float64)
    # The bound, written out: s = 4 tanh(free / 4).
    free = gm.free_log_variance
    s = torch.zeros(K, D).double() if free is None else 4 * torch.tanh(free / 4).expand(K, D)
    components = Independent(Normal(gm.means, torch.exp(0.5 * s)), 1)
    return MixtureSameFamily(Categorical(weights.double()), components)


def posterior_logits(gm, features):
    """Logits, without margin, whose softmax is p(k | f), the fraction in eq. 6."""
    return gm.log_prior - 0.5 * gm.log_variance.sum(dim=1) - 0.5 * gm.distances(features)


def sample(seed=1):
    g = torch.Generator().manual_seed(seed)
    features = 2 * torch.randn(N, D, dtype=torch.float64, generator=g)
    return features, torch.randint(0, K, (N,), generator=g)


@pytest.mark.parametrize("covariance", COVARIANCES)
@pytest.mark.parametrize("counts", [None, COUNTS])
def test_loss_is_minus_the_log_posterior_of_torch_distributions(covariance, counts):
    priors = {"priors": "empirical", "class_counts": counts} if counts else {}
    gm, (features, labels) = mixture(covariance, **priors), sample()
    known = reference(gm, counts)
    components = known.component_distribution.log_prob(features[:, None])
    joint = components + known.mixture_distribution.logits
    posterior = joint - known.log_prob(features)[:, None]
    terms = gm(features, labels)
    assert list(terms) == ["gaussian_mixture", "likelihood"]
    own = posterior[range(N), labels]
    torch.testing.assert_close(terms["gaussian_mixture"], -own.mean(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(
        posterior_logits(gm, features).softmax(1), posterior.exp(), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_likelihood_is_minus_the_mean_log_density_less_its_constant(covariance):
    gm, (features, labels) = mixture(covariance), sample()
    density = reference(gm).component_distribution.log_prob(features[:, None])
    expected = -density[range(N), labels].mean() - D / 2 * math.log(2 * math.pi)
    torch.testing.assert_close(gm(features, labels)["likelihood"], expected)


def test_by_hand_in_two_dimensions():
    gm = GaussianMixtureLoss(2, 2)
    gm.means.data = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    features = torch.tensor([[1.0, 2.0]])
    torch.testing.assert_close(gm.distances(features), torch.tensor([[5.0, 8.0]]))
    terms = gm(features, torch.tensor([1]))
    assert terms["gaussian_mixture"].item() == pytest.approx(math.log(1 + math.exp(1.5)))
    assert terms["likelihood"].item() == pytest.approx(4.0)


def test_diagonal_by_hand():
    gm = GaussianMixtureLoss(2, 2, "diagonal").double()
    gm.means.data = torch.tensor([[0.0, 0.0], [3.0, 4.0]]).double()
    # tanh(free / 4) = ½, so that s = 2 for one dimension of class 1.
    gm.free_log_variance.data[1, 0] = 4 * math.atanh(0.5)
    features = torch.tensor([[1.0, 2.0]]).double()
    far = 4 * math.exp(-2) + 4
    torch.testing.assert_close(gm.distances(features), torch.tensor([[5.0, far]]).double())
    terms = gm(features, torch.tensor([1]))
    logits = [-2.5, -0.5 * 2 - 0.5 * far]
    expected = math.log(sum(map(math.exp, logits))) - logits[1]
    assert terms["gaussian_mixture"].item() == pytest.approx(expected)
    assert terms["likelihood"].item() == pytest.approx(0.5 * far + 0.5 * 2)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_identity_without_margin_is_the_nearest_mean_softmax(seed):
    gm, (features, labels) = mixture(seed=seed), sample(seed)
    distances = torch.cdist(features, gm.means.detach()) ** 2
    nearest = F.cross_entropy(-distances / 2, labels)
    torch.testing.assert_close(gm(features, labels)["gaussian_mixture"], nearest)
    assert torch.equal(posterior_logits(gm, features).argmax(1), distances.argmin(1))


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_margin_widens_the_own_distance_and_only_while_training(covariance):
    gm, plain = mixture(covariance, margin=0.3), mixture(covariance)
    features, labels = sample()
    own = F.one_hot(labels, K)
    s = gm.log_variance.sum(1)
    logits = -0.5 * s - 0.5 * gm.distances(features) * (1 + 0.3 * own)
    trained = gm.train()(features, labels)
    torch.testing.assert_close(trained["gaussian_mixture"], F.cross_entropy(logits, labels))
    assert trained["gaussian_mixture"] > plain(features, labels)["gaussian_mixture"]
    # Neither the likelihood nor anything in evaluation knows of the margin.
    torch.testing.assert_close(trained["likelihood"], plain(features, labels)["likelihood"])
    torch.testing.assert_close(gm.eval()(features, labels), plain(features, labels))
    torch.testing.assert_close(posterior_logits(gm, features), posterior_logits(plain, features))


@pytest.mark.parametrize(
    ("margin", "epochs", "expected"),
    [
        (0.2, 0, {0: 0.2, 1: 0.2, 100: 0.2}),
        (0, 10, {5: 0}),
        ([0.1, 0.3], 10, {0: 0.1, 1: 0.12, 5: 0.2, 10: 0.3, 11: 0.3}),
    ],
)
def test_margin_is_constant_or_a_straight_line_that_stays_at_its_end(margin, epochs, expected):
    gm, (features, labels) = mixture(margin=margin, margin_epochs=epochs), sample()
    assert gm.margin == pytest.approx(expected.get(0, margin))
    for epoch, value in expected.items():
        gm.set_epoch(epoch)
        assert gm.margin == pytest.approx(value)
        fixed = mixture(margin=value)
        torch.testing.assert_close(gm(features, labels), fixed(features, labels))


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("margin", -0.1, "two of them, [start,end]"),
        ("margin", [0.1, -0.3], "a number of 0 or more"),
        ("margin", [0.1, 0.2, 0.3], "two of them, [start,end]"),
        ("margin", [], "two of them, [start,end]"),
        ("margin", math.nan, "a number of 0 or more"),
        ("covariance", "full", "one of identity, isotropic, diagonal"),
        ("priors", "flat", "one of uniform, empirical"),
    ],
)
def test_wrong_settings_are_refused(key, value, rule):
    assert rule in refusal_of_setting(GaussianMixtureSettings, key, value)


def test_a_ramp_over_no_epochs_is_refused():
    with pytest.raises(Hep2ganError, match="ramped over 0 epochs: a ramp needs at least 1"):
        mixture(margin=[0.1, 0.3])


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_gradcheck_in_features_means_and_variances(covariance):
    gm, (features, labels) = mixture(covariance, margin=0.2), sample()
    names = [name for name, _ in gm.named_parameters()]

    def total(features, *values):
        with_values = dict(zip(names, values, strict=True))
        terms = torch.func.functional_call(gm, with_values, (features, labels))
        return terms["gaussian_mixture"] + 0.01 * terms["likelihood"]

    given = [p.detach().clone().requires_grad_() for p in gm.parameters()]
    assert torch.autograd.gradcheck(total, (features.requires_grad_(), *given))


def test_parameters_are_those_of_the_covariance():
    shapes = {c: {n: tuple(p.shape) for n, p in mixture(c).named_parameters()} for c in COVARIANCES}
    assert shapes == {
        "identity": {"means": (K, D)},
        "isotropic": {"means": (K, D), "free_log_variance": (K, 1)},
        "diagonal": {"means": (K, D), "free_log_variance": (K, D)},
    }


def test_starts_near_log_k_on_full_size_features():
    """With means ~ N(0, 1) it would start near 60."""
    torch.manual_seed(0)
    gm = GaussianMixtureLoss(6, 2048)
    assert gm.means.std().item() == pytest.approx(0.01, rel=0.05)
    features, labels = torch.rand(16, 2048), torch.arange(16) % 6
    assert gm(features, labels)["gaussian_mixture"].item() == pytest.approx(math.log(6), abs=0.1)


def test_a_new_mixture_has_unit_variances():
    for covariance in COVARIANCES:
        s = GaussianMixtureLoss(K, D, covariance).log_variance
        torch.testing.assert_close(s.detach(), torch.zeros(K, D))


@pytest.mark.parametrize("covariance", ["isotropic", "diagonal"])
def test_log_variance_stays_bounded_where_the_likelihood_has_no_minimum(covariance):
    """Features that sit on their means: without the bound, log-variance falls for ever."""
    gm = mixture(covariance)
    features, labels = gm.means.detach().clone(), torch.arange(K)
    optimizer = torch.optim.Adam([gm.free_log_variance], lr=1.0)
    for _ in range(200):
        optimizer.zero_grad()
        gm(features, labels)["likelihood"].backward()
        optimizer.step()
    assert gm.log_variance.shape == (K, D)
    assert (gm.log_variance >= -4).all()
    assert (gm.log_variance < -3.99).all()


def test_bound_is_smooth_and_free_near_zero():
    gm = GaussianMixtureLoss(1, 3, "diagonal").double()
    gm.free_log_variance.data = torch.tensor([[0.01, 3.0, -100.0]]).double()
    expected = torch.tensor([[0.01, 4 * math.tanh(0.75), -4.0]]).double()
    torch.testing.assert_close(gm.log_variance.detach(), expected, rtol=1e-4, atol=1e-7)
    gm.log_variance[0, 1].backward()
    assert gm.free_log_variance.grad[0, 1] > 0.3


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_float32_under_autocast(covariance):
    gm, (features, labels) = mixture(covariance).float(), sample()
    half = features.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        terms, distances = gm(half, labels), gm.distances(half)
    assert {v.dtype for v in [*terms.values(), distances]} == {torch.float32}
    # The same to the last bit as without autocast: nothing inside was rounded.
    assert all(torch.equal(terms[name], value) for name, value in gm(half, labels).items())
    torch.testing.assert_close(terms, gm(half.float(), labels))


def test_a_mixture_in_bfloat16_still_computes_in_float32():
    gm, (features, labels) = mixture("diagonal").bfloat16(), sample()
    terms = gm(features.bfloat16(), labels)
    assert {value.dtype for value in terms.values()} == {torch.float32}
    torch.testing.assert_close(terms, gm.float()(features.bfloat16().float(), labels))


def test_uniform_priors_are_one_over_k():
    torch.testing.assert_close(GaussianMixtureLoss(K, D).log_prior.exp(), torch.full((K,), 1 / K))


def test_likelihood_does_not_grow_with_the_batch():
    gm, (features, labels) = mixture("diagonal"), sample()
    torch.testing.assert_close(gm(features.repeat(3, 1), labels.repeat(3)), gm(features, labels))


def test_empirical_priors_come_later_and_travel_with_the_weights():
    gm, (features, labels) = mixture(priors="empirical"), sample()
    with pytest.raises(Hep2ganError, match="empirical priors have no class counts"):
        gm(features, labels)
    gm.set_class_counts(COUNTS)
    expected = torch.tensor([0.1, 0.2, 0.3, 0.4]).double()
    torch.testing.assert_close(gm.log_prior.exp(), expected)
    loaded = mixture(priors="empirical", seed=5)
    loaded.load_state_dict(gm.state_dict())
    torch.testing.assert_close(loaded.eval()(features, labels), gm(features, labels))


def test_wrong_counts_and_shapes_are_refused():
    features, labels = sample()
    refused = {
        "must be 4 positive numbers": lambda: mixture(
            priors="empirical", class_counts=[1, 2, 0, 4]
        ),
        r"class counts are \[1, 2\]": lambda: mixture(priors="empirical", class_counts=[1, 2]),
        "they are for priors=empirical": lambda: mixture(class_counts=COUNTS),
        r"features are \(7, 4\).*\(N, 5\)": lambda: mixture().distances(features[:, :4]),
        r"features are \(7,\)": lambda: mixture()(features[:, 0], labels),
        r"labels are torch.int32 \(7,\)": lambda: mixture()(features, labels.int()),
        r"labels are torch.int64 \(3,\)": lambda: mixture()(features, labels[:3]),
    }
    for message, call in refused.items():
        with pytest.raises(Hep2ganError, match=message):
            call()
