"""States to images: styles put together, drawn one image at a time, with nothing compiled anew while a slider moves."""

import functools
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from stylegen import sampling
from stylegen.editing import directions as editing
from stylegen.editing import discovery
from stylegen.editing.directions import Direction
from stylegen.explorer.state import Shape, State, decode, encode
from stylegen.export.web import page
from stylegen.networks.generator import Generator
from stylegen.networks.synthesis import NoiseMode
from stylegen.projection import result
from stylegen.projection.result import Projection
from stylegen.sampling import centers, programs

SEEDS_KEPT = 512  # styles and noise of seeds that are kept
W_SAMPLES = 2000  # of w, to find directions with
COMPONENTS, FACTORS = 6, 3  # directions that are found: of w, and of each group of layers
MUTATION = 0.15  # of children: share of the way to a random style, at most


class Engine:
    """Draws the images of states with one generator."""

    def __init__(self, G: Generator, directions: Sequence[Direction] | None = None) -> None:
        """Take a generator, and directions; None finds some.

        Raises:
            ExportError: its images are not square, or no colors.
        """
        page.check_shown(G)
        self.G = G
        found = find_directions(G) if directions is None else directions
        self.directions = {direction.name: direction for direction in found}
        self.shape = Shape.of(G, frozenset(self.directions))
        self._styles = functools.lru_cache(SEEDS_KEPT)(self._styles_of_seed)
        self._noise = functools.lru_cache(16)(self._noise_of_seed)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Of the generator."""
        return result.fingerprint(self.G)

    def about(self) -> dict[str, Any]:
        """What a page needs to know of the generator, for JSON."""
        G = self.G
        return {
            "name": repr(G),
            "fingerprint": self.fingerprint,
            "resolution": G.resolution,
            "channels": G.image_channels,
            "layers": G.num_ws,
            "classes": G.c_dim,
            "kimg": G.kimg,
            "noise": G.config.generator.use_noise,
            "directions": [{"name": d.name, "layers": list(d.layers)} for d in self.directions.values()],
        }

    def styles(self, state: State) -> np.ndarray:
        """The styles that a state's image is drawn from, [num_ws, w_dim]: mixed, truncated, moved."""
        G = self.G
        if state.ws is None:
            ws = np.array(self._styles(state.seed, state.label or 0, state.psi, state.cutoff))
        else:
            ws = self._truncated(decode(state.ws, "ws", (G.num_ws, G.w_dim)), state)
        for layer, source in state.mix.items():
            if isinstance(source, str):
                given = np.repeat(decode(source, "mix", (1, G.w_dim)), G.num_ws, axis=0)
                ws[layer] = self._truncated(given, state)[layer]
            else:
                ws[layer] = self._styles(source, state.label or 0, state.psi, state.cutoff)[layer]
        for name, strength in state.directions.items():
            ws = editing.move(ws, self.directions[name], strength)
        return ws

    def image(self, state: State) -> np.ndarray:
        """The image of a state, uint8 [r, r, C]: of a seed to the byte what ``stylegen.sample`` draws."""
        return self.draw(self.styles(state), state)

    def draw(self, ws: np.ndarray, state: State) -> np.ndarray:
        """The image of styles [num_ws, w_dim] with a state's noise, uint8 [r, r, C]."""
        mode, seeds = self._noise_mode(state)
        noise: Any = mode if mode != "given" else self.noise(state)[None]
        return sampling.synthesize(self.G, ws[None], noise=noise, noise_seeds=seeds)[0]

    def images(self, states: Sequence[State]) -> np.ndarray:
        """Images of several states in few batches, for thumbnails: uint8 [n, r, r, C]. Noise is the network's own."""
        return sampling.synthesize(self.G, np.stack([self.styles(state) for state in states]))

    def noise(self, state: State) -> np.ndarray:
        """The noise of a state's image, [num_noise]."""
        if state.noise == "none" or not self.G.config.generator.use_noise:
            return np.zeros(self.G.num_noise, np.float32)
        return self._noise(state.seed if state.noise == "random" else None) * np.float32(state.noise_strength)

    def is_plain(self, state: State) -> bool:
        """Whether a state's noise is the network's own, or there is none to be had."""
        return self._noise_mode(state)[0] == "const"

    def children(self, a: State, b: State, count: int, seed: int) -> list[State]:
        """Children of two images: each pair of layers comes from one of them, and moves a little way elsewhere.

        Args:
            a: one parent; classes and noise are its own.
            b: the other.
            count: of children.
            seed: other seeds give other children.
        """
        parents = np.stack([self.styles(a), self.styles(b)])
        rng = np.random.default_rng(seed)
        blocks = self.G.num_ws // 2
        states = []
        for _ in range(count):
            chosen = np.repeat(rng.integers(2, size=blocks), 2)
            ws = parents[chosen, np.arange(self.G.num_ws)]
            elsewhere = self._styles(int(rng.integers(2**32)), a.label or 0, 1.0, None)
            share = np.float32(MUTATION * rng.random())
            ws = ws + share * (elsewhere - ws)
            states.append(State(a.seed, a.label, encode(ws), 1.0, noise=a.noise, noise_strength=a.noise_strength))
        return states

    def projection(self, state: State) -> Projection:
        """The state as ``project`` writes projections, so that ``sample --from`` and ``edit --from`` take it."""
        noise = None if self.is_plain(state) else self.noise(state)[None]
        about = {"generator": f"{self.G.kimg:g} kimg", "state": state.to_json()}
        return Projection(self.styles(state)[None], ("explored",), (self.fingerprint,), noise=noise, about=about)

    def projection_file(self, state: State) -> bytes:
        """``projection`` as the bytes of an .npz file."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "explored.npz"
            result.save(self.projection(state), path)
            return path.read_bytes()

    def warm(self) -> None:
        """Compile what the first moves of a page need, by calling it."""
        self.image(State())
        self.images([State(seed=seed) for seed in range(sampling.default_batch(self.G.resolution))])
        if self.G.config.generator.use_noise:
            for mode in ("none", "random"):
                self.image(State(noise=mode))
            self.image(State(noise_strength=0.5))

    def _noise_mode(self, state: State) -> tuple[NoiseMode | Any, list[int] | None]:
        """The kind of noise as ``synthesize`` takes it, and seeds of random noise; given is what no kind of it is."""
        if not self.G.config.generator.use_noise or (state.noise == "const" and state.noise_strength == 1):
            return "const", None
        if state.noise == "none" or state.noise_strength == 0:
            return "none", None
        return ("random", [state.seed]) if state.noise == "random" and state.noise_strength == 1 else ("given", None)

    def _styles_of_seed(self, seed: int, label: int, psi: float, cutoff: int | None) -> np.ndarray:
        z = sampling.latents([seed], self.G.z_dim)
        labels = label if self.G.c_dim else None
        return sampling.styles(self.G, z, labels=labels, psi=psi, cutoff=cutoff)[0]

    def _noise_of_seed(self, seed: int | None) -> np.ndarray:
        if seed is None:
            return np.asarray(self.G.constant_noise())
        return np.asarray(_random_noise(jnp.asarray([seed], jnp.uint32), size=self.G.num_noise)[0])

    def _truncated(self, ws: np.ndarray, state: State) -> np.ndarray:
        """Given styles, truncated as those of seeds are. Numpy: nothing is compiled for it."""
        return centers.truncate(ws[None], np.asarray(self.G.w_avg)[None], state.psi, state.cutoff)[0]


_random_noise = jax.jit(programs.noise_from_seeds, static_argnames="size")


def find_directions(G: Generator) -> list[Direction]:
    """Principal components of w for all layers, and factorized affines of coarse, middle and fine layers apart."""
    w = sampling.sample_w(G, W_SAMPLES, labels=0 if G.c_dim else None)
    every = range(G.num_ws)
    found = discovery.principal_components(w, min(COMPONENTS, G.w_dim), every)
    third = max(2, G.num_ws // 3 // 2 * 2)
    groups = {"coarse": every[:third], "middle": every[third : 2 * third], "fine": every[2 * third :]}
    for name, layers in groups.items():
        if layers:
            found += discovery.factorized(G, w, min(FACTORS, G.w_dim), layers, name + " {}")
    return found
