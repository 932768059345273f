"""Environments: the packages that workers declare, installed once and shared read-only.

    Environments.prepare(recipe)        what a run asks for; one build for all that ask at once
      EnvironmentStore                  folders by content hash: locks, leases, leftovers, eviction
      Build                             one installation: its thread, its log, its outcome
        installers                      what uv or npm is started with
        installer_process               the server's side of ...
        supervisor                      ... the process that confines the installer and ends it
          gateway                       the only network that a confined installer has

Recipes are read from a worker's files by `requirements_file` and `package_file`,
which refuse whatever could reach beyond the server's own package index.
"""
