"""What the runs mean: medians, ratios, promises, one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from bench.candidates import JOB, Run

PROMISED_FILES = 1126
_QUIET_CORES = 0.15
_HEADS = (
    "files",
    "candidate",
    "process s",
    "÷ Polars",
    "work s",
    "files/s",
    "÷ floor",
    "÷ Polars",
    "output MiB",
    "÷ DuckDB",
    "Python MiB",
    "JVM MiB",
)


@dataclass(frozen=True)
class Verdict:
    """One promise and what was measured of it; None where its candidates did not run."""

    promise: str
    bound: float
    is_ceiling: bool
    measured: float | None

    @property
    def holds(self) -> bool | None:
        """Whether it holds; None when it was not measured."""
        if self.measured is None:
            return None
        return self.measured <= self.bound if self.is_ceiling else self.measured >= self.bound

    def __str__(self) -> str:
        words = {True: "holds", False: "does not hold", None: "not measured"}[self.holds]
        sign = "≤" if self.is_ceiling else "≥"
        measured = "" if self.measured is None else f"{self.measured:.2f}, "
        return f"{words:<13}  {self.promise}: {measured}promised {sign} {self.bound:g}"


Results = Mapping[tuple[str, int], Run]
"""The median run of each candidate and number of files."""


def take_medians(runs: Sequence[Run]) -> dict[tuple[str, int], Run]:
    """The median of each figure by itself, over the runs of one candidate and lake."""
    grouped: dict[tuple[str, int], list[Run]] = {}
    for run in runs:
        grouped.setdefault((run.candidate, run.files), []).append(run)
    return {
        key: replace(
            group[0],
            process_s=median(run.process_s for run in group),
            work_s=median(run.work_s for run in group),
            output_mib=median(run.output_mib for run in group),
            python_mib=max(run.python_mib for run in group),
            jvm_mib=max(run.jvm_mib for run in group),
            other_cores=max(run.other_cores for run in group),
        )
        for key, group in grouped.items()
    }


def judge(results: Results) -> list[Verdict]:
    """Every promise, judged on the smallest lake; memory also on the largest."""
    sizes = sorted({files for _, files in results})
    first, jobs = sizes[0], [results[JOB, n] for n in sizes if (JOB, n) in results]

    def ratio(peer: str, figure: Callable[[Run], float]) -> float | None:
        job, other = results.get((JOB, first)), results.get((peer, first))
        return figure(job) / figure(other) if job and other else None

    peak = max((job.python_mib for job in jobs), default=None)
    growth = jobs[-1].python_mib / jobs[0].python_mib if len(jobs) > 1 else None
    grown = f"peak memory, {sizes[-1]:,} files ÷ {first:,} files" if growth else "memory growth"
    return [
        Verdict("whole process, job ÷ Polars", 0.75, True, ratio("polars", _process_s)),
        Verdict("files/s of work, job ÷ floor", 0.68, False, ratio("floor", _files_per_second)),
        Verdict("files/s of work, job", 120, False, _files_per_second(jobs[0]) if jobs else None),
        Verdict("files/s of work, job ÷ Polars", 2.1, False, ratio("polars", _files_per_second)),
        Verdict("output, job ÷ DuckDB", 1.1, True, ratio("duckdb", _output_mib)),
        Verdict("largest Python process of the job, MiB", 600, True, peak),
        Verdict(grown, 1.1, True, growth),
    ]


def format_report(results: Results, verdicts: Sequence[Verdict]) -> str:
    """The table, in Markdown, and a line per promise."""
    rows = [_row(results, run) for _, run in sorted(results.items(), key=_by_size)]
    widths = [max(map(len, column)) for column in zip(_HEADS, *rows, strict=True)]
    lines = [_line(_HEADS, widths), _line(["-" * width for width in widths], widths)]
    lines += [_line(row, widths) for row in rows]
    smallest = min(files for _, files in results)
    if smallest != PROMISED_FILES:
        lines += ["", f"Judged on {smallest:,} files; promised on {PROMISED_FILES:,}."]
    others = max(run.other_cores for run in results.values())
    if others > _QUIET_CORES:
        lines += [
            "",
            f"Not quiet: other programs used up to {others:.1f} cores; times are inflated.",
        ]
    return "\n".join([*lines, "", *map(str, verdicts)])


def _by_size(item: tuple[tuple[str, int], Run]) -> tuple[int, float]:
    run = item[1]
    return run.files, run.process_s


def _row(results: Results, run: Run) -> tuple[str, ...]:
    def against(peer: str, figure: Callable[[Run], float]) -> str:
        other = results.get((peer, run.files))
        has_both = other and figure(run) and figure(other)
        return f"{figure(run) / figure(other):.2f}" if other and has_both else ""

    return (
        f"{run.files:,}",
        run.candidate,
        f"{run.process_s:.1f}",
        against("polars", _process_s),
        f"{run.work_s:.1f}",
        f"{run.files_per_second:.0f}",
        against("floor", _files_per_second),
        against("polars", _files_per_second),
        f"{run.output_mib:.1f}" if run.output_mib else "",
        against("duckdb", _output_mib),
        f"{run.python_mib:.0f}",
        f"{run.jvm_mib:.0f}" if run.jvm_mib else "",
    )


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [
        cell.ljust(width) if at == 1 else cell.rjust(width)
        for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return f"| {' | '.join(padded)} |"


def _process_s(run: Run) -> float:
    return run.process_s


def _files_per_second(run: Run) -> float:
    return run.files_per_second


def _output_mib(run: Run) -> float:
    return run.output_mib
