"""scripts/report.py and its reader: what is read, what is refused, what the page says, and how it is written."""
import contextlib
import io
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import unittest.mock

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import records as reader  # noqa: E402
import report  # noqa: E402

CORPUS = ROOT / "tests/data/records.jsonl"
GPU_1, GPU_2, CPU, NONE = "aaaaaaaaaaaaaaa1", "aaaaaaaaaaaaaaa2", "bbbbbbbbbbbbbbb1", "cccccccccccccccc"


class ReportTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.page = self.folder / "page.html"
        self.records = [json.loads(line) for line in CORPUS.read_text(encoding="utf-8").splitlines()]

    def find(self, kind, run, number=0):
        return [record for record in self.records if record["kind"] == kind and record["run"] == run][number]

    def write(self, name="x.jsonl", content=None):
        """A file of self.records, or of the bytes given."""
        path = self.folder / name
        if content is None:
            content = "".join(json.dumps(record) + "\n" for record in self.records).encode()
        path.write_bytes(content)
        return path

    def run_report(self, *arguments):
        """Exit code, lines on stdout, lines on stderr of a run in this process."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = report.main([*map(str, arguments), "-o", str(self.page)])
        return code, out.getvalue().splitlines(), err.getvalue().splitlines()

    def make_page(self, *paths):
        code, out, err = self.run_report(*paths)
        self.assertEqual([code, err], [0, []])
        self.assertRegex(out[0], r"^report: /.* \((passed|failed|incomplete|nothing judged); \d+ runs?\)$")
        return self.page.read_text(encoding="utf-8")

    def assert_refused(self, path, *parts):
        before = sorted(self.folder.iterdir())
        code, out, err = self.run_report(path)
        self.assertEqual([code, out, len(err)], [1, [], 1], err)
        self.assertTrue(err[0].startswith("report.py: error: ") and err[0].isprintable(), err)
        for part in parts:
            self.assertIn(str(part), err[0])
        self.assertEqual(sorted(self.folder.iterdir()), before)

    def in_a_process(self, *arguments, **options):
        return subprocess.run([sys.executable, "-B", ROOT / "scripts/report.py", *arguments], capture_output=True, text=True, timeout=60,
                              stdin=subprocess.DEVNULL, **options)


class Reading(ReportTest):
    def test_lines_that_are_no_records(self):
        line = json.dumps(self.find("parity", GPU_1))
        header = json.dumps(self.records[0])
        for content, *parts in (
                (b"", "has no records"), (line.encode(), "has no records"), (b"not json\n", "line 1 is not a record", "'not json"),
                (b"GGUF\0\1\2\n", "line 1 is not a record"), (b"\n", "line 1 is not a record"), (b"\xff\xfe\n", "line 1", "byte 1 is not UTF-8"),
                (b"[]\n", "line 1", "expected a JSON object, found '[]"), (b"{}\n", "line 1: record without kind"),
                (b'{"kind":3,"device_kind":"cuda","run":""}\n', "line 1: unknown kind 3"),
                (line.replace('"kind": "parity"', '"kind": "purity"').encode() + b"\n", "line 1: unknown kind 'purity'"),
                (b'{"kind":"header","schema_version":1}\n', "line 1: schema_version is 1, expected 2"),
                (b'{"kind":"header","schema_version":2,"device_kind":"none"}\n', "line 1: 'header' record without", "command"),
                (b'{"kind":"decode","device_kind":"cuda","model":{}}\n', "line 1: 'decode' record without"),
                (f"{header}\n{line}\n".replace('"seed": 1', '"seed": "1"').encode(), "line 2: field 'seed' is '1', expected integer"),
                (line.replace('"error_over_bound": 0.0', '"error_over_bound": "<b>"').encode() + b"\n",
                 "line 1: field 'error_over_bound' is '<b>', expected number or one of 'inf', '-inf', 'nan'"),
                (line.replace('"hash": "', '"hash": "Z').encode() + b"\n", "line 1: field 'image.hash' is 'Z", "expected null or string like ^[0-9a-f]{16}$"),
                (line.replace('"seed": 1', '"seed": NaN').encode() + b"\n", "line 1", "NaN is no JSON number"),
                (line.replace('"seed": 1', '"seed": 1e999').encode() + b"\n", "line 1", "the number '1e999' is beyond a double's range"),
                (line.replace('"seed": 1', f'"seed": {"1" * 5000}').encode() + b"\n", "line 1", "does not fit 64 bits"),
                (line.replace('"seed": 1', '"seed": 1, "mine": 2').encode() + b"\n", "line 1: 'parity' record with unknown mine"),
                (line.replace('"inputs": "', '"inputs": "\\ud800').encode() + b"\n", "line 1: field 'inputs'", "half of a surrogate pair"),
                (b"[" * 100000 + b"\n", "line 1", "nested deeper than 32"), (b'{"a":' * 33 + b"1" + b"}" * 33 + b"\n", "nested deeper than 32")):
            with self.subTest(content[:80]):
                path = self.write(content=content)
                self.assert_refused(path, path, *parts)

    def test_brackets_in_texts_do_not_nest(self):
        self.find("decode", CPU)["text"] = '[{"\\' * 1000
        self.make_page(self.write())

    def test_what_is_no_regular_file(self):
        os.mkfifo(self.folder / "fifo")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self.folder / "socket"))
        (self.folder / "link").symlink_to("/dev/zero")
        for path, part in ((self.folder / "none", "No such file"), (self.folder, "it is a directory"), (self.folder / "fifo", "it is a FIFO"),
                           (self.folder / "socket", "a socket"), ("/dev/zero", "it is a device"), (self.folder / "link", "it is a device"),
                           ("/proc/self/mem", "after line 0: Input/output error")):
            with self.subTest(str(path)):
                begin = time.monotonic()
                self.assert_refused(path, f"'{path}'", part)
                self.assertLess(time.monotonic() - begin, 5)

    def test_limits_of_size(self):
        path = self.write()
        longest = max(map(len, path.read_bytes().splitlines())) + 1
        with unittest.mock.patch.object(reader, "MAX_LINE_BYTES", longest):
            self.make_page(path)
        self.page.unlink()
        with unittest.mock.patch.object(reader, "MAX_LINE_BYTES", longest - 1):
            self.assert_refused(path, path, f"is longer than {longest - 1} bytes")
        with unittest.mock.patch.object(reader, "MAX_FILE_BYTES", path.stat().st_size - 1):
            self.assert_refused(path, path, f"is longer than {path.stat().st_size - 1} bytes")
        with open(self.folder / "holes", "wb") as file:
            file.truncate(1 << 40)
        self.assert_refused(self.folder / "holes", "line 1 is longer than 16777216 bytes")

    def test_names_of_any_bytes(self):
        name = b"a\xff\x1b[31m<b>.jsonl"
        path = os.path.join(os.fsencode(self.folder), name)
        content = self.write("y.jsonl").read_bytes()
        pathlib.Path(os.fsdecode(path)).write_bytes(content)
        result = self.in_a_process(path, "-o", path + b".html")
        self.assertEqual([result.returncode, result.stderr], [0, ""])
        self.assertIn("a\\xff\\x1b[31m<b>.jsonl.html", result.stdout)
        with open(path + b".html", encoding="utf-8") as page:
            self.assertIn("a\\xff\\x1b[31m&lt;b&gt;.jsonl", page.read())
        self.assert_refused(os.fsdecode(path + b"2"), "a\\xff\\x1b[31m<b>.jsonl2': No such file")

    def test_a_torn_last_line_is_dropped_and_said(self):
        path = self.write()
        with path.open("ab") as file:
            file.write(b'{"kind":"parity","op\xff')
        code, _, err = self.run_report(path)
        self.assertEqual([code, err], [0, ["report.py: note: x.jsonl: the last line (line 20) is torn and was left out"]])
        self.assertIn("the last line (line 20) is torn", self.page.read_text())

    def test_the_results_kept_are_read_in_seconds(self):
        begin = time.monotonic()
        runs, notes = reader.read(sorted((ROOT / "results").glob("*.jsonl")))
        self.assertLess(time.monotonic() - begin, 20)
        self.assertEqual(notes, [])
        self.assertGreater(sum(len(run.records) for run in runs), 4000)


class Joining(ReportTest):
    def runs(self):
        return {run.header["run"]: run for run in reader.read([self.write()])[0]}

    def test_records_of_runs_that_write_at_once_join_their_own(self):
        runs = self.runs()
        self.assertEqual(list(runs), [GPU_1, CPU, GPU_2, NONE])
        for name, run in runs.items():
            self.assertGreater(len(run.records), 1)
            self.assertEqual({record["run"] for record in run.records}, {name})
            self.assertEqual({record["device_kind"] for record in run.records}, {run.kind})
            self.assertEqual(run.end["records"], len(run.records) + 1)

    def test_order_and_file_do_not_matter(self):
        expected = {name: run.records for name, run in self.runs().items()}
        half = len(self.records) // 2
        everything = self.records
        self.records = everything[:half]
        first = self.write("1.jsonl")
        self.records = everything[half:]
        second = self.write("2.jsonl")
        runs = reader.read([second, first])[0]
        self.assertEqual({run.header["run"]: len(run.records) for run in runs}, {name: len(records) for name, records in expected.items()})
        self.assertTrue(all(record in expected[run.header["run"]] for run in runs for record in run.records))

    def test_what_does_not_join(self):
        self.find("parity", GPU_1)["run"] = CPU
        self.assert_refused(self.write(), "line 2: device_kind is 'cuda', but the header of run bbbbbbbbbbbbbbb1 says 'simt'")
        self.setUp()
        self.find("bench", GPU_2)["run"] = "0" * 16
        self.assert_refused(self.write(), "line 6: 'bench' record of run 0000000000000000, which has no header")
        self.setUp()
        self.records.append(self.records[0])
        self.assert_refused(self.write(), f"line 20: header of run {GPU_1}", "x.jsonl' line 1 began")
        self.setUp()
        self.records.append(self.find("end", GPU_2))
        self.assert_refused(self.write(), f"line 20: second end of run {GPU_2}")
        self.setUp()
        self.find("header", CPU)["device"]["kind"] = "cuda"
        self.assert_refused(self.write(), "line 3: device_kind is 'simt', but device is cuda")

    def points(self):
        return {text: mark for text, mark in report.judge(list(self.runs().values()))[2]}

    def test_only_a_run_without_an_end_was_cut_short(self):
        self.assertFalse([text for text in self.points() if "cut short" in text])
        self.records.remove(self.find("end", CPU))
        self.assertEqual([text for text in self.points() if "cut short" in text],
                         ["m40llm-decode on SIMT device, host (CPU) was cut short: its records have no end"])

    def test_lost_records_are_said(self):
        self.assertFalse([text for text in self.points() if "are here" in text])
        self.records.remove(self.find("bench", GPU_2))
        points = {text: mark for text, mark in self.points().items() if "are here" in text}
        self.assertEqual(list(points.values()), ["bad"])
        self.assertIn("wrote 3 records, of which 2 are here", list(points)[0])


class Page(ReportTest):
    def verdict(self):
        self.page.unlink(missing_ok=True)
        code, out, _ = self.run_report(self.write())
        self.assertEqual(code, 0)
        return re.search(r"\(([\w ]+);", out[0]).group(1)

    def test_occupancy_alone_judges_nothing(self):
        self.records = [record for record in self.records if record["run"] == NONE]
        self.assertEqual(self.verdict(), "nothing judged")

    def test_verdicts(self):
        self.assertEqual(self.verdict(), "failed")
        self.find("parity", GPU_1, 2)["passed"] = True
        self.find("end", GPU_1).update(failed=0, exit_code=0)
        self.assertEqual(self.verdict(), "passed")
        self.find("end", GPU_1).update(interrupted=True, exit_code=130)
        self.assertEqual(self.verdict(), "incomplete")
        self.find("end", GPU_1).update(skipped=5838, skipped_why="interrupted (5102), the variant does not take the shape (736)")
        said = [text for text, _ in report.judge(reader.read([self.write()])[0])[2]]
        self.assertTrue(any("was interrupted; 5,838 left out: interrupted (5102), the variant" in text for text in said), said)
        self.find("bench", GPU_2)["op"] = "cut short"  # a name is no verdict
        self.find("bench", GPU_2)["recheck"]["passed"] = False
        self.assertEqual(self.verdict(), "failed")

    def point(self, start):
        return next((text, mark) for text, mark in report.judge(reader.read([self.write()])[0])[2] if text.startswith(start))

    def test_a_text_that_was_not_finite_has_not_passed(self):
        decode = self.find("decode", CPU)
        decode.update(passed=True)
        self.assertNotIn("not passed", self.make_page(self.write()))
        decode.update(passed=False, stopped="not_finite", fault="position 3 (fed token 5): the logit of token 0 is nan", oracle=None)
        code, out, err = self.run_report(self.write())
        self.assertEqual([code, err], [0, []])
        self.assertIn("(failed; ", out[0])
        page = self.page.read_text(encoding="utf-8")
        self.assertIn(f"Text not passed: {decode['fault']}", page)
        self.assertIn(f'not finite<br><b class="bad">{decode["fault"]}</b>', page)

    def test_a_text_that_only_its_record_says_has_not_passed(self):
        decode = self.find("decode", CPU)
        decode.update(passed=False)
        self.assertEqual(self.point("Text not passed, of prompt '")[1], "bad")
        decode.update(stopped="interrupted")  # which the end says
        self.assertFalse([text for text, _ in report.judge(reader.read([self.write()])[0])[2] if text.startswith("Text not")])

    def test_each_way_to_take_a_step_has_its_own_speed(self):
        by_launches = self.find("decode", CPU)
        by_graph = json.loads(json.dumps(by_launches)) | {"way": "graph", "decode_us": [time / 2 for time in by_launches["decode_us"]],
                                                            "latency_us": [40, 10, 20, 30, 50]}
        by_graph["per_token"].update(launches=1.0, kernels=484.0)
        self.records.insert(self.records.index(by_launches), by_graph)
        self.find("end", CPU)["records"] += 1
        page = self.make_page(self.write())
        # In records that do not say it, a launch is a kernel.
        for way, calls, latency in (("launches", "484 / 484 / 0 / 2 / 1", ""), ("graph", "1 / 484 / 0 / 2 / 1", r"30 \(20 to 40\)")):
            self.assertRegex(page, rf"<tr><td[^>]*>[^<]*host[^<]*, {way}</td>(<td[^>]*>[^<]*</td>)*<td[^>]*>{calls}</td><td[^>]*>{latency}</td>")

    def test_hashes_differ_unless_something_that_makes_them_does(self):
        """The rule of results/README.md; the corpus has one case judged on two devices."""
        on_cpu, on_gpu = self.find("parity", CPU), self.find("parity", GPU_1)
        self.assertEqual(on_cpu["line"], on_gpu["line"])
        self.assertEqual(self.point("Same bits: 1 outputs")[1], "good")
        on_cpu["source_hash"] = "0" * 16
        self.assertEqual(self.point("Same bits: 1 outputs")[1], "good")  # equal is equal
        on_cpu["output_hash"] = "0" * 16
        self.assertEqual(self.point("Same bits: 0 outputs judged again (other device, image or order) are equal, 0 differ, 1 are stale")[1], "doubt")
        on_cpu["source_hash"] = on_gpu["source_hash"]
        self.assertEqual(self.point("Same bits: 0 outputs judged again (other device, image or order) are equal, 1 differ, 0 are stale")[1], "bad")
        on_cpu["launch"] = dict(on_gpu["launch"], block=64)
        self.assertEqual(self.point("Same bits: 0")[1], "doubt")
        on_cpu["launch"] = None
        self.assertEqual(self.point("Same bits: 0")[1], "bad")
        on_gpu["run"], on_gpu["device_kind"] = CPU, "simt"
        on_gpu["image"] = on_cpu["image"]
        self.assertEqual(self.point("Same bits: 0")[1], "bad")  # one arch, one compiler

    def test_compilers_of_one_arch(self):
        first = self.find("parity", GPU_1)
        self.records = [record for record in self.records if record["kind"] != "parity"]
        second = dict(first, run=GPU_2, output_hash="0" * 16)
        self.records += [first, second]
        self.assertEqual(self.point("Same bits: 0")[1], "bad")
        self.find("header", GPU_2)["device"]["driver"] = "another"  # it compiles PTX
        self.assertEqual(self.point("Same bits: 0")[1], "doubt")
        first["image"] = second["image"] = {"arch": "sm_90", "hash": None}
        self.assertEqual(self.point("Same bits: 0")[1], "bad")
        self.find("header", GPU_2)["images"]["toolkit"] = "another"
        self.assertEqual(self.point("Same bits: 0")[1], "doubt")

    def test_comparisons_with_other_files(self):
        self.assertEqual(self.point("m40llm-decode on SIMT device, host (CPU): hashes held against other files: 3 equal")[1], "good")
        for against in ({"equal": 3, "different": 1}, {"equal": 0, "different": 0}):
            self.find("end", CPU)["against"].update(against)
            self.assertEqual(self.point("m40llm-decode on SIMT device, host (CPU): hashes")[1], "bad")

    def test_a_cpus_times_stand_in_the_cpus_box_alone(self):
        self.find("bench", CPU)["median_us"] = 123456.0
        self.find("bench", GPU_2)["median_us"] = 654321.0
        page = self.make_page(self.write())
        box = page.index('<div class="cpu">')
        self.assertGreater(page.index("1.235e+05"), box)
        self.assertLess(page.index("6.543e+05"), box)
        self.assertEqual([page.count("1.235e+05"), page.rindex("6.543e+05") < box], [1, True])

    def time_beside_a_read(self, share):
        """The first measurement on a GPU as --rotate --graph makes it; the other stays an older run's."""
        self.find("bench", GPU_2).update(
            timing={"rotated": True, "launched_by": "graph", "times_l2": {"value": 4.25, "status": "modelled", "reason": "<few>"}},
            share_of_plain_read=share,
            plain_read={"bytes": {"value": 16793600.0, "status": "modelled"}, "samples_us": [9.5], "launches_per_sample": 9, "input_sets": 8})

    def test_the_share_of_a_plain_read(self):
        self.assertNotIn("share of a plain read", self.make_page(self.write()))
        self.time_beside_a_read({"value": 0.8765, "status": "measured"})
        page = self.make_page(self.write())
        self.assertIn("<h2>GPU: share of a plain read</h2>", page)
        self.assertEqual(page.count('<span title="measured">87.6 %</span>'), 1)  # an older run's cell is empty
        self.assertIn('graph, 8 sets (<span title="modelled: &lt;few&gt;">4.2 x</span> L2)', page)
        plot = page[page.index("<h2>GPU: share of a plain read"):]
        plot = plot[:plot.index("All GPU times")]
        self.assertIn("block 512x4096, rotated, graph", plot)
        self.assertIn("87.6", plot)
        self.assertNotIn("4096x8192", plot)
        self.time_beside_a_read({"value": None, "status": "unavailable", "reason": "<because>"})
        page = self.make_page(self.write())
        self.assertNotIn("share of a plain read", page)
        self.assertIn('title="&lt;because&gt;">unavailable', page)

    def test_two_cards_of_one_name_differ(self):
        page = self.make_page(self.write())
        for place in ("0000:3b:00.0", "0000:86:00.0"):
            self.assertIn(f"NVIDIA H200 [{place}], compute_52", page)

    def test_figures_that_are_not_known(self):
        none = {"value": None, "status": "unavailable", "reason": "<because>"}
        for record in self.records:
            for name, value in record.items():
                if isinstance(value, dict) and "status" in value:
                    record[name] = none
            if record["kind"] == "bench":
                record["spread"] = dict.fromkeys(("p25", "p75", "min", "max"), 0)
            if record["kind"] == "decode":
                record.update(decode_us=[0], prompt_us=[])
        page = self.make_page(self.write())
        self.assertIn('title="&lt;because&gt;">unavailable', page)

    def test_spreads_of_zero(self):
        self.find("bench", GPU_2)["spread"].update(p25=0, p75=0)
        self.make_page(self.write())

    def test_html_in_every_text(self):
        for record in self.records:
            for name in ("command", "op", "variant", "kernel", "line", "inputs", "fault", "skipped_why", "way", "prompt", "text", "chip", "arch"):
                if name in record:
                    record[name] = ["<i>"] if name == "command" else "</script><i>"
            if "shape" in record:
                record["shape"] = {"<i>" + name: size for name, size in record["shape"].items()}
            if record["kind"] == "header" and record["device"]:
                record["device"].update(name="<i>", image="<i>", pci_id="<i>")
        page = self.make_page(self.write())
        self.assertGreater(page.count("&lt;i&gt;"), 20)
        plots = page[page.index("<body>"):]
        for tag in ("<i>", "</script><i", "\\u003ci\\u003e", "\\u003c\\u002fscript\\u003e"):
            self.assertNotIn(tag, plots)

    def test_values_are_escaped_unless_they_are_html_of_ours(self):
        self.assertEqual(report.html("<b>{}</b>", "<i>&\"'"), "<b>&lt;i&gt;&amp;&#34;&#39;</b>")
        self.assertEqual(report.html("<b>{}</b>", report.html("<i>{}</i>", "{}<")), "<b><i>{}&lt;</i></b>")
        self.assertIn("<td>&lt;i&gt;</td>", report.table(["<i>"], [["<i>"]]))
        self.assertIn("<th>&lt;i&gt;</th>", report.table(["<i>"], [["<i>"]]))

    def test_a_page_fetches_nothing(self):
        page = self.make_page(self.write())
        self.assertNotRegex(page, r"""<(script|img|iframe)[^>]*\bsrc\s*=\s*["']?(https?:)?//""")
        self.assertNotRegex(page, r"<link\b")


