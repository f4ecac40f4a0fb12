"""Images: reading and writing them, colour, metrics, compression and denoising at many ranks."""
