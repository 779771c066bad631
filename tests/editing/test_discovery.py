"""Directions in the space of styles: against what is known of made-up spaces, and what is refused."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

import stylegen
from stylegen import sampling
from stylegen.editing import directions, discovery
from stylegen.editing.directions import Direction, Directions, EditError
from stylegen.networks.build import build_networks

LAYERS = (0, 1)


@pytest.fixture(scope="module")
def G(make_generator):
    return make_generator()


def stretched(n: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """w [n, 6] of deviations 5, 3, 1, 1, 1, 1 along the columns of a rotation, and the rotation."""
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    return (rng.standard_normal((n, 6)) * [5, 3, 1, 1, 1, 1]) @ rotation.T + 7, rotation


def test_principal_components_are_found_in_order_and_to_scale():
    w, rotation = stretched()
    first, second = discovery.principal_components(w, 2, LAYERS)
    for direction, axis, std in ((first, rotation[:, 0], 5), (second, rotation[:, 1], 3)):
        assert np.linalg.norm(direction.vector) == pytest.approx(std, rel=0.05)
        assert abs(direction.vector @ axis) == pytest.approx(std, rel=0.05)
        assert direction.vector[np.argmax(np.abs(direction.vector))] > 0, "the sign is fixed"
    assert [d.name for d in (first, second)] == ["pca0", "pca1"] and first.layers == LAYERS
    assert first.about["share_of_variance"] == pytest.approx(25 / 38, rel=0.1)


def test_the_affine_is_what_the_network_applies(G):
    network = build_networks(G.config).generator(G.params, G.noise_const).synthesis
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 1, G.w_dim)).astype(np.float32)
    for layer in range(G.num_ws):
        block = network.blocks[f"b{4 * 2 ** (layer // 2)}"]
        affine = (block.act1 if layer % 2 else block.act0).adain.affine
        change = np.asarray(affine(jnp.asarray(a)) - affine(jnp.asarray(b)))
        np.testing.assert_allclose((a - b) @ discovery.style_affine(G, layer), change, rtol=1e-4, atol=1e-5)


def test_the_affines_of_stylegan2_are_those_that_a_layer_feeds(make_generator):
    G = make_generator(block="demod")
    blocks = build_networks(G.config).generator(G.params, G.noise_const).synthesis.blocks
    feeds = [[blocks.b4.conv1], [blocks.b4.torgb, blocks.b8.conv0], [blocks.b8.conv1]]
    feeds += [[blocks.b8.torgb, blocks.b16.conv0], [blocks.b16.conv1], [blocks.b16.torgb]]
    w = np.random.default_rng(0).standard_normal((1, G.w_dim)).astype(np.float32)
    for layer, convolutions in enumerate(feeds):
        zero = jnp.zeros((1, G.w_dim))
        styles = [conv.affine(jnp.asarray(w)) - conv.affine(zero) for conv in convolutions]
        applied = w @ discovery.style_affine(G, layer)
        np.testing.assert_allclose(applied, np.concatenate(styles, axis=1), rtol=1e-4, atol=1e-5)


def test_factorized_directions_change_the_styles_most(G):
    w = sampling.sample_w(G, 500)
    factors = discovery.factorized(G, w, 3, LAYERS)
    affine = np.concatenate([discovery.style_affine(G, layer) for layer in LAYERS], axis=1)

    def change(vector: np.ndarray) -> float:
        return float(np.linalg.norm(vector / np.linalg.norm(vector) @ affine))

    changes = [change(direction.vector) for direction in factors]
    assert changes == sorted(changes, reverse=True)
    random = np.random.default_rng(1).standard_normal((200, G.w_dim))
    assert changes[0] > max(map(change, random))
    assert changes[0] == pytest.approx(np.linalg.svd(affine, compute_uv=False)[0], rel=1e-4)
    assert factors[0].about["eigenvalue"] == pytest.approx(changes[0] ** 2, rel=1e-4)
    other = discovery.factorized(G, w, 1, (4, 5))[0]
    assert abs(np.dot(other.vector, factors[0].vector)) < 0.9 * np.linalg.norm(other.vector) * np.linalg.norm(
        factors[0].vector
    )


@pytest.mark.parametrize("binary", [True, False])
def test_a_probe_finds_the_direction_of_an_attribute(binary):
    w, rotation = stretched()
    score = (w - 7) @ rotation[:, 2]  # a direction of little variance, which no principal component shows
    probe = discovery.attribute_direction(w, score > 0.3 if binary else 4 * score + 1, LAYERS, "lamp")
    unit = probe.direction.vector / np.linalg.norm(probe.direction.vector)
    assert unit @ rotation[:, 2] > 0.98
    assert probe.quality > 0.97 and probe.kind == ("accuracy" if binary else "R²")
    noise = discovery.attribute_direction(w, np.random.default_rng(3).random(len(w)) > 0.5, LAYERS, "nothing")
    assert noise.quality < 0.6, "nothing can be told of what is random, on samples that were left out"


@pytest.mark.parametrize(
    "scores, words",
    [
        (np.zeros(40), "all scores are 0"),
        (np.arange(39), "39 scores for 40 styles"),
        (np.full(40, np.nan), "not finite"),
        (
            np.where(np.arange(40) % 5, np.arange(40), 0.1),
            r"every 5th score judges .* all of these are 0\.1, so its R²",
        ),
    ],
)
def test_scores_that_say_nothing(scores, words):
    with pytest.raises(EditError, match=words):
        discovery.attribute_direction(np.ones((40, 4)), scores, LAYERS, "lamp")


def test_more_directions_than_there_are(G):
    w = sampling.sample_w(G, 50)
    for find in (
        lambda n: discovery.principal_components(w, n, LAYERS),
        lambda n: discovery.factorized(G, w, n, LAYERS),
    ):
        for count in (0, 17):
            with pytest.raises(EditError, match=f"{count} directions: there can be 1 to 16"):
                find(count)


def test_moving_adds_standard_deviations_to_the_layers_named(G):
    ws = stylegen.styles(G, stylegen.latents([1, 2], G.z_dim))
    direction = Direction("d", np.arange(16, dtype=np.float32), (1, 2))
    moved = directions.move(ws, direction, -1.5)
    expected = ws.copy()
    expected[:, 1:3] -= 1.5 * direction.vector
    np.testing.assert_array_equal(moved, expected)
    elsewhere = directions.move(ws, direction, -1.5, layers=[5])
    np.testing.assert_array_equal(elsewhere[:, :5], ws[:, :5])
    assert not np.array_equal(elsewhere[:, 5], ws[:, 5])
    with pytest.raises(EditError, match="layer 6 does not exist: there are 6, 0 to 5"):
        directions.move(ws, direction, 1, layers=[6])
    with pytest.raises(EditError, match="it has 16 numbers, w has 8"):
        directions.move(ws[..., :8], direction, 1)


def test_directions_are_kept_and_named(G, tmp_path):
    w = sampling.sample_w(G, 50)
    original = Directions(
        tuple(discovery.principal_components(w, 3, LAYERS)), stylegen.projection.result.fingerprint(G)
    )
    named = original.renamed("pca1", "light").renamed("2", "wall")
    directions.save(named, tmp_path / "d.npz")
    read = directions.load(tmp_path / "d.npz", G)
    assert [d.name for d in read.entries] == ["pca0", "light", "wall"]
    assert read.get("light").name == read.get("1").name == "light"
    np.testing.assert_array_equal(read.get("light").vector, original.entries[1].vector)
    assert read.get("wall").layers == LAYERS and read.get("wall").about["method"] == "pca"
    with pytest.raises(EditError, match=r"direction 'lamp': .* 0 pca0, 1 light, 2 wall"):
        read.get("lamp")
    with pytest.raises(EditError, match="there is a direction 'wall' already"):
        read.renamed("light", "wall")
    for wrong in ("", "7", "a b", "a/b"):
        with pytest.raises(EditError, match="is no name"):
            read.renamed("light", wrong)
    replaced = read.joined([dataclasses.replace(read.entries[1], layers=(5,))])
    assert len(replaced) == 3 and replaced.get("light").layers == (5,)


def test_directions_of_another_generator(G, make_generator, tmp_path):
    w = sampling.sample_w(G, 50)
    directions.save(Directions(tuple(discovery.principal_components(w, 1, LAYERS)), "another"), tmp_path / "d.npz")
    with pytest.raises(EditError, match="directions of another generator"):
        directions.load(tmp_path / "d.npz", G)
    (tmp_path / "text.npz").write_text("nothing")
    with pytest.raises(EditError, match="holds no directions"):
        directions.load(tmp_path / "text.npz")
    with pytest.raises(EditError, match="no directions there"):
        directions.load(tmp_path / "none.npz")


@pytest.mark.parametrize(
    "name, text",
    [
        ("a.csv", "seed,bed,lamp\n3,1,0.5\n42,0,2\n"),
        ("b.csv", "image,bed,lamp\nseed0003.png,1,0.5\nout/seed0042.png,0,2\n"),
        ("c.json", '[{"seed": 3, "bed": 1, "lamp": 0.5}, {"seed": 42, "bed": 0, "lamp": 2}]'),
        ("d.json", '{"3": {"bed": 1, "lamp": 0.5}, "seed0042.png": {"bed": 0, "lamp": 2}}'),
    ],
)
def test_tables_of_scores(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    seeds, table = discovery.read_scores(tmp_path / name)
    assert seeds == [3, 42] and list(table) == ["bed", "lamp"]
    assert table["bed"].tolist() == [1, 0] and table["lamp"].tolist() == [0.5, 2]


@pytest.mark.parametrize(
    "name, text, words",
    [
        ("a.csv", "seed,bed\n3,1\n4,much\n", "row 2 is"),
        ("a.csv", "photo,bed\n3,1\n", "needs a column seed or image"),
        ("a.csv", "seed\n3\n", "needs a column seed or image, and one of scores"),
        ("a.csv", "", "has no rows"),
        ("a.csv", "image,bed\nroom.png,1\n", "row 1 is"),
        ("a.json", "{", "neither a table of scores as CSV nor as JSON"),
        ("a.json", "3", "neither a table"),
        ("a.csv", "seed,bed,bed\n1,2,3\n", "two columns are named 'bed'"),
    ],
)
def test_tables_that_are_none(tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    with pytest.raises(EditError, match=words):
        discovery.read_scores(tmp_path / name)
    with pytest.raises(EditError, match="cannot be read"):
        discovery.read_scores(tmp_path / "none.csv")
