"""Precision of float32 products and convolutions: in programs as they are lowered, and in metrics of bfloat16 runs."""

import dataclasses
import json
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from stylegen import ops, sampling
from stylegen.config import Config
from stylegen.config_json import differences, from_json, to_json
from stylegen.convolution import tracing_for, trilinear_convolve
from stylegen.evaluation import evaluate_run, generated_set, metric_names
from stylegen.evaluation.measure import Result
from stylegen.evaluation.measure_ppl import measure_ppl
from stylegen.export import stablehlo
from stylegen.metrics import extractors
from stylegen.networks.build import build_networks
from stylegen.networks.generator import in_float32
from stylegen.networks.layers import EqualConv, Initializer
from stylegen.networks.stylegan2 import ModulatedConv, NoisyActivation
from stylegen.projection import descent, search
from stylegen.projection import loss as projection_loss
from stylegen.runtime import compilation, sharding
from stylegen.sampling import programs
from stylegen.training import losses
from stylegen.training.regularization import regularization_steps
from stylegen.training.state import abstract_state
from stylegen.training.step import StepConfig, jit_step, train_step
from tests.support.marks import slow_but
from tests.support.reference import Reference
from tests.support.stepping import make_static
from tests.training.test_stylegan2 import make_config

OPERATION = re.compile(r"stablehlo\.(?:convolution|dot_general|dot)\b.*")


@pytest.fixture(autouse=True)
def _the_precision_of_jax_itself():
    """Undo what conftest says for all other tests."""
    with jax.default_matmul_precision("default"):
        yield


def precisions(text, dtype="f32"):
    """The precisions of all products and convolutions of a dtype in a lowered program."""
    result = set()
    for line in OPERATION.findall(text):
        operands = re.search(r": \(tensor<([\w?]+)>, tensor<([\w?]+)>\) ->", line)
        assert operands, line
        if dtype in [operand.split("x")[-1] for operand in operands.groups()]:
            result.add(tuple(re.findall(r"\b(DEFAULT|HIGH|HIGHEST)\b", line)) or ("DEFAULT", "DEFAULT"))
    return result


def lowered_steps(config):
    """The training step and the lazy steps of a configuration, as text, by name."""
    mesh = sharding.make_mesh(config)
    placement = sharding.replicated(mesh), sharding.split_batch(mesh)
    static = StepConfig(config, build_networks(config), sharding.split_latents(mesh))
    images = jax.ShapeDtypeStruct((4, *[config.schedule.start_resolution] * 2, config.image_channels), jnp.uint8)
    labels, scalar = jax.ShapeDtypeStruct((4,), jnp.int32), jax.ShapeDtypeStruct((), jnp.float32)
    steps = {"train": train_step} | {name: step for name, (step, _) in regularization_steps(config).items()}
    arguments = abstract_state(config), images, labels, scalar, scalar
    return {name: jit_step(step, static, *placement).lower(*arguments).as_text() for name, step in steps.items()}


@pytest.mark.parametrize(
    ("variant", "platform"),
    slow_but(
        [(name, "cpu") for name in ("logistic", "relativistic lazy", "wgan_gp", "ada", "bfloat16", "demod")]
        + [("logistic", "gpu"), ("demod", "gpu")],
        [("logistic", "cpu"), ("demod", "gpu")],
    ),
)
def test_every_product_and_convolution_of_a_step_has_the_precision_asked_for(variant, platform):
    """In forward passes, gradients, and gradients of gradients, with the forms of both kinds of platforms."""
    config = make_config() if variant == "demod" else make_static(variant).config
    config = dataclasses.replace(config, run=dataclasses.replace(config.run, devices=1))
    steps = {"demod": 3, "relativistic lazy": 2}.get(variant, 1)
    with tracing_for(platform):
        exact = lowered_steps(config)
        assert len(exact) == steps
        for name, text in exact.items():
            assert precisions(text) == {("HIGHEST", "HIGHEST")}, name
        if variant == "logistic" and platform == "cpu":
            fast = lowered_steps(dataclasses.replace(config, precision="default"))
            assert precisions(fast["train"]) == {("DEFAULT", "DEFAULT")}
    if variant == "bfloat16":
        assert precisions(exact["train"], "bf16")


