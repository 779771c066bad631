"""The networks: layers, blocks, generator, discriminator."""
