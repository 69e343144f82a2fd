"""How the lung finder for radiographs (`embed/film_lungs.onnx`) is made: its films, its network, its training, its card."""