def test_rules_of_the_convolution_keep_the_precision_in_second_order():
    def twice(x, weight):
        def score(x):
            return jnp.sum(trilinear_convolve(x, weight, 2, ((1, 1), (1, 1))) ** 2)

        return jnp.sum(jax.grad(score)(x) ** 2)

    x, weight = jnp.ones((1, 8, 8, 2)), jnp.ones((4, 4, 2, 3))
    for name, precision in (("HIGHEST", "highest"), ("DEFAULT", "default")):
        program = jax.jit(compilation.at_precision(precision)(jax.grad(twice, argnums=(0, 1))))
        text = program.lower(x, weight).as_text()
        assert len(OPERATION.findall(text)) > 3 and precisions(text) == {(name, name)}


def test_a_jitted_function_has_a_program_for_each_precision():
    product = compilation.jit()(lambda x: x @ x)
    names = {"highest": "HIGHEST", "default": "DEFAULT", None: "DEFAULT"}
    for precision, name in names.items():
        assert precisions(product.at(precision).lower(jnp.ones((2, 2))).as_text()) == {(name, name)}
    assert product.jitted is product.at("highest")
    with jax.default_matmul_precision("highest"):  # None leaves it to JAX's own settings
        assert precisions(product.at(None).lower(jnp.ones((2, 2))).as_text()) == {("HIGHEST", "HIGHEST")}


def of_precision(G, precision):
    return dataclasses.replace(G, config=dataclasses.replace(G.config, precision=precision))


@pytest.fixture
def lowered(monkeypatch):
    """Precisions of the programs that are called meanwhile."""
    result, jit = set(), jax.jit

    def recording(function, **options):
        jitted = jit(function, **options)

        def call(*args, **kwargs):
            result.update(precisions(jitted.lower(*args, **kwargs).as_text()))
            return jitted(*args, **kwargs)

        return call

    monkeypatch.setattr(jax, "jit", recording)
    return result


def test_sampling_has_the_precision_of_the_generator(make_generator, lowered, monkeypatch):
    for program in (programs.map_latents, programs.draw):
        monkeypatch.setattr(program, "_compiled", {})
    for precision, name in (("default", "DEFAULT"), ("highest", "HIGHEST")):
        lowered.clear()
        sampling.sample(of_precision(make_generator(), precision), [1])
        assert lowered == {(name, name)}


def test_projection_is_exact(make_generator, lowered, monkeypatch):
    for program in (
        descent._step,
        descent._goal,
        descent._styles_of,
        programs.map_latents,
        programs.draw,
    ):
        monkeypatch.setattr(program, "_compiled", {})
    G = of_precision(make_generator(block="demod"), "default")
    options = search.Options(space="z", steps=1, candidates=2)
    distance = extractors.open_distance("random_vgg")
    search.project(G, np.zeros((1, 16, 16, 3), np.uint8), options, distance=distance)
    assert lowered == {("HIGHEST", "HIGHEST")}


def test_exported_programs_are_exact(make_generator):
    text = stablehlo.sampler(of_precision(make_generator(), "default")).mlir_module()
    assert precisions(text) == {("HIGHEST", "HIGHEST")}


def test_bfloat16_images_are_those_of_float32_to_its_resolution():
    """Features that are 1 and a little noise, as those of the first block, would lose the noise."""
    ref = Reference("stylegan1_32")
    images = {}
    for dtype in ("float32", "bfloat16"):
        networks = build_networks(dataclasses.replace(ref.config, compute_dtype=dtype))
        g = networks.generator(ref.params(ref.generator_paths()), ref.noise_const())
        images[dtype] = np.asarray(jax.jit(lambda ws, g=g: g.synthesis(ws, resolution=32))(ref["out/dlatents"]))
    difference = np.linalg.norm(images["bfloat16"] - images["float32"]) / np.linalg.norm(images["float32"])
    assert 1e-3 < difference < 0.04


@pytest.mark.slow
def test_bfloat16_gradients_are_those_of_float32_to_its_resolution():
    """The gradient of a bias is a sum over images and pixels; bfloat16 numbers must not be summed in bfloat16."""
    ref = Reference("stylegan1_32")
    reals, fakes = ops.to_float(ref.images("in/lod0/reals_uint8")), jnp.asarray(ref.images("out/lod0/images"))
    gradients = {}
    for dtype in ("float32", "bfloat16"):
        networks = build_networks(dataclasses.replace(ref.config, compute_dtype=dtype))

        def loss(d, networks=networks):
            score = networks.discriminator(d)
            return jnp.mean(losses.logistic_discriminator(score(reals), score(fakes)))

        leaves = jax.tree.leaves(jax.jit(jax.grad(loss))(ref.params(ref.discriminator_paths())))
        gradients[dtype] = np.concatenate([np.ravel(leaf) for leaf in leaves])
    difference = np.linalg.norm(gradients["bfloat16"] - gradients["float32"]) / np.linalg.norm(gradients["float32"])
    assert 1e-3 < difference < 0.08


