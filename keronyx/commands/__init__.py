"""What a user can ask for, one file a command; `keronyx/cli.py` registers them. Heavy imports are inside functions."""
