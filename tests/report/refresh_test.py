"""scripts/refresh-records: what is kept and under which name, what is refused, what must be accepted, and that nothing is half-written."""
import contextlib
import copy
import fcntl
import glob
import importlib.machinery
import importlib.util
import io
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import unittest
import unittest.mock

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts/refresh-records"
sys.path.insert(0, str(ROOT / "scripts"))
loader = importlib.machinery.SourceFileLoader("refresh_records", str(SCRIPT))
refresh_records = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
loader.exec_module(refresh_records)

CORPUS = [json.loads(line) for line in (ROOT / "tests/data/records.jsonl").read_text(encoding="utf-8").splitlines()]
PARITY, SECOND, DECODE, BENCH = 1, 2, 3, 4  # places in a run that run_of() makes


def run_of(image, run):
    """Records of one good run on a GPU, from the corpus: two cases, one prompt, one measurement."""
    def first(kind):
        return copy.deepcopy(next(record for record in CORPUS if record["kind"] == kind))
    header, parity, decode, bench, end = map(first, ("header", "parity", "decode", "bench", "end"))
    second = dict(parity, line="embedding_f32/element n_vocab=9,width=32 first seed=1", output_hash="1" * 16)
    decode["timer"] = "host_wall"
    records = [header, parity, second, decode, bench, end]
    header["device"]["image"] = image
    for record in records:
        record.update(run=run, device_kind="cuda")
        if "image" in record:
            record["image"] = {"arch": image, "hash": "2" * 16}
    end.update(records=5, passed=4, failed=0, exit_code=0)
    return records


