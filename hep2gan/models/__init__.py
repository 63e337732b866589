"""Generator, discriminator and classifier: plain torch modules, independent of training."""
