#!/usr/bin/env python3
"""One self-contained HTML page from records files (JSON Lines, results/schema.json); nothing else is read, nothing is fetched.

    python scripts/report.py results/run.jsonl ... -o report.html
"""
import argparse
import collections
import html
import json
import os
import pathlib
import sys

SCHEMA = pathlib.Path(__file__).resolve().parent.parent / "results" / "schema.json"

GOOD, BAD, DOUBT = "#1a7f4b", "#b3261e", "#8a6100"
INK, FAINT, GRID = "#1f2328", "#59636e", "#e4e7eb"
# One colour a device and image, by first appearance; red is kept for failures.
ARMS = ["#2563a8", "#c8690c", "#5a8f29", "#7a4fa3", "#0b8a8f", "#8c6d5a"]
LIMITERS = {"warps": "#1a7f4b", "blocks": "#5a8f29", "registers": "#2563a8", "shared": "#c8690c", "invalid": BAD}
LIMITER_TEXT = {"warps": "warp slots: full", "blocks": "block slots: full", "registers": "registers", "shared": "shared memory",
                "grid": "too few blocks", "invalid": "does not fit"}


class ReportError(Exception):
    """What the user can mend: a file that is missing or is not what it should be."""


# ---- reading ---------------------------------------------------------------------------------------------------------------------

class Run:
    """One program's run: a header, its records, and an end unless it was cut short."""

    def __init__(self, header, file):
        self.header, self.file, self.records, self.end = header, file, [], None

    @property
    def program(self):
        return self.header["command"][0]

    @property
    def kind(self):
        return self.header["device_kind"]

    @property
    def arm(self):
        """Device and image: what times may be compared within."""
        device = self.header["device"]
        if device is None:
            return "no device (modelled)"
        return f"{device['name']}, {device['image']}" + (" (CPU)" if self.kind == "simt" else "")

    @property
    def commit(self):
        commit = self.header["commit"]
        return commit["hash"][:10] + (" with changes" if commit["dirty"] else "")


