"""Which Keras layer does an ONNX file compute wrong? Every layer is looked at by itself.

The file's nodes are run one by one. As soon as a tensor is recognised as the output of a Keras layer, the oracle's
value, rounded, takes its place; so each layer gets exact inputs, an error shows in the layer that makes it and in no
later one, and a network that chooses by comparison cannot multiply it. `calls` is the Keras side, `oracle` its values,
`nodes` the ONNX side, `match` tells whether two tensors are the same, `walk` goes through the file, `blame` names the
layer, `optimized` finds what ONNX Runtime's own graph optimizers spoil, `child` is the process that does all this.
"""
