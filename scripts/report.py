"""One self-contained HTML page from records files (JSON Lines, results/schema.json); nothing else is read, nothing is fetched.

    .venv/bin/python scripts/report.py results/run.jsonl ... -o report.html

Text becomes HTML in one way only: html(template, values) escapes every value that is not HTML of ours already.
"""
import argparse
import collections
import json
import math
import signal
import sys

try:
    import plotly.graph_objects as go
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    import atomic_file
    import evidence
    from records import RecordsError, printable, read, reason
except ImportError as error:
    sys.exit(f"report.py: error: {error}: run scripts/setup and use .venv/bin/python")
except KeyboardInterrupt:
    print("report.py: interrupted", file=sys.stderr)
    sys.exit(130)

GOOD, BAD, DOUBT = "#1a7f4b", "#b3261e", "#8a6100"
INK, FAINT, GRID = "#1f2328", "#59636e", "#e4e7eb"
# One colour a device and image, by first appearance; red is kept for failures.
ARMS = ["#2563a8", "#c8690c", "#5a8f29", "#7a4fa3", "#0b8a8f", "#8c6d5a"]
LIMITERS = {"warps": "#1a7f4b", "blocks": "#5a8f29", "registers": "#2563a8", "shared": "#c8690c", "invalid": BAD}
LIMITER_TEXT = {"warps": "warp slots: full", "blocks": "block slots: full", "registers": "registers", "shared": "shared memory",
                "grid": "too few blocks", "invalid": "does not fit"}


class ReportError(Exception):
    """A page that cannot be written; the text names it and says why."""


def of_kind(runs, kind, devices=("cuda", "simt", "none")):
    return [(run, record) for run in runs if run.kind in devices for record in run.records if record["kind"] == kind]


def ratio(record):
    """error_over_bound as a float; what is no number is above all."""
    value = float(record["error_over_bound"])
    return math.inf if math.isnan(value) else value


def quantile(values, p):
    values = sorted(values)
    position = p * (len(values) - 1)
    below = int(position)
    return values[below] + (position - below) * (values[min(below + 1, len(values) - 1)] - values[below])


# ---- judging ---------------------------------------------------------------------------------------------------------------------

def compare_hashes(runs):
    """Of the cases judged more than once: how many other judgements had the newest's bits, other bits, or other bits with an excuse
    (results/README.md). The lines of those that differ."""
    by_case = collections.defaultdict(list)
    for run, record in of_kind(runs, "parity"):
        for line, output in evidence.outputs(record):
            by_case[line].append((run.header["time"], (evidence.origin(run, record), output)))
    counts, different = collections.Counter(), []
    for line, found in by_case.items():
        newest = max(found, key=lambda item: item[0])
        for other in found:
            if other is newest:
                continue
            finding = evidence.compare({other[1]}, {newest[1]})
            counts[finding] += 1
            if finding == "different":
                different.append(line)
    return counts, different


