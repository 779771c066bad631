"""The command ``stylegen VERB``: the same verbs as the scripts at the top of the repository."""

import importlib
import sys

from stylegen.io import signals
from stylegen.io.tables import table
from stylegen.version import version

VERBS = {
    "train": "train a generator, or resume a run",
    "sample": "draw images, style mixing and videos with a trained generator",
    "project": "find the styles with which a trained generator draws your image",
    "edit": "find directions in which images change, and move images along them",
    "explore": "look around in a trained generator with a browser",
    "evaluate": "measure FID, KID, precision and recall, SWD and the like of a run or of two sets of images",
    "convert": "turn NVIDIA's pickles into runs, and export generators",
    "stylize": "give images or a video the style of others",
    "train_style": "train the networks of stylize",
    "prepare": "bring LSUN, CIFAR-10 or a folder of images into the form that training reads",
}


def command(*verb: str) -> int:
    """The entry point of a process: ``main`` with a verb before its own command line; the exit status."""
    status = main([*verb, *sys.argv[1:]])
    signals.to_default()
    return status


def main(argv: list[str] | None = None) -> int:
    """Call the verb named first with the rest of the command line; the exit status.

    Signals are recorded before anything slow is imported, so that none is lost or ends in a traceback of an import.
    """
    argv = sys.argv[1:] if argv is None else argv
    if argv and (name := argv[0].replace("-", "_")) in VERBS:
        with signals.stopping_at_checks():
            verb: int = importlib.import_module(f"stylegen.cli.{name}").main(argv[1:])
        return verb
    verbs = [{"verb": f"  {name}", "text": text} for name, text in VERBS.items()]
    listed = table(verbs, {"verb": ("", "<"), "text": ("", "<")}, header=False)
    usage = f"stylegen VERB ...\n\n{listed}\n\nstylegen VERB --help says more; stylegen --version."
    if argv and argv[0] in ("-h", "--help"):
        print(usage)
        return 0
    if argv and argv[0] == "--version":
        print(f"stylegen {version()}")
        return 0
    if argv:
        import difflib

        near = difflib.get_close_matches(argv[0].lower().replace("-", "_"), VERBS, n=1)
        print(f"error: there is no verb {argv[0]!r}{f'; perhaps {near[0]}' if near else ''}.", file=sys.stderr)
    print(usage, file=sys.stderr)
    return 2
