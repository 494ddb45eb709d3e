"""Models written by Keras 1 and 2: their configurations and weights as Keras 3 reads them.

`config.modern` translates a configuration; `weights.load` fills a model from the old HDF5 layout. What Keras 3 has no
equal of is refused with the layer's name, never dropped.
"""