def judge(runs):
    """(verdict, colour, [(text, mark)]) of everything in the records; a mark is one of MARKS."""
    points = []

    def add(text, mark):
        points.append((text, {True: "good", False: "bad"}.get(mark, mark)))

    parity = of_kind(runs, "parity")
    failed = [record for _, record in parity if not record["passed"]]
    if parity:
        worst = max((ratio(record) for _, record in parity if record["passed"]), default=0)
        add(f"Parity: {len(parity) - len(failed):,} of {len(parity):,} cases pass; "
            f"largest error over bound of those that pass {worst:.2f}", not failed)
    else:
        add("Parity: no case among the records", "doubt")
    counts, different = compare_hashes(runs)
    if counts:
        add(f"Same bits: {counts['equal']:,} outputs judged again (other device, image or order) are equal, "
            f"{counts['different']:,} differ, {counts['stale']:,} are stale (the kernels' source, launch or compiler differs too)",
            "bad" if different else "good" if counts["equal"] else "doubt")
    decodes = [record for _, record in of_kind(runs, "decode")]
    oracle = [record["oracle"] for record in decodes if record["oracle"]]
    if oracle:
        good = sum(entry["passed"] for entry in oracle)
        largest = max(float(entry["largest_difference"]) for entry in oracle)
        add(f"Oracle: {good} of {len(oracle)} texts agree with it; largest difference of logits {largest:.3g} "
            f"(limit {oracle[0]['limit']:g})", good == len(oracle))
    elif decodes:
        add(f"Oracle: none of {len(decodes)} texts was held against it", "doubt")
    for record in decodes:
        if "fault" in record:
            add(f"Text not passed: {record['fault']}", "bad")
        elif not record.get("passed", True) and record["stopped"] != "interrupted":
            add(f"Text not passed, of prompt {ascii(record['prompt'][:40])}", "bad")
    bench = of_kind(runs, "bench")
    if bench:
        wrong = sum(not record["recheck"]["passed"] for _, record in bench)
        add(f"Timing: {len(bench)} measurements, {wrong} with wrong outputs afterwards", wrong == 0)
    unfit = [record["kernel"] for _, record in of_kind(runs, "occupancy") if record["limiter"] == "invalid"]
    if unfit:
        add(f"Occupancy: these do not fit an SM: {', '.join(sorted(set(unfit)))}", "bad")
    if not any(run.kind == "cuda" for run in runs):
        add("GPU: skipped, no run on one is among the records; nothing here says how fast a GPU is", "doubt")
    for run in runs:
        end, name = run.end, f"{run.program} on {run.arm}"
        if end is None:
            add(f"{name} was cut short: its records have no end", "cut")
            continue
        if end["records"] != len(run.records) + 1:
            add(f"{name} wrote {end['records'] - 1:,} records, of which {len(run.records):,} are here", "bad")
        against = end.get("against")
        if against:
            add(f"{name}: hashes held against other files: {against['equal']:,} equal, {against['different']:,} different, "
                f"{against['stale']:,} stale, {against['not_recorded']:,} not recorded", against["equal"] > 0 and against["different"] == 0)
        if end["interrupted"]:
            several = f": {end['skipped_why']}" if end["skipped_why"] not in ("", "interrupted") else ""
            add(f"{name} was interrupted; {end['skipped']:,} left out{several}", "cut")
        elif end["exit_code"] != 0 and end["failed"] == 0:
            add(f"{name} ended with exit code {end['exit_code']}", "bad")
        elif end["failed"] != 0 and end["exit_code"] == 0:
            add(f"{name} ended with exit code 0, though {end['failed']:,} failed", "bad")
        elif end["skipped"]:
            add(f"{name}: {end['skipped']:,} skipped: {end['skipped_why']}", "doubt")
    commits = sorted({run.commit for run in runs})
    if len(commits) > 1:
        add(f"The records are of {len(commits)} commits: {', '.join(commits)}", "doubt")
    marks = {mark for _, mark in points}
    if "bad" in marks:
        return "Failed", BAD, points
    if "cut" in marks:
        return "Incomplete", DOUBT, points
    return ("Passed", GOOD, points) if "good" in marks else ("Nothing judged", DOUBT, points)


# ---- drawing ---------------------------------------------------------------------------------------------------------------------

def html(template, *values, **names):
    """The template is ours; each value is escaped unless it is HTML already (Markup)."""
    return Markup(template).format(*values, **names)


def joined(parts, separator=""):
    return Markup(separator).join(parts)


def shape_text(shape):
    return ", ".join(f"{name} {value}" for name, value in shape.items())


def over(a, b):
    """a / b; None where b is 0 and there is no figure to draw."""
    return a / b if b else None


def figure_text(figure, scale=1.0, unit="", digits=3):
    if figure["status"] == "unavailable":
        return html('<span class="faint" title="{}">unavailable</span>', figure["reason"])
    title = figure["status"] + (f": {figure['reason']}" if "reason" in figure else "")
    return html('<span title="{}">{}{}</span>', title, f"{figure['value'] * scale:.{digits}g}", unit)


def table(head, rows, numbers=()):
    """`numbers` are the columns set to the right."""
    def cells(tag, row):
        return joined(html(f'<{tag}{" class=n" if i in numbers else ""}>{{}}</{tag}>', cell) for i, cell in enumerate(row))
    return html('<div class="wide"><table><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>',
                cells("th", head), joined(html("<tr>{}</tr>", cells("td", row)) for row in rows))


