"""A short search for images, and how near it came."""

import numpy as np

import stylegen
from stylegen.projection import (
    result as projected,
)
from stylegen.projection.search import Options, Weights, project

PIXELS = Weights(perceptual=0.0, scales=1)
FAST = Options(space="w", steps=40, candidates=50, batch=2, weights=PIXELS)


def recovered(G, seeds, options) -> tuple[np.ndarray, np.ndarray]:
    """Project what the generator draws: distance of each w from the true one, in mean distances, and PSNR."""
    truth = stylegen.styles(G, stylegen.latents(seeds, G.z_dim))
    images = stylegen.synthesize(G, truth)
    projection = project(G, images, options).projection
    random = stylegen.styles(G, stylegen.latents(range(5000, 6000), G.z_dim))[:, 0]
    mean = np.linalg.norm(random[:500] - random[500:], axis=1).mean()
    distance = np.linalg.norm(projection.ws[:, 0] - truth[:, 0], axis=1) / mean
    return distance, projected.psnr(projected.draw(G, projection), images)


def psnr_of(G, projection, images) -> np.ndarray:
    return projected.psnr(projected.draw(G, projection), images)
