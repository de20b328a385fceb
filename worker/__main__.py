"""``precheck-worker``, which ``python -m worker`` is as well."""


def main() -> None:
    """Run the command line and leave with its exit code."""
    try:
        # Here and not above: loading the parts takes half a second, in which somebody may think better of it.
        from worker.signals import end_when_told

        end_when_told()
        from worker.cli import main as run
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    run()


if __name__ == "__main__":
    main()
