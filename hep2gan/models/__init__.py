"""Generator, discriminator and classifier: plain torch modules, nothing of training in them."""
