"""keronyx: how fast does every runtime really run this Keras model, and does it still give the same answers?"""

__version__ = "0.1.0"
