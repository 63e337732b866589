"""Hand-made features of a grey image, texture and intensity, and a random forest on them."""
