"""What happens around a training step: Lightning callbacks, one a file."""
