"""The `likeness` command: one small module per sub-command, each with `add_arguments(parser)` and `run(options, settings)`.

Nothing here imports numpy, Pillow or torch at the top, so that `likeness --help` answers at once.
"""
