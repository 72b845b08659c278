"""W&B's own command, which ends when its standard input ends: so it never outlives the process that started it.

`python -P wandb_command.py sync FOLDER` is `wandb sync FOLDER`.
"""

import os
import threading


def main() -> None:
    """Run the command; end at once, without success, when the input ends."""
    from wandb.cli.cli import cli

    threading.Thread(target=_end_with_the_input, daemon=True).start()
    cli(prog_name="wandb")


def _end_with_the_input() -> None:
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    main()