class Refresh(unittest.TestCase):
    def setUp(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.results, self.out = folder / "results", folder / "out"
        self.results.mkdir()
        self.out.mkdir()
        # As gpu-run leaves them: one file an arm.
        self.arms = {"compute_52": run_of("compute_52", "a" * 16), "auto": run_of("sm_90", "b" * 16)}
        self.runs = list(self.arms.values())

    def write(self):
        for name, records in self.arms.items():
            (self.out / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")

    def kept(self):
        return {path.name: path.read_bytes() for path in self.results.iterdir()}

    def refresh(self, *arguments, write=True):
        """Exit code, stdout and stderr of a run in this process."""
        if write:
            self.write()
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = refresh_records.main([*map(str, arguments), str(self.out), "--results", str(self.results)])
        return code, out.getvalue(), err.getvalue()

    def keep(self):
        code, out, err = self.refresh()
        self.assertEqual([code, err], [0, ""])
        return out

    def assert_refused(self, *parts, arguments=(), write=True):
        before = self.kept()
        code, _, err = self.refresh(*arguments, write=write)
        self.assertEqual(code, 1, err)
        self.assertTrue(err.startswith("refresh-records: error: "), err)
        for part in parts:
            self.assertIn(part, err)
        self.assertEqual(self.kept(), before)

    def assert_doubted(self, *parts):
        """Refused without a reason, also by --dry-run; with one it is written, and the reason and the doubts are in the message."""
        self.assert_refused("nothing was written", *parts)
        self.assert_refused(*parts, arguments=["--dry-run"])
        before = self.kept()
        code, out, err = self.refresh("--accept", "because\x1b", "--dry-run")
        self.assertEqual([code, err, self.kept()], [0, "", before])
        code, out, err = self.refresh("--accept", "because\x1b")
        self.assertEqual([code, err], [0, ""])
        for part in ("\nAccepted: because\\x1b\n", *parts):
            self.assertIn(part, out)
        self.assertEqual(self.kept(), {f"h200-{image}.jsonl": (self.out / f"{name}.jsonl").read_bytes()
                                       for name, image in (("compute_52", "compute_52"), ("auto", "sm_90"))})


class Keeping(Refresh):
    def test_the_first_of_a_device(self):
        out = self.keep()
        self.assertEqual(sorted(self.kept()), ["h200-compute_52.jsonl", "h200-sm_90.jsonl"])
        self.assertEqual(self.kept()["h200-sm_90.jsonl"], (self.out / "auto.jsonl").read_bytes())
        self.assertTrue(out.startswith("Records of a GPU run: h200-compute_52, h200-sm_90\n\nMade by commit 0123456789abcdef"), out)
        self.assertIn("h200-compute_52.jsonl: NVIDIA H200, driver 13.0 (580.159.04): 1 bench, 1 decode, 2 parity\n"
                      "  new: nothing is kept of this device and image; 5 output hashes\n"
                      "  beside the other files: 5 equal, 0 changed (0 stale, 0 different), 0 new\n", out)

    def test_one_arm_has_no_other_file_beside_it(self):
        del self.arms["auto"]
        self.assertIn("  beside the other files: 0 equal, 0 changed (0 stale, 0 different), 5 new\n", self.keep())

    def test_the_same_again(self):
        self.keep()
        self.assertIn("h200-sm_90.jsonl: NVIDIA H200, driver 13.0 (580.159.04): 1 bench, 1 decode, 2 parity\n"
                      "  instead of commit 0123456789\n"
                      "  output hashes: 5 equal, 0 changed (0 stale, 0 different), 0 new, 0 gone\n", self.keep())
        self.assertEqual(self.refresh("--accept", "why")[2], "refresh-records: note: nothing had to be accepted\n")

    def test_what_is_of_another_image_stays(self):
        self.keep()
        before = self.kept()
        (self.out / "auto.jsonl").unlink()
        del self.arms["auto"]
        self.runs[0][BENCH]["median_us"] = 1.5
        self.keep()
        after = self.kept()
        self.assertNotEqual(after.pop("h200-compute_52.jsonl"), before.pop("h200-compute_52.jsonl"))
        self.assertEqual(after, before)

    def test_one_file_of_both_arms_whose_lines_are_mixed(self):
        mixed = [record for pair in zip(*self.runs) for record in pair]
        (self.out / "all.jsonl").write_text("".join(json.dumps(record) + "\n" for record in mixed), encoding="utf-8")
        self.assertEqual(self.refresh(write=False)[0], 0)
        for run, name in zip(self.runs, ("compute_52", "sm_90")):
            self.assertEqual(self.kept()[f"h200-{name}.jsonl"].decode(), "".join(json.dumps(record) + "\n" for record in run))

    def test_a_run_is_written_header_first_and_end_last(self):
        header, *records, end = self.runs[0]
        for order in ([end, *records, header], [header, end, *records], [header, *records[:2], end, *records[2:]]):
            self.runs[0][:] = order
            self.keep()
            self.assertEqual(self.kept()["h200-compute_52.jsonl"].decode(),
                             "".join(json.dumps(record) + "\n" for record in (header, *records, end)))

    def test_a_dry_run_writes_nothing(self):
        code, out, _ = self.refresh("--dry-run")
        self.assertEqual([code, self.kept()], [0, {}])
        self.assertIn("new: nothing is kept", out)

    def test_names_of_files(self):
        for device, name in (("NVIDIA H100 80GB HBM3", "h100"), ("NVIDIA H200", "h200"), ("Tesla M40", "m40"), ("Tesla M40 24GB", "m40"),
                             ("NVIDIA H100 PCIe", "h100-pcie"), ("NVIDIA A100-SXM4-80GB", "a100-sxm4"), ("NVIDIA H200 NVL", "h200-nvl"),
                             ("NVIDIA GeForce RTX 4090", "geforce-rtx-4090"), ("../../a b", "a-b"), ("NVIDIA H100 80GB HBM3e", "h100")):
            self.assertEqual(refresh_records.file_name({"name": device, "image": "sm_52"}), f"{name}-sm_52.jsonl")
        for device, image in (("NVIDIA", "sm_52"), ("é", "sm_52"), ("", "sm_52"),
                              ("Tesla M40", "../x"), ("Tesla M40", "sm_\u0665"), ("Tesla M40", "host"), ("Tesla M40", "sm_52\n")):
            with self.subTest((device, image)):
                self.runs[0][0]["device"].update(name=device, image=image)
                self.assert_refused("gives no file name")

    def test_stale_is_said_and_written(self):
        self.keep()
        for run in self.runs:
            run[PARITY].update(output_hash="3" * 16, source_hash="4" * 16)
        out = self.keep()
        self.assertIn("output hashes: 4 equal, 1 changed (1 stale, 0 different), 0 new, 0 gone\n  stale (the kernels' source, launch or "
                      f"compiler differs too): 1\n    {self.runs[0][PARITY]['line']}\n", out)

    def test_new_cases_are_written(self):
        self.keep()
        for run in self.runs:
            run.insert(SECOND, dict(run[PARITY], line="one more"))
            run[-1]["records"] += 1
        self.assertIn("output hashes: 5 equal, 0 changed (0 stale, 0 different), 1 new, 0 gone\n", self.keep())


class Refusing(Refresh):
    def test_runs_that_are_not_whole(self):
        self.keep()
        good = copy.deepcopy(self.runs[1])
        for change, *parts in ((lambda run: run.pop(), "was cut short: it has no end"),
                               (lambda run: run.pop(PARITY), "has 3 records, expected 4"),
                               (lambda run: [run.pop(1) for _ in range(4)], "has 0 records, expected 4"),
                               (lambda run: [run.pop(1) for _ in range(4)] and run[-1].update(records=1), "has 0 records, expected 1"),
                               (lambda run: run[-1].update(interrupted=True), "was interrupted"),
                               (lambda run: run.pop(0), "has no header"),
                               (lambda run: run[PARITY].pop("line"), "'parity' record without line")):
            self.runs[1][:] = copy.deepcopy(good)
            change(self.runs[1])
            with self.subTest(parts):
                self.assert_refused("auto.jsonl", *parts)
                self.assert_refused(*parts, arguments=["--accept", "why"])

    def test_a_torn_line(self):
        self.write()
        with open(self.out / "auto.jsonl", "a", encoding="utf-8") as file:
            file.write('{"kind":"header"')
        self.assert_refused("auto.jsonl: the last line (line 7) is torn", write=False)

    def test_runs_that_are_not_kept(self):
        for change, *parts in ((lambda header: header["commit"].update(dirty=True), "is of commit 0123456789 with changes"),
                               (lambda header: header["commit"].update(hash="unknown"), "is of commit unknown"),
                               (lambda header: header["commit"].update(hash="f" * 40), "the runs are of 2 commits", "f" * 40)):
            self.runs[1][0] = run_of("sm_90", "b" * 16)[0]
            change(self.runs[1][0])
            with self.subTest(parts):
                self.assert_refused(*parts)
                self.assert_refused(*parts, arguments=["--accept", "why"])

    def test_runs_on_no_gpu(self):
        corpus = "".join(json.dumps(record) + "\n" for record in CORPUS if record["run"] == "bbbbbbbbbbbbbbb1")
        (self.out / "cpu.jsonl").write_text(corpus, encoding="utf-8")
        self.assert_refused("m40llm-decode in cpu.jsonl has device_kind 'simt', expected 'cuda'")

    def test_what_cannot_be_read(self):
        self.assert_refused(f"'{self.out}' has no *.jsonl", write=False)
        self.assert_refused("No such file", arguments=[self.out / "none.jsonl"])
        self.assert_refused("which '", "began", arguments=[self.out / "auto.jsonl"])  # twice
        (self.results / "m40-sm_52.jsonl").write_text("not json\n")
        self.assert_refused("m40-sm_52.jsonl' line 1 is not a record")

    def test_what_would_be_left_out(self):
        for name in ("a.jsonl.gz", "b.JSONL", "c.jsonl~"):
            path = self.out / name
            path.touch()
            self.assert_refused(f"'{path}' would be left out")
            path.unlink()

    def test_a_record_of_another_image(self):
        self.runs[1][BENCH]["image"]["arch"] = "compute_52"
        self.assert_refused("in auto.jsonl has a bench record of image 'compute_52', expected 'sm_90'", arguments=["--accept", "why"])

    def test_a_run_that_is_kept_under_another_name(self):
        (self.results / "m40-sm_52.jsonl").write_text("".join(json.dumps(record) + "\n" for record in self.runs[1]), encoding="utf-8")
        self.assert_refused("run bbbbbbbbbbbbbbbb in auto.jsonl is kept in m40-sm_52.jsonl, which stays", arguments=["--accept", "why"])

    def test_a_file_too_long_to_be_read_again(self):
        self.write()
        size = (self.out / "auto.jsonl").stat().st_size
        with unittest.mock.patch.object(refresh_records, "MAX_FILE_BYTES", size - 1):
            self.assert_refused(f"would have {size:,} bytes, expected at most the {size - 1:,} that are read")

    def test_a_reason_is_not_empty(self):
        for text in ("", " \n"):
            with self.assertRaises(SystemExit) as ended:
                self.refresh("--accept", text)
            self.assertEqual(ended.exception.code, 2)


class Doubting(Refresh):
    def setUp(self):
        super().setUp()
        self.keep()

    def test_different_bits(self):
        for run in self.runs:
            run[PARITY]["output_hash"] = "3" * 16
        self.assert_doubted("h200-sm_90.jsonl: output hashes different from those kept, with no excuse: 1\n", self.runs[0][PARITY]["line"])

    def test_different_logits(self):
        for run in self.runs:
            run[DECODE]["logits_hash"][1] = "3" * 16
        self.assert_doubted("different from those kept, with no excuse: 1\n", "logits of model b8951aa641e75aa1, step 1, tokens ")

    def test_bits_that_differ_from_another_file(self):
        self.runs[1][PARITY]["output_hash"] = "3" * 16
        self.results.joinpath("h200-sm_90.jsonl").unlink()  # and so they are new
        self.assert_doubted("h200-sm_90.jsonl: output hashes different from the other files' or among themselves, with no excuse: 1\n")

    def test_bits_that_differ_within_a_run(self):
        self.runs[1][SECOND:SECOND] = [dict(self.runs[1][PARITY], line="a new case", output_hash=digit * 16) for digit in "34"]
        self.runs[1][-1]["records"] += 2
        self.assert_doubted("h200-sm_90.jsonl: output hashes different from those kept, with no excuse: 1\n    a new case")

    def test_cases_that_would_be_gone(self):
        for place, text in ((SECOND, "parity cases that would be gone: 1\n    embedding_f32/element n_vocab=9"),
                            (DECODE, "decode cases that would be gone: 1\n    launches 'The capital of France is'"),
                            (BENCH, "bench cases that would be gone: 1\n    rms_norm/block n_rows=512,width=4096 random seed=1")):
            with self.subTest(text):
                good = copy.deepcopy(self.runs[1])
                self.runs[1].pop(place)
                self.runs[1][-1]["records"] -= 1
                self.assertNotIn("cases that stay", self.refresh()[2])
                self.assert_doubted(f"h200-sm_90.jsonl: kept {text}")
                self.runs[1][:] = good
                self.keep()

    def test_a_hash_that_would_be_gone_of_a_case_that_stays(self):
        self.runs[1][PARITY]["bit_exact"] = False
        self.assert_doubted("kept output hashes that would be gone, of cases that stay: 1\n    embedding_f32/element n_vocab=3")

    def test_logits_of_other_tokens_are_not_compared(self):
        for run in self.runs:
            run[DECODE]["prompt_tokens"][1] = 9
        self.assert_doubted("kept output hashes that would be gone, of cases that stay: 2\n    logits of model b8951aa641e75aa1, step 1")

    def test_a_run_that_failed(self):
        for end in ({"exit_code": 1}, {"failed": 2, "exit_code": 0}):
            with self.subTest(end):
                self.runs[1][-1].update(end)
                self.assert_doubted(f"h200-sm_90.jsonl: m40llm-parity failed: exit code {end['exit_code']}")

    def test_records_that_failed_in_a_run_that_says_otherwise(self):
        for place, change in ((PARITY, {"passed": False, "fault": "x"}), (DECODE, {"passed": False}),
                              (BENCH, {"recheck": dict(self.runs[1][BENCH]["recheck"], passed=False)})):
            good = dict(self.runs[1][place])
            self.runs[1][place].update(change)
            with self.subTest(good["kind"]):
                self.assert_doubted("h200-sm_90.jsonl: m40llm-parity has 1 failed records, though its end says that none failed")
            self.runs[1][place] = good
            self.keep()

    def test_a_comparison_of_nothing(self):
        for run in self.runs:
            for record in run[PARITY:BENCH]:
                record["source_hash"] = "4" * 16
                if record["kind"] == "parity":
                    record["output_hash"] = "5" * 16
                else:
                    record["logits_hash"] = ["5" * 16] * 3
        self.assert_doubted("no output hash is equal to one that is kept: nothing was compared")

    def test_another_device_of_the_same_name(self):
        for run in self.runs:
            run[0]["device"]["name"] = "NVIDIA H200 141GB"
        self.assert_doubted("several devices have this file's name: NVIDIA H200, NVIDIA H200 141GB")

    def test_the_first_few_are_named(self):
        for run in self.runs:
            run[SECOND:SECOND] = [dict(run[PARITY], line=f"case {i}") for i in range(8)]
            run[-1]["records"] += 8
        self.keep()
        for run in self.runs:
            del run[SECOND:SECOND + 8]
            run[-1]["records"] -= 8
        self.assert_doubted("gone: 8\n    case 0\n    case 1\n    case 2\n    case 3\n    case 4\n    and 3 more")


class Writing(Refresh):
    def test_all_files_or_none(self):
        self.keep()
        for run in self.runs:
            run[BENCH]["median_us"] = 1.5
        before = self.kept()
        for error, code, text in ((OSError(28, "No space left on device"), 1, f"cannot write into '{self.results}': No space left"),
                                  (KeyboardInterrupt(), 130, "interrupted")):
            with self.subTest(text), unittest.mock.patch("os.fsync", side_effect=[None, error]):
                result = self.refresh()
                self.assertEqual([result[0], self.kept()], [code, before])
                self.assertIn(text, result[2])

    def test_ctrl_c_between_two_files_waits_for_the_second(self):
        replace = os.replace

        def stopped(*names):
            replace(*names)
            signal.raise_signal(signal.SIGINT)

        with unittest.mock.patch("os.replace", side_effect=stopped):
            self.assertEqual([self.refresh()[0], sorted(self.kept())], [130, ["h200-compute_52.jsonl", "h200-sm_90.jsonl"]])

    def test_another_at_work_in_the_same_folder(self):
        folder = os.open(self.results, os.O_RDONLY)
        self.addCleanup(os.close, folder)
        fcntl.flock(folder, fcntl.LOCK_EX)
        self.assert_refused(f"another refresh-records is at work in '{self.results}'")
        fcntl.flock(folder, fcntl.LOCK_UN)
        self.keep()

    def test_a_folder_that_is_not_there(self):
        self.results.rmdir()
        code, _, err = self.refresh()
        self.assertEqual([code, err], [1, f"refresh-records: error: cannot open the folder '{self.results}': No such file or directory\n"])

    def test_two_names_of_one_file(self):
        self.keep()
        self.results.joinpath("h200-sm_90.jsonl").unlink()
        self.results.joinpath("h200-sm_90.jsonl").symlink_to("h200-compute_52.jsonl")
        self.assert_refused("two of the files are one", "h200-compute_52.jsonl")

    def test_as_a_command(self):
        self.write()
        command = [SCRIPT, self.out, "--results", self.results]
        with open("/dev/full", "w") as full:
            result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
        self.assertEqual([result.returncode, self.kept()], [1, {}])
        self.assertEqual(result.stderr, "refresh-records: error: cannot write to stdout: No space left on device\n")
        result = subprocess.run(command, capture_output=True, text=True, timeout=60)
        self.assertEqual([result.returncode, result.stderr, len(self.kept())], [0, "", 2])
        self.assertIn("--accept", subprocess.run([SCRIPT, "--help"], capture_output=True, text=True, timeout=60, check=True).stdout)
        self.assertEqual(subprocess.run([SCRIPT], capture_output=True, timeout=60).returncode, 2)

    def test_the_records_that_are_kept_now_would_be_kept_where_they_are(self):
        paths = glob.glob(str(ROOT / "results/*.jsonl"))
        self.assertTrue(paths)
        for path in paths:
            for run in refresh_records.read_whole([path]):
                refresh_records.check(run)
                self.assertEqual(refresh_records.file_name(run.header["device"]), os.path.basename(path))


if __name__ == "__main__":
    unittest.main()
