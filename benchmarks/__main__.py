"""Run one benchmark by name."""

import typer

from benchmarks import batches, mel

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.command("mel")(mel.main)
app.command("batches")(batches.main)

if __name__ == "__main__":
    app()
