"""The web kernel: what every endpoint has in common.

A resource's responder is declared with `operation`, reads a `Call` and returns
a model; `create_app` puts one gate in front of all of them. Nothing here knows
a handler or a store.
"""