def read(paths):
    """The runs in the files, in order, and notes on what was dropped."""
    try:
        definitions = json.loads(SCHEMA.read_text())["definitions"]
    except OSError as error:
        raise ReportError(f"cannot read the schema '{SCHEMA}': {error.strerror}") from None
    runs, notes = [], []
    for path in paths:
        try:
            text = pathlib.Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise ReportError(f"cannot read records from '{path}': {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise ReportError(f"'{path}' is not a records file: byte {error.start} is not UTF-8") from None
        lines = text.split("\n")
        if lines.pop():
            notes.append(f"{os.path.basename(path)}: the last line (line {len(lines) + 1}) is torn and was left out")
        if not lines:
            raise ReportError(f"'{path}' has no records")
        run = None
        for number, line in enumerate(lines, 1):
            where = f"'{path}' line {number}"
            try:
                record = json.loads(line)
                kind = record["kind"]
                if not isinstance(kind, str):
                    raise TypeError
            except (ValueError, KeyError, TypeError):
                raise ReportError(f"{where} is not a record: expected a JSON object with a \"kind\", found {ascii(line[:60])}") from None
            if kind == "header":
                version = definitions["header"]["properties"]["schema_version"]["const"]
                if record.get("schema_version") != version:
                    raise ReportError(f"{where} has schema_version {record.get('schema_version')}, expected {version}")
            missing = [name for name in definitions.get(kind, {}).get("required", []) if name not in record]
            if kind not in definitions or missing:
                raise ReportError(f"{where}: " + (f"'{kind}' record without {', '.join(missing)}" if missing else f"unknown kind '{kind}'"))
            if kind == "header":
                run = Run(record, os.path.basename(path))
                runs.append(run)
            elif run is None:
                raise ReportError(f"{where}: '{kind}' record before any header")
            elif kind == "end":
                run.end = record
            else:
                run.records.append(record)
    return runs, notes


def of_kind(runs, kind, devices=("cuda", "simt", "none")):
    return [(run, record) for run in runs if run.kind in devices for record in run.records if record["kind"] == kind]


def ratio(record):
    """error_over_bound as a float."""
    return float(record["error_over_bound"])


def quantile(values, p):
    values = sorted(values)
    position = p * (len(values) - 1)
    below = int(position)
    return values[below] + (position - below) * (values[min(below + 1, len(values) - 1)] - values[below])


# ---- judging ---------------------------------------------------------------------------------------------------------------------

def compare_hashes(runs):
    """Of the cases judged more than once: how many other judgements had the newest's bits, other bits, or another kernel source."""
    by_case = collections.defaultdict(list)
    for run, record in of_kind(runs, "parity"):
        if record["bit_exact"] and record["output_hash"]:
            by_case[record["line"]].append((run.header["time"], record))
    counts, different = collections.Counter(), []
    for line, found in by_case.items():
        found.sort(key=lambda item: item[0])
        newest = found[-1][1]
        for _, record in found[:-1]:
            if record["source_hash"] != newest["source_hash"]:
                counts["stale"] += 1
            elif record["output_hash"] == newest["output_hash"]:
                counts["equal"] += 1
            else:
                counts["different"] += 1
                different.append(line)
    return counts, different


def judge(runs):
    """(verdict, colour, [(text, good?)]) of everything in the records; None for neither good nor bad."""
    points = []
    parity = of_kind(runs, "parity")
    failed = [record for _, record in parity if not record["passed"]]
    if parity:
        worst = max((ratio(record) for _, record in parity if record["passed"]), default=0)
        points.append((f"Parity: {len(parity) - len(failed):,} of {len(parity):,} cases pass; "
                       f"largest error over bound of those that pass {worst:.2f}", not failed))
    else:
        points.append(("Parity: no case among the records", None))
    counts, different = compare_hashes(runs)
    if counts:
        points.append((f"Same bits: {counts['equal']:,} outputs judged again (other device, image or order) are equal, "
                       f"{counts['different']:,} differ, {counts['stale']:,} are stale (older kernel source, not compared)", not different))
    decodes = [record for _, record in of_kind(runs, "decode")]
    oracle = [record["oracle"] for record in decodes if record["oracle"]]
    if oracle:
        good = sum(entry["passed"] for entry in oracle)
        largest = max(float(entry["largest_difference"]) for entry in oracle)
        points.append((f"Oracle: {good} of {len(oracle)} texts agree with it; largest difference of logits {largest:.3g} "
                       f"(limit {oracle[0]['limit']:g})", good == len(oracle)))
    elif decodes:
        points.append((f"Oracle: none of {len(decodes)} texts was held against it", None))
    bench = of_kind(runs, "bench")
    if bench:
        wrong = sum(not record["recheck"]["passed"] for _, record in bench)
        points.append((f"Timing: {len(bench)} measurements, {wrong} with wrong outputs afterwards", wrong == 0))
    unfit = [record["kernel"] for _, record in of_kind(runs, "occupancy") if record["limiter"] == "invalid"]
    if unfit:
        points.append((f"Occupancy: these do not fit an SM: {', '.join(sorted(set(unfit)))}", False))
    if not any(run.kind == "cuda" for run in runs):
        points.append(("GPU: skipped, no run on one is among the records; nothing here says how fast a GPU is", None))
    for run in runs:
        end = run.end
        if end is None:
            points.append((f"{run.program} on {run.arm} was cut short: its records have no end", False))
        elif end["interrupted"]:
            points.append((f"{run.program} on {run.arm} was interrupted; {end['skipped']:,} left out", False))
        elif end["exit_code"] != 0 and end["failed"] == 0:
            points.append((f"{run.program} on {run.arm} ended with exit code {end['exit_code']}", False))
        elif end["skipped"]:
            points.append((f"{run.program} on {run.arm}: {end['skipped']:,} skipped: {end['skipped_why']}", None))
    commits = sorted({run.commit for run in runs})
    if len(commits) > 1:
        points.append((f"The records are of {len(commits)} commits: {', '.join(commits)}", None))
    if any(good is False for _, good in points):
        cut = failed == [] and all("cut short" in text or "interrupted" in text for text, good in points if good is False)
        return ("Incomplete", DOUBT, points) if cut else ("Failed", BAD, points)
    return "Passed", GOOD, points


# ---- drawing ---------------------------------------------------------------------------------------------------------------------

def esc(value):
    return html.escape(str(value))


def shape_text(shape):
    return ", ".join(f"{name} {value}" for name, value in shape.items())


def figure_text(figure, scale=1.0, unit="", digits=3):
    if figure["status"] == "unavailable":
        return f'<span class="faint" title="{esc(figure["reason"])}">unavailable</span>'
    return f'<span title="{esc(figure["status"])}{": " + esc(figure["reason"]) if "reason" in figure else ""}">' \
           f'{figure["value"] * scale:.{digits}g}{unit}</span>'


def table(head, rows, numbers=()):
    """Cells are HTML; `numbers` are the columns set to the right."""
    def cells(tag, row):
        return "".join(f'<{tag}{" class=n" if i in numbers else ""}>{cell}</{tag}>' for i, cell in enumerate(row))
    return ('<div class="wide"><table><thead><tr>' + cells("th", head) + "</tr></thead><tbody>" +
            "".join(f"<tr>{cells('td', row)}</tr>" for row in rows) + "</tbody></table></div>")


def folded(summary, body):
    return f"<details><summary>{esc(summary)}</summary>{body}</details>"


class Page:
    def __init__(self, runs):
        self.parts = []
        arms = list(dict.fromkeys(run.arm for run in runs if run.header["device"]))
        self.colour = {arm: ARMS[i % len(ARMS)] for i, arm in enumerate(arms)}

    def add(self, text):
        self.parts.append(text)

    def section(self, title, text=""):
        self.add(f"<h2>{esc(title)}</h2>" + (f"<p>{text}</p>" if text else ""))

    def plot(self, traces, names, x_title, x_range=None, shapes=(), row_height=38, legend=True, **x_axis):
        """Traces over rows named top to bottom; y is the row's number."""
        import plotly.graph_objects as go
        legend = legend and sum(trace.showlegend is not False for trace in traces) > 0
        figure = go.Figure(traces)
        figure.update_layout(
            template="none", height=row_height * len(names) + (120 if legend else 80), margin=dict(l=10, r=16, t=10, b=10),
            font=dict(family="system-ui, sans-serif", size=12, color=INK), showlegend=legend, barmode="overlay",
            legend=dict(orientation="h", x=0, y=1, xanchor="left", yanchor="bottom", font_size=12),
            hoverlabel=dict(align="left"), shapes=list(shapes), paper_bgcolor="white", plot_bgcolor="white")
        # Names stand above their rows and not beside them, so that a phone's screen is left to the figures.
        for row, name in enumerate(names):
            figure.add_annotation(text=esc(name), xref="paper", x=0, y=row - 0.19, xanchor="left", yanchor="bottom", showarrow=False,
                                  font_size=11, align="left", bgcolor="rgba(255,255,255,0.7)", borderpad=0)
        figure.update_yaxes(tickvals=[row + 0.1 for row in range(len(names))], showticklabels=False, ticks="", range=[len(names) - 0.5, -0.9], showgrid=True,
                            gridcolor=GRID, zeroline=False, fixedrange=True)
        figure.update_xaxes(title=dict(text=x_title, standoff=8), range=x_range, gridcolor=GRID, zeroline=False, automargin=True,
                            fixedrange=True, nticks=9, **x_axis)
        self.add('<div class="plot">' + figure.to_html(full_html=False, include_plotlyjs=False,
                                                       config={"displayModeBar": False, "responsive": True}) + "</div>")


def draw_verdict(page, runs, notes):
    verdict, colour, points = judge(runs)
    marks = {True: ("good", "pass"), False: ("bad", "FAIL"), None: ("doubt", "note")}
    items = "".join(f'<li><span class="mark {marks[good][0]}">{marks[good][1]}</span>{esc(text)}</li>' for text, good in points)
    items += "".join(f'<li><span class="mark doubt">note</span>{esc(note)}</li>' for note in notes)
    devices = list(dict.fromkeys(run.arm for run in runs if run.header["device"])) or ["none"]
    commits = list(dict.fromkeys(run.commit for run in runs))
    page.add(f'<div class="verdict" style="border-color:{colour}"><div class="word" style="color:{colour}">{verdict}</div>'
             f'<dl><dt>{"Devices" if len(devices) > 1 else "Device"}</dt><dd>{"<br>".join(map(esc, devices))}</dd>'
             f'<dt>Commit</dt><dd>{esc(", ".join(commits))}</dd>'
             f'<dt>When</dt><dd>{esc(min(run.header["time"] for run in runs))}</dd></dl><ul>{items}</ul></div>')


def draw_parity(page, runs):
    import plotly.graph_objects as go
    found = of_kind(runs, "parity")
    if not found:
        return
    page.section("Parity: error over bound",
                 "Each point is one case: its largest error against the float64 reference, over what its gate allows there. "
                 "Right of 1 fails; exact agreement is 0.")
    names = list(dict.fromkeys(f"{record['op']}/{record['variant']}" for _, record in found))
    arms = list(page.colour)
    traces = []
    for index, arm in enumerate(arms):
        mine = [record for run, record in found if run.arm == arm and record["passed"]]
        if not mine:
            continue
        shift = (index - (len(arms) - 1) / 2) * 0.36 / max(1, len(arms)) + 0.1
        traces.append(go.Scatter(
            x=[ratio(record) for record in mine], y=[names.index(f"{record['op']}/{record['variant']}") + shift for record in mine],
            mode="markers", name=arm, marker=dict(color=page.colour[arm], size=7, opacity=0.45),
            hovertext=[f"{esc(record['line'])}<br>error/bound {ratio(record):.3g}" for record in mine], hoverinfo="text"))
    failed = [(run, record) for run, record in found if not record["passed"]]
    if failed:
        traces.append(go.Scatter(
            x=[min(ratio(record), 1.12) if ratio(record) > 1 else 1.12 for _, record in failed],
            y=[names.index(f"{record['op']}/{record['variant']}") + 0.1 for _, record in failed], mode="markers", name="failed",
            marker=dict(color=BAD, size=10, symbol="x"),
            hovertext=[f"{esc(record['line'])}<br>error/bound {record['error_over_bound']}" for _, record in failed], hoverinfo="text"))
    bound = dict(type="line", x0=1, x1=1, y0=0, y1=1, yref="paper", line=dict(color=BAD, width=1.5, dash="dot"))
    page.plot(traces, names, "error over bound", [-0.03, 1.18], [bound], dtick=0.25)
    if failed:
        page.add("<h3>What failed</h3>" + table(
            ["run it alone", "device", "error/bound", "worst output", "why"],
            [[f"<code>m40llm-parity --case \"{esc(record['line'])}\"</code>", esc(run.arm), esc(record["error_over_bound"]),
              "" if record["worst"] is None else
              f"[{record['worst']['index']}] got {record['worst']['got']}, want {record['worst']['want']}, bound {record['worst']['bound']}",
              esc(record.get("fault", ""))] for run, record in failed[:100]], {2}) +
            (f"<p>and {len(failed) - 100} more</p>" if len(failed) > 100 else ""))
    rows = []
    for name in names:
        for arm in arms:
            mine = [record for run, record in found if run.arm == arm and f"{record['op']}/{record['variant']}" == name]
            if not mine:
                continue
            worst = max(mine, key=ratio)
            bad = sum(not record["passed"] for record in mine)
            rows.append([esc(name), esc(arm), f"{len(mine):,}", f'<b class="bad">{bad}</b>' if bad else "0", f"{ratio(worst):.3g}",
                         esc(f"{shape_text(worst['shape'])}; inputs {worst['inputs']}"), "yes" if mine[0]["bit_exact"] else "no"])
    page.add(folded("Table", table(["op/variant", "device, image", "cases", "failed", "largest", "at", "same bits promised"], rows, {2, 3, 4})))


def draw_occupancy(page, runs):
    import plotly.graph_objects as go
    found = {}
    for _, record in of_kind(runs, "occupancy"):
        found[(record["kernel"], json.dumps(record["shape"]))] = record  # the last one counts
    if not found:
        return
    chip = next(iter(found.values()))
    page.section(f"Occupancy on {chip['arch']} ({chip['chip']})",
                 "Modelled from the machine code, not measured: the warps an SM can hold of 64, for each kernel's largest launch at the "
                 "model's shapes, and what limits them in the SM. The light bar is what that launch fills of the whole chip at once: with "
                 "less than the dark bar, it has too few blocks.")
    largest = {}
    for record in found.values():
        blocks = record["launch"]["grid"][0] * record["launch"]["grid"][1]
        if record["kernel"] not in largest or blocks > largest[record["kernel"]][0]:
            largest[record["kernel"]] = (blocks, record)
    names = list(largest)
    traces = []
    for limiter, colour in LIMITERS.items():
        rows = [(i, largest[name][1]) for i, name in enumerate(names) if largest[name][1]["sm_limiter"] == limiter]
        if not rows:
            continue
        text = [f"{100 * record['occupancy']['value']:.0f} %" for _, record in rows]
        hover = [f"{esc(record['kernel'])}<br>{esc(shape_text(record['shape']))}<br>grid {record['launch']['grid'][0]} x "
                 f"{record['launch']['grid'][1]}, block {record['launch']['block']}<br>{record['registers']} registers, "
                 f"{record['static_shared_bytes'] + record['launch']['shared_bytes']} B shared<br>{record['blocks_per_sm']} blocks an SM, "
                 f"{record['waves']} wave{'s' * (record['waves'] != 1)}, {100 * record['tail_fraction']['value']:.0f} % of the last empty" for _, record in rows]
        traces.append(go.Bar(x=[100 * record["occupancy"]["value"] for _, record in rows], y=[i + 0.06 for i, _ in rows], orientation="h",
                             width=0.36, name=LIMITER_TEXT[limiter], marker_color=colour, text=text, textposition="outside",
                             cliponaxis=False, hovertext=hover, hoverinfo="text"))
        traces.append(go.Bar(x=[100 * record["filled"]["value"] for _, record in rows], y=[i + 0.31 for i, _ in rows], orientation="h",
                             width=0.14, marker_color=colour, opacity=0.35, showlegend=False, hovertext=hover, hoverinfo="text"))
    page.plot(traces, names, "% of warp slots (colour: what limits it)", [0, 112], row_height=44)
    rows = [[esc(record["kernel"]), esc(shape_text(record["shape"])),
             f"{record['launch']['grid'][0]:,}" + (f" x {record['launch']['grid'][1]}" if record["launch"]["grid"][1] > 1 else ""),
             record["launch"]["block"], record["registers"], f"{record['static_shared_bytes'] + record['launch']['shared_bytes']:,}",
             record["local_bytes"], record["blocks_per_sm"], f"{100 * record['occupancy']['value']:.0f} %",
             esc(LIMITER_TEXT[record["sm_limiter"]]) + (", but too few blocks" if record["limiter"] == "grid" else ""), record["waves"], f"{100 * record['tail_fraction']['value']:.0f} %"]
            for record in found.values()]
    page.add(folded("Every kernel and launch", table(
        ["kernel", "shape", "grid", "block", "registers", "shared B", "local B", "blocks/SM", "occupancy", "limit", "waves", "tail empty"],
        rows, {2, 3, 4, 5, 6, 7, 8, 10, 11})))


def bench_table(found):
    rows = []
    for run, record in found:
        low, high = record["spread"]["p25"], record["spread"]["p75"]
        rows.append([esc(f"{record['op']}/{record['variant']}"), esc(shape_text(record["shape"])), esc(run.arm),
                     f"{record['median_us']:,.4g}", f"{low:,.4g} to {high:,.4g}", f"{len(record['samples_us']):,}",
                     figure_text(record["bytes_per_s"], 1e-9), figure_text(record["fraction_of_bandwidth"], 100, " %"),
                     "yes" if record["recheck"]["passed"] else '<b class="bad">NO</b>'])
    return table(["op/variant", "shape", "device, image", "median us", "middle half us", "samples", "GB/s", "of bandwidth", "right after"],
                 rows, {3, 4, 5, 6, 7})


def draw_bandwidth(page, runs):
    import plotly.graph_objects as go
    found = of_kind(runs, "bench", ("cuda",))
    page.section("GPU: fraction of the memory's bandwidth")
    if not found:
        page.add('<p class="faint">No kernel was timed on a GPU in these records.</p>')
        return
    page.add("<p>Bytes that each op must move at least (modelled), over the time measured by events, of the peak by the memory's clock and "
             "width. The line spans the middle half of the samples. Shapes whose inputs stay in the L2 are only in the table.</p>")
    shown = [(run, record) for run, record in found if record["fraction_of_bandwidth"]["status"] != "unavailable"]
    if shown:
        label = lambda record: f"{record['op']}/{record['variant']} " + "x".join(str(size) for size in record["shape"].values())
        names = list(dict.fromkeys(label(record) for _, record in shown))
        arms = list(dict.fromkeys(run.arm for run, _ in shown))
        traces = []
        for index, arm in enumerate(arms):
            mine = [record for run, record in shown if run.arm == arm]
            value = [100 * record["fraction_of_bandwidth"]["value"] for record in mine]
            shift = (index - (len(arms) - 1) / 2) * 0.36 / len(arms) + 0.1
            traces.append(go.Scatter(
                x=value, y=[names.index(label(record)) + shift for record in mine], mode="markers", name=arm,
                marker=dict(color=page.colour[arm], size=9),
                error_x=dict(type="data", symmetric=False, thickness=2, width=0, color=page.colour[arm],
                             array=[v * (record["median_us"] / record["spread"]["p25"] - 1) for v, record in zip(value, mine)],
                             arrayminus=[v * (1 - record["median_us"] / record["spread"]["p75"]) for v, record in zip(value, mine)]),
                hovertext=[f"{esc(label(record))}<br>{v:.1f} % of {esc(arm)}<br>median {record['median_us']:.4g} us"
                           for v, record in zip(value, mine)], hoverinfo="text"))
        page.plot(traces, names, "% of peak bandwidth", [0, 104], row_height=36 + 4 * len(arms))
    page.add(folded("All GPU times", bench_table(found)))


def draw_tokens(page, found, title, text):
    """Tokens/s of decode steps for every arm: the median token, the middle half, and the extremes."""
    import plotly.graph_objects as go
    page.section(title, text)
    by_arm = collections.defaultdict(list)
    for run, record in found:
        by_arm[f"{run.arm}, {record['way']}"].append((run, record))
    traces, rows = [], []
    for index, (arm, mine) in enumerate(by_arm.items()):
        times = [time for _, record in mine for time in record["decode_us"] if time > 0]
        prompt = [time for _, record in mine for time in record["prompt_us"] if time > 0]
        if not times:
            continue
        colour = page.colour[mine[0][0].arm]
        p25, median, p75 = (1e6 / quantile(times, p) for p in (0.75, 0.5, 0.25))
        slowest, fastest = 1e6 / max(times), 1e6 / min(times)
        hover = f"{esc(arm)}<br>median {median:.4g} tokens/s<br>middle half {p25:.4g} to {p75:.4g}<br>all {slowest:.4g} to {fastest:.4g}"
        common = dict(y=[index + 0.1] * 2, mode="lines", showlegend=False, hovertext=hover, hoverinfo="text")
        traces.append(go.Scatter(x=[slowest, fastest], line=dict(color=colour, width=1.5), **common))
        traces.append(go.Scatter(x=[p25, p75], line=dict(color=colour, width=9), opacity=0.45, **common))
        traces.append(go.Scatter(x=[median], y=[index + 0.1], mode="markers", showlegend=False, hovertext=hover, hoverinfo="text",
                                 marker=dict(color=colour, size=12)))
        cost = mine[0][1]["per_token"]
        rows.append([esc(arm), f"{1e6 * len(times) / sum(times):,.4g}", f"{median:,.4g}", f"{p25:,.4g} to {p75:,.4g}", f"{len(times):,}",
                     f"{1e6 * len(prompt) / sum(prompt):,.4g}" if prompt else "",
                     f"{cost['launches']:g} / {cost['allocations']:g} / {cost['copies']:g} / {cost['synchronizations']:g}"])
    if traces:
        page.plot(traces, list(by_arm), "tokens/s, a decode step", None, row_height=52, legend=False, rangemode="tozero")
    page.add(table(["device, image, way", "tokens/s (mean)", "median", "middle half", "tokens", "prompt tokens/s",
                    "launches / allocations / copies / waits a token"], rows, set(range(1, 7))))


def draw_texts(page, runs):
    found = of_kind(runs, "decode")
    if not found:
        return
    page.section("Text decoded", "Greedy. Equal rows of different devices stand once.")
    rows = {}
    for run, record in found:
        entry = rows.setdefault((record["prompt"], record["text"], record["stopped"]), (record, [], []))
        entry[1].append(run.arm)
        if record["oracle"]:
            oracle = record["oracle"]
            entry[2].append(f"{'agrees' if oracle['passed'] else 'DIFFERS'}: {oracle['same_argmax']} of {oracle['decidable_steps']} decidable "
                            f"steps of {oracle['steps']}, largest difference {float(oracle['largest_difference']):.3g}")
    page.add(table(["prompt", "text", "tokens", "stopped by", "on", "oracle"],
                   [[f'<div class="text">{esc(prompt)}</div>', f'<div class="text long">{esc(text)}</div>', record["n_decoded"],
                     esc(stopped.replace("_", " ")), "<br>".join(map(esc, dict.fromkeys(arms))),
                     "<br>".join(map(esc, dict.fromkeys(oracle))) or '<span class="faint">not compared</span>']
                    for (prompt, text, stopped), (record, arms, oracle) in rows.items()], {2}))


def draw_runs(page, runs):
    page.section("Runs read")
    rows = []
    for run in runs:
        header, end = run.header, run.end
        rows.append([esc(run.file), f"<code>{esc(' '.join(header['command']))}</code>", esc(run.arm), esc(run.commit), esc(header["time"]),
                     f"{len(run.records):,}", "cut short" if end is None else f"{end['elapsed_s']['value']:.1f} s",
                     esc(header["host"]["cpu"]), esc(f"{header['compiler']['name']}, {header['preset']}; NVRTC {header['images']['toolkit']}")])
    page.add(folded("Programs, machines and compilers", table(
        ["file", "command", "device, image", "commit", "began", "records", "took", "host", "built by"], rows, {5, 6})))


STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: #1f2328; font: 15px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1060px; margin: 0 auto; padding: 20px 20px 60px; }
h1 { font-size: 22px; margin: 0 0 14px; } h2 { font-size: 18px; margin: 38px 0 4px; } h3 { font-size: 15px; margin: 18px 0 6px; }
p { margin: 4px 0 10px; max-width: 75ch; color: #3d444d; }
.verdict { border: 1px solid; border-left-width: 8px; border-radius: 6px; padding: 12px 18px; }
.word { font-size: 28px; font-weight: 700; line-height: 1.2; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 14px; margin: 8px 0; } dt { color: #59636e; } dd { margin: 0; overflow-wrap: anywhere; }
ul { list-style: none; margin: 10px 0 0; padding: 0; } li { margin: 4px 0; padding-left: 52px; text-indent: -52px; overflow-wrap: anywhere; }
.mark { display: inline-block; width: 44px; margin-right: 8px; text-indent: 0; text-align: center; border-radius: 4px; font-size: 12px; font-weight: 600; }
.mark.good { background: #dff3e7; color: #1a7f4b; } .mark.bad { background: #fbe3e1; color: #b3261e; } .mark.doubt { background: #f3efe2; color: #6f4e00; }
.bad { color: #b3261e; } .faint { color: #59636e; }
.cpu { border: 1px dashed #8a6100; border-radius: 6px; padding: 0 18px 14px; margin-top: 38px; background: #fffdf6; } .cpu h2 { margin-top: 16px; }
.wide { overflow-x: auto; margin: 8px 0; }
table { border-collapse: collapse; font-size: 13px; } th, td { text-align: left; vertical-align: top; padding: 4px 14px 4px 0; border-bottom: 1px solid #e4e7eb; }
th { color: #59636e; font-weight: 600; vertical-align: bottom; } td.n { white-space: nowrap; } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
code { font-size: 12px; } .text { white-space: pre-wrap; min-width: 110px; max-width: 200px; overflow-wrap: anywhere; } .text.long { min-width: 260px; max-width: 420px; }
summary { cursor: pointer; color: #2563a8; margin: 8px 0; } .plot { width: 100%; }
@media (max-width: 600px) { main { padding: 14px 12px 40px; } .verdict { padding: 10px 12px; } .cpu { padding: 0 10px 10px; } body { font-size: 14px; } }
"""


def build(runs, notes):
    from plotly.offline import get_plotlyjs
    page = Page(runs)
    draw_verdict(page, runs, notes)
    draw_parity(page, runs)
    draw_occupancy(page, runs)
    draw_bandwidth(page, runs)
    decoded = of_kind(runs, "decode", ("cuda",))
    if decoded:
        draw_tokens(page, decoded, "GPU: tokens/s",
                    "Batch 1, one prompt token at a time. The dot is the median token, the bar the middle half, the line all tokens.")
    draw_texts(page, runs)
    cpu_bench, cpu_decoded = of_kind(runs, "bench", ("simt",)), of_kind(runs, "decode", ("simt",))
    if cpu_bench or cpu_decoded:
        page.add('<div class="cpu">')
        if cpu_decoded:
            draw_tokens(page, cpu_decoded, "CPU (SIMT device): tokens/s",
                        "<b>The CPU ran the kernels, thread by thread, to check them. These times say nothing of a GPU.</b>")
        if cpu_bench:
            page.section("CPU (SIMT device): kernel times", "<b>A CPU's times; they say nothing of a GPU.</b>")
            page.add(folded(f"{len(cpu_bench)} measurements", bench_table(cpu_bench)))
        page.add("</div>")
    draw_runs(page, runs)
    return (f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>m40llm report</title><style>{STYLE}</style><script>{get_plotlyjs()}</script></head><body><main><h1>m40llm report</h1>"
            + "".join(page.parts) +
            "</main></body></html>\n")


def main():
    parser = argparse.ArgumentParser(prog="report.py", description="One self-contained HTML page from records files.")
    parser.add_argument("records", nargs="+", help="records files (JSON Lines)")
    parser.add_argument("-o", "--output", default="report.html", help="the page to write (default: %(default)s)")
    arguments = parser.parse_args()
    try:
        runs, notes = read(arguments.records)
        try:
            page = build(runs, notes)
        except ImportError as error:
            raise ReportError(f"{error}: run scripts/setup and use .venv/bin/python") from None
        output = pathlib.Path(arguments.output)
        partial = output.with_name(output.name + ".partial")
        try:
            partial.write_text(page, encoding="utf-8")
            partial.replace(output)
        except OSError as error:
            if partial.is_file():
                partial.unlink()
            raise ReportError(f"cannot write '{output}': {error.strerror}") from None
    except ReportError as error:
        print(f"report.py: error: {error}", file=sys.stderr)
        return 1
    print(f"report: {arguments.output} ({judge(runs)[0].lower()}; {len(runs)} runs)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
