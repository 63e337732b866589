"""Numbers that describe a grey image without learning: texture and intensity, plain numpy."""
