"""Launcher for a checkout: `python cli.py export unet` works from any folder."""

from keronyx.cli import main

if __name__ == "__main__":
    main()
