"""Mirror of hep2gan.api."""
