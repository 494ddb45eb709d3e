"""The seed's networks and the data, metrics and training that serve them.

`names` lists and parses what a user may type, `networks` builds a Keras model from it, `scenes` draws road scenes to
feed it. Importing this package imports none of them.
"""
