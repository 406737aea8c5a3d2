"""`python -m backend.training PART …`: draw data and train one part of the built-in model."""

import argparse
import importlib

from protocol.errors import LikenessError

from .options import PARTS, check


def main(argv: list[str] | None = None) -> int:
    """Run one part; 0 when done, 2 with one sentence when what was asked for cannot be done."""
    import sys

    arguments = sys.argv[1:] if argv is None else argv
    chooser = argparse.ArgumentParser(prog="python -m backend.training", description="Draw data and train one part of the built-in model.")
    chooser.add_argument("part", choices=[name for name, (modules, _) in PARTS.items() if " " not in modules])
    part: str = chooser.parse_args(arguments[:1]).part
    module = importlib.import_module(f".{PARTS[part][0]}", __package__)
    parser = argparse.ArgumentParser(prog=f"python -m backend.training {part}", description=module.__doc__)
    module.add_arguments(parser)
    try:
        chosen = parser.parse_args(arguments[1:])
        check(chosen)
        module.run(chosen)
    except LikenessError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
