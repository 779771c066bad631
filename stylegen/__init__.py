"""stylegen: a StyleGAN in JAX to train, sample, explore and build on."""