def folded(summary, body):
    return html("<details><summary>{}</summary>{}</details>", summary, body)


def hover(*rows):
    """The text of a plot's point: plotly reads it as HTML."""
    return joined(rows, "<br>")


class Page:
    def __init__(self, runs):
        self.parts, self.n_plots = [], 0
        arms = list(dict.fromkeys(run.arm for run in runs if run.header["device"]))
        self.colour = {arm: ARMS[i % len(ARMS)] for i, arm in enumerate(arms)}

    def add(self, template, *values):
        self.parts.append(html(template, *values))

    def section(self, title, text=""):
        self.add("<h2>{}</h2>", title)
        if text:
            self.add("<p>{}</p>", text)

    def plot(self, traces, names, x_title, x_range=None, shapes=(), row_height=38, legend=True, **x_axis):
        """Traces over rows named top to bottom; y is the row's number."""
        legend = legend and sum(trace.showlegend is not False for trace in traces) > 0
        figure = go.Figure(traces)
        figure.update_layout(
            template="none", height=row_height * len(names) + (120 if legend else 80), margin=dict(l=10, r=16, t=10, b=10),
            font=dict(family="system-ui, sans-serif", size=12, color=INK), showlegend=legend, barmode="overlay",
            legend=dict(orientation="h", x=0, y=1, xanchor="left", yanchor="bottom", font_size=12),
            hoverlabel=dict(align="left"), shapes=list(shapes), paper_bgcolor="white", plot_bgcolor="white",
            # Names stand above their rows and not beside them, so that a phone's screen is left to the figures.
            annotations=[dict(text=html("{}", name), xref="paper", x=0, y=row - 0.19, xanchor="left", yanchor="bottom", showarrow=False,
                              font_size=11, align="left", bgcolor="rgba(255,255,255,0.7)", borderpad=0)
                         for row, name in enumerate(names)])
        figure.update_yaxes(tickvals=[row + 0.1 for row in range(len(names))], showticklabels=False, ticks="", range=[len(names) - 0.5, -0.9],
                            showgrid=True, gridcolor=GRID, zeroline=False, fixedrange=True)
        figure.update_xaxes(title=dict(text=x_title, standoff=8), range=x_range, gridcolor=GRID, zeroline=False, automargin=True,
                            fixedrange=True, nticks=9, **x_axis)
        self.n_plots += 1
        # plotly writes <, > and / of its data as \\u escapes, so that no text of a record ends the script.
        self.add('<div class="plot">{}</div>', Markup(figure.to_html(
            full_html=False, include_plotlyjs=False, div_id=f"plot-{self.n_plots}", config={"displayModeBar": False, "responsive": True})))


MARKS = {"good": "pass", "bad": "FAIL", "cut": "FAIL", "doubt": "note"}


def draw_verdict(page, runs, notes):
    verdict, colour, points = judge(runs)
    items = joined(html('<li><span class="mark {}">{}</span>{}</li>', mark, MARKS[mark], text)
                   for text, mark in points + [(note, "doubt") for note in notes])
    devices = list(dict.fromkeys(run.arm for run in runs if run.header["device"])) or ["none"]
    commits = list(dict.fromkeys(run.commit for run in runs))
    page.add('<div class="verdict" style="border-color:{colour}"><div class="word" style="color:{colour}">{}</div>'
             "<dl><dt>{}</dt><dd>{}</dd><dt>Commit</dt><dd>{}</dd><dt>When</dt><dd>{}</dd></dl><ul>{}</ul></div>"
             .replace("{colour}", colour), verdict, "Devices" if len(devices) > 1 else "Device", joined(devices, "<br>"),
             ", ".join(commits), min(run.header["time"] for run in runs), items)


