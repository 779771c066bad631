"""Generators and style-transfer networks as ONNX: our own converter from JAX's intermediate form, the jaxpr.

``networks`` is the entry. It traces a function for a symbolic batch, ``convert`` walks through the jaxpr, ``rules``
has a function for each of JAX's primitives that our networks use, and ``graph`` collects nodes and weights.
"""