class Writing(ReportTest):
    def assert_not_written(self, output, *parts, inputs=None):
        """Refused, with everything in the folder as it was."""
        inputs = inputs or [self.write()]
        self.page = output
        files = sorted(path for path in self.folder.iterdir() if path.is_file())
        before = [(path, path.read_bytes()) for path in files]
        code, out, err = self.run_report(*inputs)
        self.assertEqual([code, out, len(err)], [1, [], 1], err)
        for part in (f"cannot write '{output}'", *parts):
            self.assertIn(part, err[0])
        self.assertEqual([(path, path.read_bytes()) for path in sorted(self.folder.iterdir()) if path.is_file()], before)

    def test_outputs_that_are_inputs(self):
        path = self.write()
        (self.folder / "soft").symlink_to(path)
        os.link(path, self.folder / "hard")
        for output in (path, self.folder / "soft", self.folder / "hard", self.folder / "." / ".." / self.folder.name / "x.jsonl"):
            self.assert_not_written(output, "one of the files that were read", inputs=[CORPUS.parent / CORPUS.name, path][1:])
        self.assert_not_written(path, "one of the files that were read", inputs=[self.folder / "soft"])

    def test_outputs_that_are_no_files(self):
        os.mkfifo(self.folder / "fifo")
        (self.folder / "link").symlink_to("/dev/null")
        for output, part in ((self.folder, "it is a directory"), (pathlib.Path("/dev/null"), "it is no regular file"), ("", "a file's name is expected"),
                             (self.folder / "link", "it is no regular file"), (self.folder / "fifo", "it is no regular file"),
                             (self.folder / "x.jsonl" / "r.html", "Not a directory"), (pathlib.Path("/nonexistent/r.html"), "No such file"),
                             (self.folder / ("n" * 300), "File name too long")):
            with self.subTest(str(output)):
                self.assert_not_written(output, part)

    def test_a_page_through_a_link_replaces_the_file_it_leads_to(self):
        target = self.write("old.html", b"old")
        self.page = self.folder / "link"
        self.page.symlink_to(target.name)
        self.assertIn("</html>", self.make_page(self.write()))
        self.assertTrue(self.page.is_symlink())
        self.assertIn("</html>", target.read_text())

    def test_nothing_half_written_stays(self):
        old = self.write("page.html", b"old")
        for name in ("fsync", "replace"):
            for error, code, text in ((OSError(28, "No space left on device"), 1, "No space left"), (KeyboardInterrupt(), 130, "interrupted"),
                                      (MemoryError(), 1, "memory")):
                with self.subTest((name, error)), unittest.mock.patch(f"os.{name}", side_effect=error):
                    result = self.run_report(self.write())
                    self.assertEqual([result[0], result[1], len(result[2])], [code, [], 1])
                    self.assertIn(text, result[2][0])
                    self.assertEqual([sorted(path.name for path in self.folder.iterdir()), old.read_bytes()], [["page.html", "x.jsonl"], b"old"])
        with unittest.mock.patch.object(report, "build", return_value="\ud800"), self.assertRaises(UnicodeEncodeError):
            self.run_report(self.write())
        self.assertEqual(sorted(path.name for path in self.folder.iterdir()), ["page.html", "x.jsonl"])

    def test_ended_by_the_system(self):
        """A signal while the page is written: what was half-written goes, what was there stays."""
        script = ("import os, runpy, signal, sys; sync = os.fsync\n"
                  "os.fsync = lambda fd: (sync(fd), signal.raise_signal(signal.%s))\n"
                  "sys.argv = sys.argv[1:]; sys.path.insert(0, os.path.dirname(sys.argv[0])); runpy.run_path(sys.argv[0], run_name='__main__')")
        path, old = self.write(), self.write("page.html", b"old")
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            result = subprocess.run([sys.executable, "-B", "-c", script % name, ROOT / "scripts/report.py", path, "-o", old],
                                    capture_output=True, text=True, timeout=60)
            self.assertEqual([result.returncode, result.stdout, result.stderr], [130, "", "report.py: interrupted\n"], name)
            self.assertEqual([sorted(file.name for file in self.folder.iterdir()), old.read_bytes()], [["page.html", "x.jsonl"], b"old"])

    def test_ctrl_c_while_modules_are_read(self):
        (self.folder / "fastjsonschema.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
        for name in ("report.py", "refresh-records"):
            result = subprocess.run([sys.executable, "-B", ROOT / "scripts" / name, "x.jsonl"], env=os.environ | {"PYTHONPATH": str(self.folder)},
                                    cwd=self.folder, capture_output=True, text=True, timeout=60)
            self.assertEqual([result.returncode, result.stdout, result.stderr], [130, "", f"{name}: interrupted\n"])

    def test_command_lines(self):
        self.assertEqual(self.in_a_process().returncode, 2)
        self.assertEqual(self.in_a_process("--bogus", self.write()).returncode, 2)
        result = self.in_a_process(self.write(), "-o", self.page)
        self.assertEqual([result.returncode, result.stderr], [0, ""])
        with open("/dev/full", "w") as full:
            result = subprocess.run([sys.executable, "-B", ROOT / "scripts/report.py", self.write(), "-o", self.page], stdout=full,
                                    stderr=subprocess.PIPE, text=True, timeout=60)
        self.assertEqual([result.returncode, result.stderr], [1, "report.py: error: cannot write to stdout: No space left on device\n"])


if __name__ == "__main__":
    unittest.main()