def draw_parity(page, runs):
    found = of_kind(runs, "parity")
    if not found:
        return
    page.section("Parity: error over bound",
                 "Each point is one case: its largest error against the float64 reference (of a fused op against its separate ops), "
                 "over what its gate allows there. "
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
            mode="markers", name=html("{}", arm), marker=dict(color=page.colour[arm], size=7, opacity=0.45),
            hovertext=[hover(record["line"], f"error/bound {ratio(record):.3g}") for record in mine], hoverinfo="text"))
    failed = [(run, record) for run, record in found if not record["passed"]]
    if failed:
        traces.append(go.Scatter(
            x=[min(ratio(record), 1.12) if ratio(record) > 1 else 1.12 for _, record in failed],
            y=[names.index(f"{record['op']}/{record['variant']}") + 0.1 for _, record in failed], mode="markers", name="failed",
            marker=dict(color=BAD, size=10, symbol="x"),
            hovertext=[hover(record["line"], f"error/bound {record['error_over_bound']}") for _, record in failed], hoverinfo="text"))
    bound = dict(type="line", x0=1, x1=1, y0=0, y1=1, yref="paper", line=dict(color=BAD, width=1.5, dash="dot"))
    page.plot(traces, names, "error over bound", [-0.03, 1.18], [bound], dtick=0.25)
    if failed:
        page.add("<h3>What failed</h3>{}", table(
            ["run it alone", "device", "error/bound", "worst output", "why"],
            [[html('<code>m40llm-parity --case "{}"</code>', record["line"]), run.arm, record["error_over_bound"],
              "" if record["worst"] is None else
              f"[{record['worst']['index']}] got {record['worst']['got']}, want {record['worst']['want']}, bound {record['worst']['bound']}",
              record.get("fault", "")] for run, record in failed[:100]], {2}))
        if len(failed) > 100:
            page.add("<p>and {} more</p>", len(failed) - 100)
    rows = []
    for name in names:
        for arm in arms:
            mine = [record for run, record in found if run.arm == arm and f"{record['op']}/{record['variant']}" == name]
            if not mine:
                continue
            worst = max(mine, key=ratio)
            bad = sum(not record["passed"] for record in mine)
            rows.append([name, arm, f"{len(mine):,}", html('<b class="bad">{}</b>', bad) if bad else "0", f"{ratio(worst):.3g}",
                         f"{shape_text(worst['shape'])}; inputs {worst['inputs']}", "yes" if mine[0]["bit_exact"] else "no"])
    page.add("{}", folded("Table", table(["op/variant", "device, image", "cases", "failed", "largest", "at", "same bits promised"],
                                         rows, {2, 3, 4})))


def percent(figure):
    """A share as a number of percent; None where it is not known."""
    return None if figure["value"] is None else 100 * figure["value"]


def draw_occupancy(page, runs):
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
        text = ["" if percent(record["occupancy"]) is None else f"{percent(record['occupancy']):.0f} %" for _, record in rows]
        hovertext = [hover(record["kernel"], shape_text(record["shape"]),
                           f"grid {record['launch']['grid'][0]} x {record['launch']['grid'][1]}, block {record['launch']['block']}",
                           f"{record['registers']} registers, {record['static_shared_bytes'] + record['launch']['shared_bytes']} B shared",
                           f"{record['blocks_per_sm']} blocks an SM, {record['waves']} wave{'s' * (record['waves'] != 1)}, "
                           f"{figure_plain(record['tail_fraction'])} of the last empty") for _, record in rows]
        traces.append(go.Bar(x=[percent(record["occupancy"]) for _, record in rows], y=[i + 0.06 for i, _ in rows], orientation="h",
                             width=0.36, name=LIMITER_TEXT[limiter], marker_color=colour, text=text, textposition="outside",
                             cliponaxis=False, hovertext=hovertext, hoverinfo="text"))
        traces.append(go.Bar(x=[percent(record["filled"]) for _, record in rows], y=[i + 0.31 for i, _ in rows], orientation="h",
                             width=0.14, marker_color=colour, opacity=0.35, showlegend=False, hovertext=hovertext, hoverinfo="text"))
    page.plot(traces, names, "% of warp slots (colour: what limits it)", [0, 112], row_height=44)
    rows = [[record["kernel"], shape_text(record["shape"]),
             f"{record['launch']['grid'][0]:,}" + (f" x {record['launch']['grid'][1]}" if record["launch"]["grid"][1] > 1 else ""),
             record["launch"]["block"], record["registers"], f"{record['static_shared_bytes'] + record['launch']['shared_bytes']:,}",
             record["local_bytes"], record["blocks_per_sm"], figure_plain(record["occupancy"]),
             LIMITER_TEXT[record["sm_limiter"]] + (", but too few blocks" if record["limiter"] == "grid" else ""), record["waves"],
             figure_plain(record["tail_fraction"])] for record in found.values()]
    page.add("{}", folded("Every kernel and launch", table(
        ["kernel", "shape", "grid", "block", "registers", "shared B", "local B", "blocks/SM", "occupancy", "limit", "waves", "tail empty"],
        rows, {2, 3, 4, 5, 6, 7, 8, 10, 11})))