@pytest.mark.parametrize(
    "layer",
    [
        lambda init: EqualConv(3, 2, dtype="bfloat16", init=init),
        lambda init: ModulatedConv(3, 2, w_dim=4, demodulate=False, dtype="bfloat16", init=init),
        lambda init: NoisyActivation(3, 64, init=init),
    ],
)
def test_the_gradient_of_a_bias_is_a_sum_in_float32(layer):
    """A sum of ones in bfloat16 ends at 256."""
    structure, params, rest = nnx.split(layer(Initializer(0)), nnx.Param, ...)
    x, extra = jnp.ones((4, 64, 64, 3), jnp.bfloat16), jnp.zeros((4, 4))

    @jax.jit
    @jax.grad
    def gradient(params):
        module = nnx.merge(structure, params, rest)
        second = {EqualConv: (), NoisyActivation: (None,)}.get(type(module), (extra,))
        return jnp.sum(module(x, *second).astype(jnp.float32))

    slope = math.sqrt(2) if type(layer(Initializer(0))) is NoisyActivation else 1.0
    np.testing.assert_allclose(gradient(params)["bias"][...], 4 * 64 * 64 * slope, rtol=5e-3)


def in_bfloat16(G):
    config = dataclasses.replace(G.config, compute_dtype="bfloat16", precision="default")
    return dataclasses.replace(G, config=config)


@pytest.mark.parametrize("block", slow_but(["adain", "demod"], ["adain"]))
def test_metrics_are_those_of_float32_whatever_the_run_computes_in(block, make_generator, narrow_vgg):
    G = make_generator(block=block)
    low = in_bfloat16(G)
    assert (sampling.sample(low, range(4)) != sampling.sample(G, range(4))).any()
    restored = in_float32(low)
    assert restored.config == G.config and restored.params is low.params
    sets = [generated_set.GeneratedSet(x, generated_set.Drawing()) for x in (G, low)]
    images = [np.asarray(generated.read(np.arange(4))) for generated in sets]
    np.testing.assert_array_equal(*images)
    assert {"compute_dtype": "float32", "precision": "highest"}.items() <= sets[1].provenance.items()
    # A step of 1e-4 is below bfloat16's resolution: drawn in bfloat16 these lengths are hundreds of times as great.
    distance = extractors.open_distance("random_vgg")
    for metric in metric_names.parse_list("ppl16_zfull,ppl16_wend"):
        results = [measure_ppl(metric, x, distance) for x in (G, low)]
        assert results[1].value == results[0].value > 0
        assert {"compute_dtype": "float32", "precision": "highest"}.items() <= results[1].provenance["fakes"].items()


def test_projection_of_a_bfloat16_run_is_that_of_float32(make_generator):
    options = search.Options(
        space="w", steps=3, candidates=8, weights=projection_loss.Weights(perceptual=0.0, scales=1)
    )
    G = make_generator()
    targets = sampling.sample(G, [7])
    exact, low = (search.project(x, targets, options).projection for x in (G, in_bfloat16(G)))
    np.testing.assert_array_equal(exact.ws, low.ws)
    assert exact.generators == low.generators


def test_values_of_another_precision_are_not_mixed(tmp_path):
    metric = {"metric": {"name": "ppl16_zend"}, "distance": {"distance": "x"}}
    before = Result("ppl16_zend", 20_000.0, {**metric, "fakes": {"count": 16}})
    exact = {"count": 16, "compute_dtype": "float32", "precision": "highest"}
    for result in (before, Result("ppl16_zend", 37.5, {**metric, "fakes": exact})):
        evaluate_run.record(tmp_path, 1000, [result])
    lines = evaluate_run.read_record(evaluate_run.record_path(tmp_path, "ppl16_zend"))
    assert [line["value"] for line in lines] == [20_000.0, 37.5]
    assert len({evaluate_run.protocol(line["provenance"]) for line in lines}) == 2


def test_runs_of_before_there_was_a_precision_resume():
    tree = json.loads(to_json(Config()))
    del tree["precision"]
    old = from_json(json.dumps(tree))
    assert old == Config()
    assert differences(old, Config()) == differences(old, Config(precision="default")) == []
