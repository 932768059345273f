"""The workspace: one git repository whose tree is the only source.

`lib.workspace.workspace.Workspace` is the way in; `lib.workspace.registry`
reads the workers of a commit. The layers, from the bottom:

```
deny_list, git_paths      which names may be kept at all
tree_objects, commit_objects, deltas, packs    git's bytes
object_store, object_cache, ref, locks, durable, repository, pack_merge   what lies under `.git`
tree_view, tree_edits     reading and changing a tree by id
folder, scan, stat_cache, materialised, write_out   the folder beside it
draft, committer, reload, seed   one commit path, and what uses it
bundles, workspace, registry     the public entries
```
"""