def figure_plain(figure):
    """A share in whole percent."""
    return "unavailable" if figure["value"] is None else f"{percent(figure):.0f} %"


def timed_by(record):
    """What put the launches on the device, and how many sets of inputs they went through; of older runs the sets alone."""
    timing, sets = record.get("timing"), f"{record['input_sets']} set{'s' * (record['input_sets'] != 1)}"
    if timing is None:
        return sets
    times_l2 = timing["times_l2"]
    return html("{}, {}{}", timing["launched_by"], sets, "" if times_l2["value"] is None else
                html(" ({} L2)", figure_text(times_l2, 1, " x", 2)))


def bench_table(found):
    rows = []
    for run, record in found:
        low, high = record["spread"]["p25"], record["spread"]["p75"]
        share = record.get("share_of_plain_read")
        rows.append([f"{record['op']}/{record['variant']}", shape_text(record["shape"]), run.arm, timed_by(record),
                     f"{record['median_us']:,.4g}", f"{low:,.4g} to {high:,.4g}", f"{len(record['samples_us']):,}",
                     figure_text(record["bytes_per_s"], 1e-9), figure_text(record["fraction_of_bandwidth"], 100, " %"),
                     figure_text(share, 100, " %") if share else "",
                     "yes" if record["recheck"]["passed"] else Markup('<b class="bad">NO</b>')])
    return table(["op/variant", "shape", "device, image", "timed by", "median us", "middle half us", "samples", "GB/s", "of bandwidth",
                  "of plain read", "right after"], rows, {4, 5, 6, 7, 8, 9})


def bench_label(record):
    """Names a row of a plot: what was not timed alike stands apart."""
    timing = record.get("timing", {})
    words = ["rotated"] * timing.get("rotated", False) + ["graph"] * (timing.get("launched_by") == "graph")
    return f"{record['op']}/{record['variant']} " + ", ".join(["x".join(str(size) for size in record["shape"].values()), *words])


def with_figure(found, field):
    return [(run, record) for run, record in found if record.get(field, {}).get("value") is not None]


def plot_shares(page, found, field, x_title, x_range, **x_axis):
    """A share of every record that has it."""
    shown = with_figure(found, field)
    names = list(dict.fromkeys(bench_label(record) for _, record in shown))
    arms = list(dict.fromkeys(run.arm for run, _ in shown))
    traces = []
    for index, arm in enumerate(arms):
        mine = [record for run, record in shown if run.arm == arm]
        value = [100 * record[field]["value"] for record in mine]
        best = [over(v * record["median_us"], record["spread"]["p25"]) for v, record in zip(value, mine)]
        worst = [over(v * record["median_us"], record["spread"]["p75"]) for v, record in zip(value, mine)]
        shift = (index - (len(arms) - 1) / 2) * 0.36 / len(arms) + 0.1
        traces.append(go.Scatter(
            x=value, y=[names.index(bench_label(record)) + shift for record in mine], mode="markers", name=html("{}", arm),
            marker=dict(color=page.colour[arm], size=9),
            error_x=dict(type="data", symmetric=False, thickness=2, width=0, color=page.colour[arm],
                         array=[None if b is None else b - v for v, b in zip(value, best)],
                         arrayminus=[None if w is None else v - w for v, w in zip(value, worst)]),
            hovertext=[hover(bench_label(record), f"{v:.1f} % of {arm}", f"median {record['median_us']:.4g} us")
                       for v, record in zip(value, mine)], hoverinfo="text"))
    if shown:
        page.plot(traces, names, x_title, x_range, row_height=36 + 4 * len(arms), **x_axis)


