"""A worker's manifest: its models, its loader and its published schema.

`lib.manifest.loader.load_manifest` turns the bytes of a `worker.yml` into a
`lib.manifest.models.Manifest` and a list of `lib.manifest.report.Problem`.
"""
