"""Run one benchmark by name."""

import typer

from benchmarks import (
    batches,
    chunks,
    embeddings,
    features,
    intervals,
    load,
    losses,
    mel,
    predict,
    promotion,
    rescan,
    scores,
    step,
)

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.command("mel")(mel.main)
app.command("batches")(batches.main)
app.command("chunks")(chunks.main)
app.command("features")(features.main)
app.command("embeddings")(embeddings.main)
app.command("rescan")(rescan.main)
app.command("load")(load.main)
app.command("losses")(losses.main)
app.command("scores")(scores.main)
app.command("predict")(predict.main)
app.command("step")(step.main)
app.command("intervals")(intervals.main)
app.command("promotion")(promotion.main)

if __name__ == "__main__":
    app()