def draw_bandwidth(page, runs):
    found = of_kind(runs, "bench", ("cuda",))
    page.section("GPU: fraction of the memory's bandwidth")
    if not found:
        page.add('<p class="faint">No kernel was timed on a GPU in these records.</p>')
        return
    page.add("<p>Bytes that each op must move at least (modelled), over the time measured by events, of the peak by the memory's clock and "
             "width. The line spans the middle half of the samples. Shapes whose inputs stay in the L2 are only in the table.</p>")
    plot_shares(page, found, "fraction_of_bandwidth", "% of peak bandwidth", [0, 104])
    if with_figure(found, "share_of_plain_read"):
        page.section("GPU: share of a plain read",
                     "The same, of what a kernel that only reads as many bytes reached in the same run, the samples of both in turn. "
                     "The line spans the middle half of the case's samples.")
        plot_shares(page, found, "share_of_plain_read", "% of a plain read's bandwidth", None, rangemode="tozero")
    page.add("{}", folded("All GPU times", bench_table(found)))


def draw_tokens(page, found, title, text):
    """Tokens/s of decode steps for every arm: the median token, the middle half, and the extremes."""
    page.section(title, text)
    by_arm = collections.defaultdict(list)
    for run, record in found:
        by_arm[f"{run.arm}, {record['way']}"].append((run, record))
    timed = {arm: mine for arm, mine in by_arm.items() if any(time > 0 for _, record in mine for time in record["decode_us"])}
    traces, rows = [], []
    for index, (arm, mine) in enumerate(timed.items()):
        times = [time for _, record in mine for time in record["decode_us"] if time > 0]
        prompt = [time for _, record in mine for time in record["prompt_us"] if time > 0]
        latency = [time for _, record in mine for time in record.get("latency_us", [])]
        colour = page.colour[mine[0][0].arm]
        p25, median, p75 = (1e6 / quantile(times, p) for p in (0.75, 0.5, 0.25))
        slowest, fastest = 1e6 / max(times), 1e6 / min(times)
        common = dict(showlegend=False, hoverinfo="text", hovertext=hover(
            arm, f"median {median:.4g} tokens/s", f"middle half {p25:.4g} to {p75:.4g}", f"all {slowest:.4g} to {fastest:.4g}"))
        line = dict(y=[index + 0.1] * 2, mode="lines", **common)
        traces.append(go.Scatter(x=[slowest, fastest], line=dict(color=colour, width=1.5), **line))
        traces.append(go.Scatter(x=[p25, p75], line=dict(color=colour, width=9), opacity=0.45, **line))
        traces.append(go.Scatter(x=[median], y=[index + 0.1], mode="markers", marker=dict(color=colour, size=12), **common))
        cost = next((record["per_token"] for _, record in mine if record["per_token"]), None)
        rows.append([arm, f"{1e6 * len(times) / sum(times):,.4g}", f"{median:,.4g}", f"{p25:,.4g} to {p75:,.4g}", f"{len(times):,}",
                     f"{1e6 * len(prompt) / sum(prompt):,.4g}" if prompt else "",
                     f"{cost['launches']:g} / {cost.get('kernels', cost['launches']):g} / {cost['allocations']:g} / {cost['copies']:g} / {cost['synchronizations']:g}" if cost else "",
                     f"{quantile(latency, 0.5):,.4g} ({quantile(latency, 0.25):,.4g} to {quantile(latency, 0.75):,.4g})" if latency else ""])
    if traces:
        page.plot(traces, list(timed), "tokens/s, a decode step", None, row_height=52, legend=False, rangemode="tozero")
    page.add("{}", table(["device, image, way", "tokens/s (mean)", "median", "middle half", "tokens", "prompt tokens/s",
                          "launches / kernels / allocations / copies / waits a token",
                          "us from a job to its first result (middle half)"], rows, set(range(1, 8))))


