"""``precheck-worker``, which ``python -m worker`` is as well."""

from worker.signals import end_when_told


def main() -> None:
    """Run the command line and leave with its exit code."""
    end_when_told()
    try:
        # Here and not above: loading the parts takes half a second, in which somebody may think better of it.
        from worker.cli import main as run
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    run()


if __name__ == "__main__":
    main()