def draw_texts(page, runs):
    found = of_kind(runs, "decode")
    if not found:
        return
    page.section("Text decoded", "Greedy. Equal rows of different devices stand once.")
    rows = {}
    for run, record in found:
        stopped = (record["stopped"].replace("_", " "), record.get("fault", ""))
        entry = rows.setdefault((record["prompt"], record["text"], stopped), (record, [], []))
        entry[1].append(run.arm)
        if record["oracle"]:
            oracle = record["oracle"]
            entry[2].append(f"{'agrees' if oracle['passed'] else 'DIFFERS'}: {oracle['same_argmax']} of {oracle['decidable_steps']} decidable "
                            f"steps of {oracle['steps']}, largest difference {float(oracle['largest_difference']):.3g}")
    page.add("{}", table(["prompt", "text", "tokens", "stopped by", "on", "oracle"],
                         [[html('<div class="text">{}</div>', prompt), html('<div class="text long">{}</div>', text), record["n_decoded"],
                           html('{}<br><b class="bad">{}</b>', *stopped) if stopped[1] else stopped[0], joined(dict.fromkeys(arms), "<br>"),
                           joined(dict.fromkeys(oracle), "<br>") or Markup('<span class="faint">not compared</span>')]
                          for (prompt, text, stopped), (record, arms, oracle) in rows.items()], {2}))


def draw_runs(page, runs):
    page.section("Runs read")
    rows = []
    for run in runs:
        header, end = run.header, run.end
        rows.append([run.file, html("<code>{}</code>", " ".join(header["command"])), run.arm, run.commit, header["time"],
                     f"{len(run.records):,}", "cut short" if end is None else figure_text(end["elapsed_s"], 1, " s"),
                     header["host"]["cpu"], f"{header['compiler']['name']}, {header['preset']}; NVRTC {header['images']['toolkit']}"])
    page.add("{}", folded("Programs, machines and compilers", table(
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
.mark.good { background: #dff3e7; color: #1a7f4b; } .mark.bad, .mark.cut { background: #fbe3e1; color: #b3261e; } .mark.doubt { background: #f3efe2; color: #6f4e00; }
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
    """The page as HTML."""
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
            draw_tokens(page, cpu_decoded, "CPU (SIMT device): tokens/s", Markup(
                "<b>The CPU ran the kernels, thread by thread, to check them. These times say nothing of a GPU.</b>"))
        if cpu_bench:
            page.section("CPU (SIMT device): kernel times", Markup("<b>A CPU's times; they say nothing of a GPU.</b>"))
            page.add("{}", folded(f"{len(cpu_bench)} measurements", bench_table(cpu_bench)))
        page.add("</div>")
    draw_runs(page, runs)
    return html('<!doctype html><html lang="en"><head><meta charset="utf-8">'
                '<meta name="viewport" content="width=device-width, initial-scale=1"><title>m40llm report</title>'
                "<style>{}</style><script>{}</script></head><body><main><h1>m40llm report</h1>{}</main></body></html>\n",
                Markup(STYLE), Markup(get_plotlyjs()), joined(page.parts))


def write(path, page, inputs):
    """Writes the page whole or not at all, and never over what was read or what is no file."""
    try:
        atomic_file.check_output(path, inputs)
        atomic_file.write(path, page)
    except OSError as error:
        raise ReportError(f"cannot write '{printable(path)}': {reason(error)}") from None


def run(arguments):
    runs, notes = read(arguments.records)
    for note in notes:
        print(f"report.py: note: {note}", file=sys.stderr)
    write(arguments.output, build(runs, notes), arguments.records)
    try:
        print(f"report: {printable(arguments.output)} ({judge(runs)[0].lower()}; {len(runs)} run{'s' * (len(runs) != 1)})", flush=True)
    except OSError as error:
        raise ReportError(f"cannot write to stdout: {reason(error)}") from None


def main(argv=None):
    parser = argparse.ArgumentParser(prog="report.py", description="One self-contained HTML page from records files.")
    parser.add_argument("records", nargs="+", help="records files (JSON Lines)")
    parser.add_argument("-o", "--output", default="report.html", help="the page to write (default: %(default)s)")
    arguments = parser.parse_args(argv)
    try:
        run(arguments)
    except (RecordsError, ReportError) as error:
        print(f"report.py: error: {error}", file=sys.stderr)
        return 1
    except MemoryError:
        print("report.py: error: not enough memory for these records", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("report.py: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    # Ended by the system as by Ctrl-C: what is half-written is removed.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))
    sys.exit(main())
