"""The programs as their users meet them: exit codes, one clear line on errors, nothing half-written, and never a crash.

Exit codes are 0, 1 for errors, 2 for a command line that says nothing that can be done, 130 after Ctrl-C.
M40LLM_BIN is the folder of the programs; M40LLM_MODEL a GGUF file of SmolLM2, without which its tests are skipped.
"""
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import struct
import subprocess
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("M40LLM_BIN", ROOT / "build/release/bin"))
MODEL = os.environ.get("M40LLM_MODEL", "")
PROGRAMS = ["m40llm-parity", "m40llm-decode", "m40llm-bench", "m40llm-occupancy"]
ON_A_DEVICE = PROGRAMS[:3]
TIMEOUT_S = 60
SIMT = ["--device", "simt"]
# A driver that says yes to all and runs no kernel: a GPU of 3 MB of L2, whose events lie 250 us apart.
FAKE_GPU = BIN.parent / "tests/device/fake"
# One quick run of each program.
QUICK = {
    "m40llm-parity": SIMT + ["--op", "argmax", "--sweep", "smoke"],
    "m40llm-bench": SIMT + ["--benchmark_filter=^residual", "--benchmark_min_time=0.001"],
    "m40llm-occupancy": ["--filter", "^argmax"],
}


def start(program, *arguments, **options):
    environment = {name: value for name, value in os.environ.items() if name != "M40LLM_REQUIRE_SM52"}
    environment.update(options.pop("env", {}))
    return subprocess.Popen([str(BIN / program), *map(str, arguments)], stdout=options.pop("stdout", subprocess.PIPE),
                            stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, env=environment, **options)


def wait(process):
    """The CompletedProcess of a started program, its output as text."""
    try:
        out, err = process.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, (out or b"").decode(errors="replace"),
                                       err.decode(errors="replace"))


def run(program, *arguments, **options):
    return wait(start(program, *arguments, **options))


def complaints(result):
    """What stands on stderr beside what every run says there: its device, its memory, where its records are."""
    return [line for line in result.stderr.splitlines() if not line.startswith(("device: ", "memory: ", "records: "))]


def have_gpu():
    return run("m40llm-parity", "--device", "cuda", "--op", "argmax", "--sweep", "smoke").returncode == 0


def mapped_bytes(program):
    """What the loadable segments of an ELF file take of the address space."""
    data = program.read_bytes()
    (table,), (size, n) = struct.unpack_from("<Q", data, 32), struct.unpack_from("<HH", data, 54)
    segments = [struct.unpack_from("<IIQQQQQ", data, table + i * size) for i in range(n)]  # type, flags, offset, address, -, in file, in memory
    return max(address + memory for kind, _, _, address, _, _, memory in segments if kind == 1)


class CliTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="m40llm_cli_")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def assert_error(self, result, code, *parts):
        """The exit code, and one line of it on stderr that contains every part; before it at most which device it was."""
        about = f"{' '.join(result.args)}\nexit code {result.returncode}\n{result.stdout[-500:]}\n{result.stderr[-500:]}"
        self.assertEqual(result.returncode, code, about)
        lines = complaints(result)
        self.assertEqual(len(lines), 1, about)
        self.assertRegex(lines[0], rf"^{os.path.basename(result.args[0])}: error: \S")
        self.assertLess(len(lines[0]), 900, about)
        self.assertTrue(lines[0].isprintable(), about)
        for part in parts:
            self.assertIn(str(part), lines[0], about)

    def assert_ok(self, result):
        self.assertEqual(result.returncode, 0, f"{' '.join(result.args)}\n{result.stdout[-500:]}\n{result.stderr[-500:]}")
        return result

    def assert_nothing_written(self):
        self.assertEqual(list(self.folder.iterdir()), [])

    def wait_for_records(self, process, path):
        """Until the running program has written a record behind its header."""
        while not path.exists() or path.read_bytes().count(b"\n") < 2:
            self.assertIsNone(process.poll())
            time.sleep(0.01)

    def read_run(self, path):
        """The measurements between the header and the end of the one run in a file, whose lines are whole."""
        text = pathlib.Path(path).read_text()
        self.assertTrue(text.endswith("\n"), "the last line is torn")
        records = [json.loads(line) for line in text.splitlines()]
        self.assertEqual([records[0]["kind"], records[-1]["kind"]], ["header", "end"])
        self.assertEqual(records[-1]["records"], len(records) - 1)
        self.assertEqual({record["run"] for record in records}, {records[0]["run"]})
        self.assertFalse({"header", "end"} & {record["kind"] for record in records[1:-1]})
        return records[1:-1], records[-1]


class CommandLine(CliTest):
    """What all programs have in common."""

    FLAGS = {
        "m40llm-parity": "--op --filter --case --sweep --against --list --require-sm52 --order --seed --workers",
        "m40llm-decode": "--model --prompt --tokens --context --way --oracle --against --require-sm52 --order --seed --workers",
        "m40llm-bench": "--require-sm52 --order --seed --workers --benchmark_filter --benchmark_list_tests --benchmark_min_time "
                        "--benchmark_repetitions --benchmark_format --benchmark_out --rotate --graph",
        "m40llm-occupancy": "--filter",
    }

    def test_help_names_the_flags(self):
        for program in PROGRAMS:
            for flag in ("--help", "-h"):
                result = self.assert_ok(run(program, flag))
                self.assertEqual(result.stderr, "")
            for flag in ["--device", "--image", "--json", "--help"] + self.FLAGS[program].split():
                self.assertRegex(result.stdout, rf"(?m)(^|[\s,]){flag}\b", program)

    def test_what_is_unknown_is_named(self):
        for program in PROGRAMS:
            self.assert_error(run(program, "--bogus"), 2, "--bogus", "--help")
            self.assert_error(run(program, "--bogus=3"), 2, "--bogus", "--help")
            self.assert_error(run(program, "extra"), 2, "extra", "--help")
            self.assert_error(run(program, "--json"), 2, "--json", "missing")
            self.assert_error(run(program, "--json", ""), 2, "--json", "name is expected")

    def test_messages_are_printable_whatever_is_named(self):
        for text, shown in (("a\x1b[31mb", "a\\x1b[31mb"), ("a\nb", "a\\x0ab"), ("\u202ea", "\\xe2\\x80\\xaea"), (b"a\xff", "a\\xff")):
            words = {"m40llm-parity": "--device --image --order --seed --workers --sweep --case --against --op", "m40llm-occupancy": "--image",
                     "m40llm-bench": "--device --image --order --seed --benchmark_format --benchmark_min_time --benchmark_nosuch",
                     "m40llm-decode": "--device --image --tokens --context --oracle --against --model"}
            for program, flags in words.items():
                for flag in flags.split():
                    word = os.fsencode(flag) + b"=" + os.fsencode(text)
                    rest = [] if flag in ("--device", "--case") or program == "m40llm-occupancy" else SIMT
                    if program == "m40llm-decode":
                        rest = rest + ["--prompt", "x"] + (["--model", "/nonexistent"] if flag != "--model" else [])
                    process = subprocess.run([os.fsencode(BIN / program), word, *map(os.fsencode, rest)], capture_output=True,
                                             stdin=subprocess.DEVNULL, timeout=TIMEOUT_S)
                    lines = [line for line in process.stderr.decode().splitlines() if not line.startswith("device: ")]
                    self.assertIn(process.returncode, (1, 2), (word, lines))
                    self.assertEqual(len(lines), 1, (word, lines))
                    self.assertTrue(lines[0].isprintable() and (shown in lines[0] or flag == "--op" and "[" in shown), (word, lines))

    def test_the_names_of_files_are_printable_too(self):
        path = self.folder / "a\x1b[31m\nb.jsonl"
        path.write_text('{"kind":"header","schema_version":2')
        result = self.assert_ok(run("m40llm-occupancy", *QUICK["m40llm-occupancy"], "--json", path))
        for line in result.stderr.splitlines():
            self.assertTrue(line.isprintable(), line)
        self.assertEqual(result.stderr.count("a\\x1b[31m\\x0ab.jsonl"), 2, result.stderr)  # the torn line, the records

    def quick(self, program):
        """A command line that would work, if nothing were wrong with what is added to it; a model is read only later."""
        return QUICK.get(program, ["--model", "/nonexistent/model.gguf", "--prompt", "x"])

    def test_unknown_devices(self):
        for program in PROGRAMS:
            for device in ("simd", "", "CUDA", "cuda:", "cuda:x", "cuda:-1", "cuda:0x1", "cuda:99999999999999999999"):
                rest = [word for word in self.quick(program) if word not in SIMT]
                self.assert_error(run(program, "--device", device, *rest), 2, f"'{device}'", "expected auto, cuda, cuda:N or simt")

    def test_numbers_out_of_range(self):
        for program in ON_A_DEVICE:
            quick = self.quick(program)
            for seed in ("-1", "1.5", "x", "", "18446744073709551616", "99999999999999999999999"):
                self.assert_error(run(program, f"--seed={seed}", *quick), 2, "--seed")
            for workers in ("-1", "1.5", "x", "257", "4294967296", "99999999999999999999999"):
                self.assert_error(run(program, "--workers", workers, *quick), 2, "--workers", workers)
            self.assert_error(run(program, "--workers", "x", *quick), 2, "--workers 'x' is not an integer")
            self.assert_error(run(program, "--order", "up", *quick), 2, "--order", "'up'", "ascending, descending, random")
            on_simt = [word for word in quick if word not in SIMT] + SIMT
            for order in ([], ["--order", "descending"]):  # which would leave it out of account
                self.assert_error(run(program, "--seed", "5", *order, *on_simt), 2, "--seed 5", "--order random")

    def test_what_is_not_expected_is_named_in_its_order(self):
        for program in PROGRAMS:
            self.assert_error(run(program, "--devcie", "simt", "x"), 2, "not expected: --devcie simt x", "--help")

    def test_images_need_a_gpu(self):
        for program in ON_A_DEVICE:
            arguments = [word for word in self.quick(program) if word not in SIMT] + SIMT
            for image in ("sm_52", "compute_52", "nonsense"):
                self.assert_error(run(program, "--image", image, *arguments), 1, f"'{image}'", "GPU")
        self.assert_error(run("m40llm-occupancy", "--image", "sm_90"), 1, "--image", "'sm_90'", "expected")

    def test_no_gpu(self):
        if have_gpu():
            self.skipTest("there is a GPU")
        for program in ON_A_DEVICE:
            rest = [word for word in self.quick(program) if word not in SIMT]
            for device in ("cuda", "cuda:0", "cuda:99"):
                self.assert_error(run(program, "--device", device, *rest), 1, "no CUDA device")
            self.assert_error(run(program, "--require-sm52", *rest), 1, "sm_52", "required")
            self.assert_error(run(program, "--require-sm52", *rest, *SIMT), 1, "sm_52", "required", "--device simt")
            self.assert_error(run(program, *rest, env={"M40LLM_REQUIRE_SM52": "1"}), 1, "sm_52", "required")

    def test_why_there_is_no_gpu_is_said_and_recorded(self):
        if have_gpu():
            self.skipTest("there is a GPU")
        path = self.folder / "x.jsonl"
        # A driver's library for 32 bits.
        (self.folder / "libcuda.so.1").write_bytes(b"\x7fELF\x01\x01\x01".ljust(256, b"\0"))
        for environment, why in (({}, "libcuda.so.1: cannot open shared object file"),
                                 ({"LD_LIBRARY_PATH": str(self.folder)}, "libcuda.so.1: wrong ELF class: ELFCLASS32")):
            path.unlink(missing_ok=True)
            result = self.assert_ok(run("m40llm-parity", "--op", "argmax", "--sweep", "smoke", "--json", path, env=environment))
            text = result.stdout + result.stderr
            self.assertRegex(text, rf"(?m)^device: SIMT .*\(no GPU: .*{re.escape(why)}.*; times are a CPU's\)$")
            header = json.loads(path.read_text().splitlines()[0])
            self.assertIn(why, header["device"]["why_no_gpu"])
        path.unlink()
        self.assert_ok(run("m40llm-parity", *QUICK["m40llm-parity"], "--json", path))
        self.assertIsNone(json.loads(path.read_text().splitlines()[0])["device"]["why_no_gpu"])

    def test_a_yes_in_the_environment_however_it_is_written(self):
        for program in ON_A_DEVICE:
            arguments = [word for word in self.quick(program) if word not in SIMT] + SIMT
            for yes in ("1", "true", "TRUE", "yes", "on"):
                self.assert_error(run(program, *arguments, env={"M40LLM_REQUIRE_SM52": yes}), 1, "sm_52", "required")
            for neither in ("2", "ja", "sm_52"):
                self.assert_error(run(program, *arguments, env={"M40LLM_REQUIRE_SM52": neither}), 2,
                                  f"M40LLM_REQUIRE_SM52='{neither}'", "expected 1, true, yes, on")
        for no in ("", "0", "false", "no", "off"):
            self.assert_ok(run("m40llm-parity", *QUICK["m40llm-parity"], env={"M40LLM_REQUIRE_SM52": no}))

    def test_there_is_no_gpu_with_that_number(self):
        if not have_gpu():
            self.skipTest("there is no GPU")
        self.assert_error(run("m40llm-parity", "--device", "cuda:99"), 1, "cuda:99")

    def test_records_that_cannot_be_written(self):
        a_file = self.folder / "file"
        a_file.write_text("kept")
        for program, arguments in QUICK.items():
            self.assert_error(run(program, *arguments, "--json", a_file / "x.jsonl"), 1, "cannot", a_file, "Not a directory")
            self.assert_error(run(program, *arguments, "--json", self.folder), 1, "cannot open", self.folder, "Is a directory")
            self.assert_error(run(program, *arguments, "--json", "/dev/full"), 1, "/dev/full", "No space left on device")
        self.assertEqual(a_file.read_text(), "kept")
        self.assertEqual(list(self.folder.iterdir()), [a_file])
        if os.geteuid() != 0:
            self.folder.chmod(0o500)
            for program, arguments in QUICK.items():
                self.assert_error(run(program, *arguments, "--json", self.folder / "x.jsonl"), 1, "cannot open", "Permission denied")
            self.folder.chmod(0o700)

    def test_a_disk_that_fills_up_leaves_whole_records(self):
        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))

        path = self.folder / "x.jsonl"
        result = run("m40llm-parity", *SIMT, "--sweep", "smoke", "--json", path, preexec_fn=limit)
        self.assert_error(result, 1, path, "whole record")
        lines = path.read_text().split("\n")
        self.assertEqual(lines.pop(), "")
        self.assertGreater(len(lines), 2)
        for line in lines:
            json.loads(line)

    def test_a_file_that_may_not_grow_is_an_error_and_no_signal(self):
        path = self.folder / "x.jsonl"
        for name, arguments in QUICK.items():
            for most in (0, 10):
                result = run(name, *arguments, "--json", path,
                             preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)))
                self.assertEqual(result.returncode, 1, result.stderr)
                self.assertIn(str(path), result.stderr.splitlines()[-1])
                self.assertFalse(path.exists())  # of no record
            path.touch()  # that was there stays
            self.assertEqual(run(name, *arguments, "--json", path,
                                 preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))).returncode, 1)
            self.assertEqual(path.read_bytes(), b"")
            path.unlink()
        if MODEL:
            logits = self.folder / "x.npy"
            result = run("m40llm-decode", "--model", MODEL, "--prompt", "a", "--tokens", 1, *SIMT, "--logits", logits,
                         preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000)))
            self.assert_error(result, 1, "--logits", "File too large")
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_too_little_memory_is_an_error(self):
        """Wherever it runs out: also in threads of the SIMT device."""
        program = mapped_bytes(BIN / "m40llm-parity") + (1 << 20)  # and its loader; with less the system starts nothing

        def code_with(most):
            result = run("m40llm-parity", *SIMT, "--op", "argmax", "--sweep", "smoke", "--workers", 2,
                         preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (most, most)))
            self.assertIn(result.returncode, (0, 1, 127), (most, result.stderr[-300:]))  # 127: no room for the libraries
            self.assertNotIn("terminate", result.stderr, most)
            return result.returncode

        for most in range(program, program + (40 << 20), 1 << 20):
            code_with(most)
        # Before main() a page makes a difference.
        too_little, enough = program, program + (40 << 20)
        while enough - too_little > 4096:
            middle = (too_little + enough) // 2
            too_little, enough = (middle, enough) if code_with(middle) == 127 else (too_little, middle)
        for most in range(enough, enough + (256 << 10), 8 << 10):
            code_with(most)

    def test_a_commit_that_readers_would_refuse_is_refused(self):
        for commit in ("x", "-dirty", "ABCDEF0123", "0123456", "a" * 65, "\x1b[31m"):
            for program, arguments in QUICK.items():
                path = self.folder / "x.jsonl"
                result = run(program, *arguments, "--json", path, env={"M40LLM_COMMIT": commit})
                if commit == "0123456":
                    self.assert_ok(result)
                    path.unlink()
                    continue
                self.assertEqual(result.returncode, 2, result.stderr)
                self.assertIn("M40LLM_COMMIT", result.stderr.splitlines()[-1])
                self.assertFalse(path.exists())

    def test_the_variables_of_google_benchmark_leave_nothing_out(self):
        for name, value in (("LIST_TESTS", "1"), ("FILTER", "zzz"), ("REPETITIONS", "-5"), ("REPORT_AGGREGATES_ONLY", "1"),
                            ("DISPLAY_AGGREGATES_ONLY", "1")):
            path = self.folder / f"{name}.jsonl"
            self.assert_ok(run("m40llm-bench", *QUICK["m40llm-bench"], "--json", path, env={f"BENCHMARK_{name}": value}))
            self.assertGreater(len(self.read_run(path)[0]), 0, name)

    def test_output_that_cannot_be_written(self):
        with open("/dev/full", "wb") as full:
            for program, arguments in QUICK.items():
                self.assertEqual(run(program, *arguments, stdout=full).returncode, 1, program)
            self.assert_error(run("m40llm-parity", "--list", stdout=full), 1, "output")

    def test_records_are_appended(self):
        path = self.folder / "new" / "folder" / "x.jsonl"
        for n in (1, 2):
            self.assert_ok(run("m40llm-occupancy", "--filter", "^argmax", "--json", path))
            self.assertEqual(path.read_text().count('"kind":"header"'), n)
        with path.open("a") as file:
            file.write('{"kind":"par')
        result = self.assert_ok(run("m40llm-occupancy", "--filter", "^argmax", "--json", path))
        self.assertIn("torn", result.stderr)
        self.assertEqual([json.loads(line)["kind"] for line in path.read_text().splitlines()].count("end"), 3)


class RecordsFile(CliTest):
    """Whatever happens, nobody's records are lost and nothing else of the user's is touched."""

    def test_a_last_record_that_lost_its_newline_alone_is_kept(self):
        path = self.folder / "x.jsonl"
        self.assert_ok(run("m40llm-occupancy", *QUICK["m40llm-occupancy"], "--json", path))
        before = path.read_bytes()
        for last in (before, before.splitlines(keepends=True)[0]):  # an end; a header
            path.write_bytes(last[:-1])
            result = self.assert_ok(run("m40llm-occupancy", *QUICK["m40llm-occupancy"], "--json", path))
            self.assertTrue(path.read_bytes().startswith(last), result.stderr)
            self.assertIn("newline", result.stderr)

    def test_records_with_other_ends_of_lines_are_not_taken_for_a_torn_line(self):
        path = self.folder / "x.jsonl"
        self.assert_ok(run("m40llm-occupancy", *QUICK["m40llm-occupancy"], "--json", path))
        lines = path.read_bytes().replace(b"\n", b"\r")
        for content in (lines, lines[:-20]):
            path.write_bytes(content)
            self.assert_error(run("m40llm-occupancy", *QUICK["m40llm-occupancy"], "--json", path), 1, path, "carriage returns")
            self.assertEqual(path.read_bytes(), content)

    def test_a_byte_order_mark_is_refused(self):
        path = self.folder / "x.jsonl"
        self.assert_ok(run("m40llm-parity", *QUICK["m40llm-parity"], "--json", path))
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
        self.assert_error(run("m40llm-parity", *QUICK["m40llm-parity"], "--against", path), 1, path, "line 1", "byte order mark")

    def test_a_program_with_nothing_to_do_touches_nothing(self):
        nothing = {"m40llm-parity": SIMT + ["--op", "nosuch"], "m40llm-bench": SIMT + ["--benchmark_filter=zzz"],
                   "m40llm-occupancy": ["--filter", "zzz"]}
        empty, target, link = self.folder / "empty", self.folder / "target", self.folder / "link"
        empty.touch()
        target.touch()
        link.symlink_to(target)
        for program, arguments in nothing.items():
            for path in (empty, link, self.folder / "none"):
                self.assert_error(run(program, *arguments, "--json", path), 1, "match")
            self.assertEqual(sorted(self.folder.iterdir()), [empty, link, target])
            self.assertTrue(link.is_symlink())

    def test_a_file_that_another_run_writes_is_refused(self):
        path = self.folder / "x.jsonl"
        first = start("m40llm-parity", *SIMT, "--sweep", "all", "--json", path)
        self.wait_for_records(first, path)
        for program, arguments in QUICK.items():
            self.assert_error(run(program, *arguments, "--json", path), 1, "another run", f"process {first.pid}", path)
        first.send_signal(signal.SIGTERM)
        self.assertEqual(wait(first).returncode, 130)
        self.assertTrue(self.read_run(path)[1]["interrupted"])

    def test_what_holds_no_records_is_left_alone(self):
        path = self.folder / "x"
        for content in (b"GGUF\3\0\0\0 no newline", b"notes\n", b'{"kind":"header","schema_version":1,"run":"a"}\n'):
            path.write_bytes(content)
            for program, arguments in QUICK.items():
                self.assert_error(run(program, *arguments, "--json", path), 1, path, "cannot append")
            self.assertEqual(path.read_bytes(), content)

    def test_the_console_is_refused(self):
        path = self.folder / "out"
        for name in ("/dev/stdout", "/dev/fd/1", path):
            with path.open("wb") as out:
                result = run("m40llm-parity", *QUICK["m40llm-parity"], "--json", name, stdout=out)
            self.assert_error(result, 1, name, "own output")
            self.assertEqual(path.read_bytes(), b"")
        self.assert_error(run("m40llm-parity", *QUICK["m40llm-parity"], "--json", "/dev/stdout"), 1, "own output")  # a pipe

    def test_closed_descriptors(self):
        for closed in ("0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"):
            for program, arguments in QUICK.items():
                path = self.folder / "x.jsonl"
                words = [str(BIN / program), *arguments, "--json", str(path)]
                shell = subprocess.run(["bash", "-c", f'"$@" {closed}', "bash", *words], capture_output=True, timeout=TIMEOUT_S)
                self.assertEqual(shell.returncode, 0, (closed, program, shell.stderr))
                self.read_run(path)  # every line is JSON: no console's text is among them
                path.unlink()

    def test_a_hang_up_and_a_termination_end_with_an_end(self):
        for number in (signal.SIGHUP, signal.SIGTERM):
            path = self.folder / f"{number}.jsonl"
            process = start("m40llm-parity", *SIMT, "--sweep", "all", "--json", path)
            while not path.exists() or path.stat().st_size == 0:
                self.assertIsNone(process.poll())
                time.sleep(0.01)
            process.send_signal(number)
            self.assertEqual(wait(process).returncode, 130)
            self.assertEqual([self.read_run(path)[1][key] for key in ("interrupted", "exit_code")], [True, 130])

    def test_one_stop_that_comes_twice_is_one(self):  # `timeout` sends it to the program and to its group
        path = self.folder / "x.jsonl"
        process = start("m40llm-parity", *SIMT, "--sweep", "all", "--json", path)
        self.wait_for_records(process, path)
        process.send_signal(signal.SIGTERM)
        status = pathlib.Path(f"/proc/{process.pid}/status")
        while process.poll() is None and not re.search(r"^ShdPnd:\t0+$", status.read_text(), re.MULTILINE):
            pass  # the first is still to be delivered
        process.send_signal(signal.SIGTERM)
        self.assertEqual(wait(process).returncode, 130)
        self.assertEqual([self.read_run(path)[1][key] for key in ("interrupted", "exit_code")], [True, 130])

    def test_nohup(self):
        path = self.folder / "x.jsonl"
        process = start("m40llm-bench", *QUICK["m40llm-bench"], "--benchmark_repetitions=20", "--json", path,
                        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
        while not path.exists():
            self.assertIsNone(process.poll())
            time.sleep(0.01)
        process.send_signal(signal.SIGHUP)
        self.assertEqual(wait(process).returncode, 0)

    def test_removed_meanwhile(self):
        path = self.folder / "x.jsonl"
        process = start("m40llm-parity", *SIMT, "--sweep", "all", "--json", path)
        self.wait_for_records(process, path)
        path.unlink()
        process.send_signal(signal.SIGTERM)
        self.assert_error(wait(process), 1, path, "removed or replaced")

    def test_kill_leaves_whole_records(self):
        path = self.folder / "x.jsonl"
        for n in range(6):
            process = start("m40llm-occupancy", "--json", path)
            time.sleep(0.004 * n)
            process.kill()
            wait(process)
        self.assert_ok(run("m40llm-occupancy", "--json", path))
        lines = path.read_text().splitlines()
        records = [json.loads(line) for line in lines]
        ids = [record["run"] for record in records if record["kind"] == "header"]
        self.assertEqual(len(set(ids)), len(ids))
        self.assertTrue(all(record["run"] in ids for record in records))
        last = [record for record in records if record["run"] == ids[-1]]
        self.assertEqual(last[-1]["records"], len(last) - 1)


class Parity(CliTest):
    LINE = "gemv_f16/shared rows=33,cols=64 R seed=1"

    def test_nothing_matches(self):
        for arguments in (["--op", "nosuch"], ["--filter", "zzz"], ["--op", "argmax", "--filter", "gemv"]):
            path = self.folder / "x.jsonl"
            self.assert_error(run("m40llm-parity", *arguments, *SIMT, "--json", path), 1, "no case matches", arguments[1], "--list")
            self.assert_error(run("m40llm-parity", *arguments, "--list"), 1, arguments[1])
        self.assert_nothing_written()

    def test_words_that_mean_nothing(self):
        self.assert_error(run("m40llm-parity", "--sweep", "huge"), 2, "--sweep", "'huge'", "smoke, model, edge, all")
        for flag in ("--op", "--filter"):
            for regex in ("[", "(", "*a"):
                self.assert_error(run("m40llm-parity", flag, regex), 2, flag, f"'{regex}'", "regular expression")
        self.assert_error(run("m40llm-parity", "--op", "argma", "--list"), 1, "no case matches", "'argma' (an op's whole name)")

    def test_regular_expressions_that_would_take_all_stack_or_time(self):
        flags = (("m40llm-parity", "--op"), ("m40llm-parity", "--filter"), ("m40llm-occupancy", "--filter"))
        for regex in ("(" * 60000 + ")" * 60000, "a" * 120000, "(a|" * 20000 + "b" + ")" * 20000):
            for program, flag in (*flags, ("m40llm-bench", "--benchmark_filter")):
                self.assert_error(run(program, f"{flag}={regex}"), 2, flag, f"{len(regex)} bytes", "at most 2000")
        for program, flag in flags:
            self.assert_error(run(program, flag, "(" * 1000 + ")" * 1000), 2, flag, "regular expression", "nested")
            self.assert_error(run(program, flag, "(.*)*(.*)*(.*)*x{1,99}_"), 1, flag, "match limit exceeded of 1000000 steps")

    def test_a_case_and_what_chooses_others(self):
        for flag, value in (("--op", "argmax"), ("--filter", "gemv"), ("--sweep", "smoke")):
            self.assert_error(run("m40llm-parity", "--case", self.LINE, flag, value, *SIMT), 2, "--case", flag)

    def test_each_part_of_a_case_may_be_wrong(self):
        for line, parts in {
            "": ["expected"],
            "x": ["'x'", "expected"],
            "gemv_f16": ["gemv_f16", "expected"],
            "gemv_f16/": ["no op and variant"],
            "/warp rows=33,cols=64 R seed=1": ["no op and variant"],
            "gemv_f61/shared rows=33,cols=64 R seed=1": ["no op 'gemv_f61'", "argmax"],
            "gemv_f16/wrap rows=33,cols=64 R seed=1": ["'gemv_f16'", "no variant 'wrap'", "shared"],
            "gemv_f16/shared": ["no shape"],
            "gemv_f16/shared row=33,cols=64 R seed=1": ["row=33", "rows,cols"],
            "gemv_f16/shared rows=33 R seed=1": ["rows,cols"],
            "gemv_f16/shared rows=33,cols=64,z=1 R seed=1": ["rows,cols", "z=1"],
            "gemv_f16/shared rows=33,rows=64 R seed=1": ["'rows' twice"],
            "gemv_f16/shared =33,cols=64 R seed=1": ["without a name"],
            "gemv_f16/shared rows=0,cols=64 R seed=1": ["rows=0", "from 1"],
            "gemv_f16/shared rows=-3,cols=64 R seed=1": ["rows=-3", "from 1"],
            "gemv_f16/shared rows=x,cols=64 R seed=1": ["rows 'x'", "not a number"],
            "gemv_f16/shared rows=,cols=64 R seed=1": ["rows ''", "not a number"],
            "gemv_f16/shared rows=2147483647,cols=64 R seed=1": ["rows=2147483647", "from 1 to"],
            "gemv_f16/shared rows=99999999999,cols=64 R seed=1": ["'99999999999'", "not a number in range"],
            "gemv_q4_1/shared rows=3,cols=33 R seed=1": ["cols=33", "multiple of 32"],
            "gemv_f16/shared rows=33,cols=64 Q seed=1": ["no inputs 'Q'", "S-cancel"],
            "gemv_f16/shared rows=33,cols=64": ["no class of inputs"],
            "gemv_f16/shared rows=33,cols=64 R": ["no seed="],
            "gemv_f16/shared rows=33,cols=64 R sed=1": ["no seed="],
            "gemv_f16/shared rows=33,cols=64 R seed=": ["seed ''", "not a number"],
            "gemv_f16/shared rows=33,cols=64 R seed=-1": ["seed '-1'", "not a number in range"],
            "gemv_f16/shared rows=33,cols=64 R seed=18446744073709551616": ["not a number in range"],
            "gemv_f16/shared rows=33,cols=64 R seed=1 more": ["'more'"],
        }.items():
            path = self.folder / "x.jsonl"
            # The good case in front must not run either.
            self.assert_error(run("m40llm-parity", *SIMT, "--case", self.LINE, "--case", line, "--json", path), 2, *parts)
        self.assert_nothing_written()

    def test_a_case_that_memory_cannot_hold_fails_alone(self):
        line = "gemv_f16/global rows=8388608,cols=8388608 R seed=1"
        path = self.folder / "x.jsonl"
        result = run("m40llm-parity", *SIMT, "--case", line, "--case", self.LINE, "--json", path)
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertIn("not enough memory", result.stdout)
        records, end = self.read_run(path)
        self.assertEqual([record["passed"] for record in records], [False, True])
        self.assertEqual([end["passed"], end["failed"], end["exit_code"]], [1, 1, 1])

    def test_a_case_beyond_the_budget_is_refused_with_figures(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))

        path = self.folder / "x.jsonl"
        begin = time.monotonic()
        result = run("m40llm-parity", *SIMT, "--case", "gemv_f32/global rows=65536,cols=65536 R seed=1", "--case", self.LINE,
                     "--json", path, preexec_fn=limit)
        self.assertLess(time.monotonic() - begin, 20)  # to fill 17 GB takes longer
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertRegex(result.stdout, r"not enough memory for the case: 51\.5 GB: a on the host 34\.4 GB, a 17\.2 GB, .* are needed; "
                                        r"SIMT device .* has \d+\.\d GB free")
        records, end = self.read_run(path)
        self.assertEqual([record["passed"] for record in records], [False, True])
        self.assertIn("51.5 GB", records[0]["fault"])

    def test_products_beyond_an_int_are_refused_by_name(self):
        for line, part in {
            "attention_decode/tile n_heads=16777216,n_kv_heads=16777216,head_dim=128,context=1,head_major=0 c seed=1":
                "n_heads x head_dim is 2147483648",
            "kv_append/element n_kv_heads=16777216,head_dim=16777216,position=0,n_positions=1,head_major=0 random seed=1":
                "n_kv_heads x head_dim is 281474976710656",
        }.items():
            self.assert_error(run("m40llm-parity", *SIMT, "--case", line), 2, part, "at most 2147483647")

    def test_a_listed_case_runs_alone(self):
        listed = self.assert_ok(run("m40llm-parity", "--list", "--sweep", "smoke")).stdout.splitlines()
        self.assertGreater(len(listed), 50)
        self.assertEqual(len(set(listed)), len(listed))
        ops = sorted({line.split("/")[0] for line in listed})
        self.assertLessEqual({"argmax", "attention_decode", "gemv_q4_1", "rms_norm", "swiglu"}, set(ops))
        path = self.folder / "x.jsonl"
        one_of_each = [next(line for line in listed if line.startswith(op + "/")) for op in ops]
        words = [word for line in one_of_each for word in ("--case", line)]
        self.assert_ok(run("m40llm-parity", *SIMT, *words, "--json", path))
        records, end = self.read_run(path)
        self.assertEqual([record["line"] for record in records], one_of_each)
        self.assertEqual([end["passed"], end["failed"]], [len(ops), 0])

    def test_filters_select(self):
        listed = run("m40llm-parity", "--list", "--sweep", "smoke").stdout.splitlines()
        for arguments, expected in ((["--op", "gemv_.*"], [line for line in listed if line.startswith("gemv_")]),
                                    (["--op", "gemv"], None),
                                    (["--filter", "argmax.*random"], [line for line in listed if re.search("argmax.*random", line)])):
            result = run("m40llm-parity", "--list", "--sweep", "smoke", *arguments)
            self.assertEqual(result.stdout.splitlines(), expected or [])
            self.assertEqual(result.returncode, 0 if expected else 1)

    def test_the_same_bits_in_any_order(self):
        hashes = []
        for n, arguments in enumerate([[], ["--order", "descending"], ["--order", "random", "--seed", "7", "--workers", "1"],
                                       ["--order", "random", "--seed", "18446744073709551615", "--workers", "2"],
                                       ["--order", "random", "--seed", "3", "--workers", "3"], ["--workers", "4"]]):
            path = self.folder / f"{n}.jsonl"
            self.assert_ok(run("m40llm-parity", *SIMT, "--sweep", "smoke", "--json", path, *arguments))
            hashes.append({record["line"]: record["output_hash"] for record in self.read_run(path)[0]})
            self.assertEqual(hashes[-1], hashes[0], arguments)
        self.assertGreater(len(set(hashes[0].values())), 20)  # they are hashes of something

    def test_against_records_of_another_run(self):
        path = self.folder / "x.jsonl"
        self.assert_ok(run("m40llm-parity", *QUICK["m40llm-parity"], "--json", path))
        result = self.assert_ok(run("m40llm-parity", *QUICK["m40llm-parity"], "--against", path))
        self.assertRegex(result.stdout, r"hashes: [1-9]\d* equal, 0 different")
        # Another op was run: nothing is equal, so nothing was shown.
        other = SIMT + ["--op", "rms_norm", "--sweep", "smoke"]
        self.assertEqual(run("m40llm-parity", *other).returncode, 0)
        records = self.folder / "y.jsonl"
        result = run("m40llm-parity", *other, "--against", path, "--json", records)
        self.assertEqual(result.returncode, 1)
        self.assertIn("FAILED: nothing was equal", result.stdout)
        end = self.read_run(records)[1]
        self.assertEqual([end["exit_code"], end["against"]["equal"]], [1, 0])
        # All stale shows nothing either.
        stale = self.folder / "stale.jsonl"
        stale.write_text(re.sub(r'"(output|source)_hash":"[0-9a-f]{4}', r'"\1_hash":"dead', path.read_text()))
        result = run("m40llm-parity", *QUICK["m40llm-parity"], "--against", stale)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stdout, r"hashes: 0 equal, 0 different, [1-9]\d* stale")
        self.assert_ok(run("m40llm-parity", *QUICK["m40llm-parity"], "--against", stale, "--against", path))
        path.write_text(re.sub(r'"output_hash":"[0-9a-f]{4}', '"output_hash":"dead', path.read_text()))
        result = run("m40llm-parity", *QUICK["m40llm-parity"], "--against", path)
        self.assertEqual(result.returncode, 1)
        self.assertIn("other bits than recorded", result.stdout)

    def test_against_what_is_no_record(self):
        path = self.folder / "x.jsonl"
        for content, parts in ((b"GGUF\0\1\2\n", ["line 1", "not JSON"]), (b"[1]\n", ["line 1", "not a record"]), (b"", ["no records"]),
                               (b'{"kind":"decode","model":{}}\n', ["line 1", "not a record"]), (b"[" * 100000 + b"\n", ["line 1", "nests"]),
                               (b'{"kind":"header","schema_version":999}\n', ["line 1", "schema_version 999", "expected 2"])):
            path.write_bytes(content)
            self.assert_error(run("m40llm-parity", *QUICK["m40llm-parity"], "--against", path), 1, path, *parts)
        self.assert_error(run("m40llm-parity", "--against", self.folder / "none"), 1, self.folder / "none", "No such file")
        self.assert_error(run("m40llm-parity", "--against", self.folder), 1, self.folder, "folder")

    def test_ctrl_c(self):
        path = self.folder / "x.jsonl"
        process = start("m40llm-parity", *SIMT, "--sweep", "all", "--json", path)
        self.wait_for_records(process, path)
        process.send_signal(signal.SIGINT)
        stopped = wait(process)
        self.assertEqual(stopped.returncode, 130)
        records, end = self.read_run(path)
        self.assertGreater(len(records), 0)
        self.assertEqual([end["interrupted"], end["exit_code"]], [True, 130])
        # As many as stdout says were interrupted; the others are no fault of Ctrl-C.
        reasons = re.fullmatch(r"interrupted \((\d+)\), the variant does not take the shape \((\d+)\)", end["skipped_why"])
        self.assertIsNotNone(reasons, end["skipped_why"])
        self.assertEqual(int(reasons[1]) + int(reasons[2]), end["skipped"])
        self.assertIn(f", {reasons[1]} not run\n", stopped.stdout)


# ---- models ------------------------------------------------------------------------------------------------------

F32, F16, Q5_0, IQ4_XS, UNKNOWN_TYPE = 0, 1, 6, 23, 77
U32, FLOAT32, STRING, ARRAY = 4, 6, 8, 9


def byte_characters():
    """The 256 characters that stand for bytes in byte-level BPE."""
    printable = [b for b in range(256) if 0x21 <= b <= 0x7e or 0xa1 <= b <= 0xac or b >= 0xae]
    others = [b for b in range(256) if b not in printable]
    return [chr(b) for b in printable] + [chr(256 + n) for n in range(len(others))]


class TinyModel:
    """A GGUF file of one layer of the llama architecture; change its parts, then take bytes()."""

    WIDTH, HEADS, FFN, CONTEXT = 32, 2, 32, 4096

    def __init__(self):
        tokens = byte_characters() + ["ab"]
        self.magic, self.version = b"GGUF", 3
        self.metadata = {
            "general.architecture": "llama",
            "llama.block_count": 1,
            "llama.context_length": self.CONTEXT,
            "llama.embedding_length": self.WIDTH,
            "llama.feed_forward_length": self.FFN,
            "llama.attention.head_count": self.HEADS,
            "llama.attention.layer_norm_rms_epsilon": 1e-5,
            "tokenizer.ggml.model": "gpt2",
            "tokenizer.ggml.pre": "smollm",
            "tokenizer.ggml.tokens": tokens,
            "tokenizer.ggml.merges": ["a b"],
        }
        self.tensors = {"token_embd.weight": [F32, (self.WIDTH, len(tokens))], "output_norm.weight": [F32, (self.WIDTH,)]}
        for name in ("attn_norm", "ffn_norm"):
            self.tensors[f"blk.0.{name}.weight"] = [F32, (self.WIDTH,)]
        for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
            self.tensors[f"blk.0.{name}.weight"] = [F32, (self.WIDTH, self.WIDTH)]
        self.offsets = {}

    @staticmethod
    def string(text):
        return struct.pack("<Q", len(text.encode())) + text.encode()

    def value(self, value):
        if isinstance(value, str):
            return struct.pack("<I", STRING) + self.string(value)
        if isinstance(value, float):
            return struct.pack("<If", FLOAT32, value)
        if isinstance(value, list):
            return struct.pack("<IIQ", ARRAY, STRING, len(value)) + b"".join(map(self.string, value))
        return struct.pack("<II", U32, value)

    def header(self):
        """All before the tensors' data, and the data's size."""
        out = self.magic + struct.pack("<IQQ", self.version, len(self.tensors), len(self.metadata))
        for key, value in self.metadata.items():
            out += self.string(key) + self.value(value)
        size = 0
        for name, (kind, shape) in self.tensors.items():
            out += self.string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, self.offsets.get(name, size))
            size += 4 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        return out + bytes(-len(out) % 32), size

    def bytes(self):
        header, size = self.header()
        state, values = 1, []
        for _ in range(size // 4):
            state = (state * 1103515245 + 12345) % 2**31
            values.append(state / 2**30 - 1)
        return header + struct.pack(f"<{len(values)}f", *values)


class Decode(CliTest):
    def model(self, change=lambda model: None):
        model = TinyModel()
        change(model)
        path = self.folder / "model.gguf"
        path.write_bytes(model.bytes())
        return path

    def decode(self, path, *arguments, **options):
        return run("m40llm-decode", *SIMT, "--model", path, *(arguments or ["--prompt", "a", "--tokens", "2"]), **options)

    def assert_refused(self, path, *parts):
        records = self.folder / "x.jsonl"
        result = self.decode(path, "--prompt", "a", "--tokens", "2", "--json", records)
        self.assert_error(result, 1, path, *parts)
        self.assertFalse(records.exists())

    def test_a_context_beyond_the_budget_is_refused_with_the_one_that_fits(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_AS, (850 << 20, 850 << 20))

        path = self.model(lambda model: model.metadata.update({"llama.context_length": 1 << 22}))
        words = ["--prompt", "a", "--tokens", "2", "--context"]
        result = self.decode(path, *words, 1 << 22, preexec_fn=limit)
        self.assert_error(result, 1, path, "not enough memory for a context of 4194304", "kv_cache 536.9 MB", "rope_table 268.4 MB", "free")
        fits = int(re.search(r"a context of (\d+) would fit", result.stderr)[1])
        self.assertGreater(fits, 1 << 20)
        self.assert_ok(self.decode(path, *words, fits // 2, preexec_fn=limit))

    def test_the_tiny_model_decodes(self):
        records = self.folder / "x.jsonl"
        result = self.assert_ok(self.decode(self.model(), "--prompt", "abcab", "--prompt", "Z", "--tokens", "3", "--json", records))
        self.assertRegex(result.stderr, "^device: SIMT")
        self.assertNotRegex(result.stdout, "(?m)^(device|memory|records): ")
        found, end = self.read_run(records)
        self.assertEqual([len(record["prompt_tokens"]) for record in found], [3, 1])
        self.assertEqual([len(record["tokens"]) for record in found], [3, 3])
        self.assertEqual([len(record["logits_hash"]) for record in found], [5, 3])
        self.assertEqual([end["passed"], end["exit_code"], end["interrupted"]], [2, 0, False])
        again = self.folder / "again.jsonl"
        result = self.assert_ok(self.decode(self.folder / "model.gguf", "--prompt", "abcab", "--tokens", "3", "--order", "random",
                                            "--seed", "9", "--workers", "3", "--json", again, "--against", records))
        self.assertIn("5 equal, 0 different, 0 stale", result.stdout)

    def test_the_plan_of_a_step(self):
        path = self.model()
        result = self.assert_ok(self.decode(path, "--plan", "--context", "7"))
        lines = result.stdout.splitlines()
        self.assertIn("attends to 7 positions", lines[0])
        ops = {line[:24].strip(): line.split() for line in lines[2:]}
        self.assertIn("attention_decode", " ".join(ops["attention"]))
        self.assertIn("advance/row", ops["advance"])
        shares = [float(share) for share in re.findall(r"([\d.]+) %", "\n".join(lines[2:-2]))]
        self.assertAlmostEqual(sum(shares), 100, delta=0.2)
        self.assertRegex(lines[-2], r"^total +\d+ launches a token +\d+ +100.00 % +\d+ +[\d.]+$")
        # Of products the instructions a weight; of all ops the time on an M40, said to be modelled.
        self.assertRegex(lines[1], r" i/w +M40 us +bound$")
        self.assertRegex("\n".join(lines[2:-2]), r"(?m)^ +gate and up .* \d+\.\d\d +\d+\.\d +(bytes|issue)$")
        self.assertRegex("\n".join(lines[2:-2]), r"(?m)^ +attention .* % +\d+ +\d+\.\d +bytes$")
        self.assertRegex(lines[-1], r"^modelled for a Tesla M40: [\d.]+ ms a token, [\d.]+ tokens/s; with 8.1 us for each launch [\d.]+ ms")
        for way in ("graph", "launches"):
            self.assertEqual(self.assert_ok(self.decode(path, "--plan", "--context", "7", "--way", way)).stdout, result.stdout)
        separate = self.assert_ok(self.decode(path, "--plan", "--context", "7", "--way", "separate")).stdout
        self.assertRegex(separate, r"\brms_norm/\w+ ")
        self.assertNotRegex(separate, r"\b(qkv|gate_up|norm_gemv|gemv_add)_")
        # Only attention depends on the context: two times 2 bytes a KV head and dimension more, a position more.
        longer = self.assert_ok(self.decode(path, "--plan", "--context", "8")).stdout.splitlines()
        changed = [a.split()[0] for a, b in zip(lines[2:-1], longer[2:-1]) if re.sub(r"[\d.]+ %", "", a) != re.sub(r"[\d.]+ %", "", b)]
        self.assertEqual(changed, ["attention", "total"])
        for flag in (["--json", self.folder / "x.jsonl"], ["--prompt", "a"], ["--prompt-file", "-"], ["--find-not-finite"],
                     ["--logits", self.folder / "x.npy"], ["--tokens", "3"], ["--special"],
                     ["--latency", "3"]):
            self.assert_error(self.decode(path, "--plan", *flag), 2, "--plan decodes nothing", flag[0])
        self.assertFalse((self.folder / "x.jsonl").exists())

    def test_every_way_to_take_a_step_gives_the_same_bits(self):
        path, records = self.model(), self.folder / "x.jsonl"
        result = self.assert_ok(self.decode(path, "--prompt", "abcab", "--prompt", "Z", "--tokens", "3", "--way", "launches,graph,persistent,ring",
                                            "--json", records))
        found, end = self.read_run(records)
        # Each prompt by each way, before the next prompt.
        self.assertEqual([(record["prompt"], record["way"]) for record in found],
                         [(prompt, way) for prompt in ("abcab", "Z") for way in ("launches", "graph", "persistent", "ring")])
        self.assertEqual([end["passed"], end["failed"], end["skipped"], end["exit_code"]], [8, 0, 0, 0])
        for launches, graph, persistent, ring in zip(*(found[way::4] for way in range(4))):
            for same in ("tokens", "text", "logits_hash"):
                self.assertEqual(launches[same], graph[same])
                self.assertEqual(launches[same], persistent[same])
                self.assertEqual(launches[same], ring[same])
            self.assertEqual(launches["source_hash"], graph["source_hash"])
            self.assertNotEqual(launches["source_hash"], persistent["source_hash"])  # of other kernels
            counts = [record["per_token"] for record in (launches, graph)]
            self.assertEqual(persistent["per_token"], counts[0] | {"launches": 1, "kernels": 1})
            self.assertEqual(set(ring["per_token"].values()), {0})  # all of it is one launch, before the first token
            self.assertNotEqual(ring["source_hash"], persistent["source_hash"])
            self.assertEqual(counts[0]["launches"], counts[0]["kernels"])
            self.assertGreater(counts[0]["kernels"], 8)
            self.assertEqual(counts[1], counts[0] | {"launches": 1})
        self.assertEqual(result.stdout.count("\n[by launches: prompt "), 2)
        self.assertEqual(result.stdout.count("\n[by graph: prompt "), 2)
        # Each op by a kernel of its own: other kernels, so another hash of their source.
        separate = self.folder / "separate.jsonl"
        self.assert_ok(self.decode(path, "--prompt", "abcab", "--tokens", "3", "--way", "separate", "--json", separate, "--against", records))
        (record,) = self.read_run(separate)[0]
        self.assertEqual([record["way"], record["logits_hash"]], ["separate", found[0]["logits_hash"]])
        self.assertNotEqual(record["source_hash"], found[0]["source_hash"])
        # By itself, and by default.
        for way, flags in (("launches", ["--way", "launches"]), ("graph", [])):
            alone = self.folder / f"{way}.jsonl"
            self.assert_ok(self.decode(path, "--prompt", "abcab", "--tokens", "3", *flags, "--json", alone, "--against", records))
            self.assertEqual([(record["way"], record["logits_hash"]) for record in self.read_run(alone)[0]], [(way, found[0]["logits_hash"])])

    def test_latency_of_jobs(self):
        path = self.model()
        ways = ["separate", "launches", "graph", "persistent", "ring"]
        flags = [path, "--prompt", "abcab", "--prompt", "Z", "--tokens", "3", "--way", ",".join(ways)]
        plain, timed = self.folder / "plain.jsonl", self.folder / "timed.jsonl"
        self.assertNotIn("first result", self.assert_ok(self.decode(*flags, "--json", plain)).stdout)
        result = self.assert_ok(self.decode(*flags, "--latency", "3", "--json", timed, "--against", plain))
        self.assertEqual(len(re.findall(r"\n\[from a job's submission to its first result: median [0-9.]+ us, quartiles [0-9.]+ to [0-9.]+, of 3 jobs\]",
                                        result.stdout)), 2 * len(ways))
        for without, with_it in zip(self.read_run(plain)[0], self.read_run(timed)[0], strict=True):
            self.assertNotIn("latency_us", without)
            self.assertEqual([len(with_it["latency_us"]), min(with_it["latency_us"]) > 0], [3, True])
            # Jobs leave nothing behind for what follows.
            self.assertEqual([with_it[same] for same in ("way", "logits_hash", "per_token")], [without[same] for same in ("way", "logits_hash", "per_token")])
        for n in ("0", "-1", "10001", "x", ""):
            self.assert_error(self.decode(path, "--prompt", "a", f"--latency={n}"), 2, "--latency")

    def test_what_is_no_way_to_take_a_step(self):
        path, records = self.model(), self.folder / "x.jsonl"
        for given, part in (("bogus", "'bogus' is no way"), ("graph,", "'' is no way"), ("", "--way"), ("graph,launches,graph", "'graph' is there twice"),
                            ("Graph", "'Graph' is no way"), ("a\x1b", "'a\\x1b' is no way")):
            result = self.decode(path, "--prompt", "a", f"--way={given}", "--json", records)
            self.assert_error(result, 2, "--way", part)
        self.assert_error(self.decode(path, "--prompt", "a", "--way", "bogus"), 2, "there are separate, launches, graph, persistent, ring")
        self.assert_error(self.decode(path, "--prompt", "a", "--way", "launches,graph", "--logits", self.folder / "x.npy"), 2, "--logits", "one --way", "2")
        self.assert_error(self.decode(path, "--plan", "--way", "launches,graph"), 2, "--plan takes one --way", "2")
        self.assertEqual(list(self.folder.iterdir()), [path])

    def test_files_that_are_no_model(self):
        self.assert_refused(self.folder / "none.gguf", "No such file", "expected a GGUF file")
        self.assert_refused(self.folder, "is a directory", "expected a GGUF file")
        path = self.folder / "file"
        for content, parts in ((b"", ["is empty"]), (b"PK\3\4" + bytes(100), ["not a GGUF file", "expected 'GGUF'"]),
                               (b"FUGG" + bytes(100), ["big-endian"]), (b"GGUF" + struct.pack(">I", 3) + bytes(100), ["big-endian"]),
                               (b"GGUF" + struct.pack("<IQQ", 9, 0, 0), ["version 9", "expected 2 or 3"]),
                               (b"GGUF" + struct.pack("<IQQ", 3, 2**63, 2**63), ["truncated or damaged"])):
            path.write_bytes(content)
            self.assert_refused(path, *parts)
        os.mkfifo(self.folder / "pipe")
        self.assert_refused(self.folder / "pipe", "not a regular file")

    def test_every_length_of_a_truncated_file(self):
        model = TinyModel()
        whole, header = model.bytes(), len(model.header()[0])
        path = self.folder / "model.gguf"
        lengths = {1, 3, 4, 7, 8, 20, 24, 30, 100, header - 40, header - 1, header, header + 100, len(whole) - 1}
        lengths |= set(range(200, header, header // 12))
        for length in sorted(lengths):
            path.write_bytes(whole[:length])
            self.assert_refused(path, "truncated or damaged")

    def test_damaged_bytes_never_crash(self):
        model = TinyModel()
        whole, header = model.bytes(), len(model.header()[0])
        path = self.folder / "model.gguf"
        infos = whole.index(TinyModel.string("token_embd.weight"))
        places = list(range(8, 24, 3)) + list(range(24, 500, 37)) + list(range(infos, header, 23))
        for place in places:
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x81]) + whole[place + 1:])
            result = self.decode(path)
            if result.returncode != 0:  # a byte may be of no consequence
                self.assert_error(result, 1)

    def test_models_that_are_not_supported(self):
        def set_value(key, value):
            return lambda model: model.metadata.__setitem__(key, value)

        def set_tensor(name, kind, shape):
            return lambda model: model.tensors.__setitem__(name, [kind, shape])

        def remove(part, key):
            return lambda model: getattr(model, part).pop(key)

        q = "blk.0.attn_q.weight"
        for change, parts in (
                (set_value("general.architecture", "llamb"), ["general.architecture", "'llamb'", "expected 'llama'"]),
                (set_value("general.architecture", 3), ["general.architecture", "u32 3", "a string"]),
                (remove("metadata", "general.architecture"), ["general.architecture", "missing"]),
                (set_value("llama.block_count", 0), ["llama.block_count", "0", "expected 1 to"]),
                (set_value("llama.block_count", 2**32 - 1), ["llama.block_count", "4294967295", "expected 1 to"]),
                (set_value("llama.block_count", 2), ["blk.1.attn_norm.weight", "missing"]),
                (set_value("llama.attention.head_count", 3), ["head", "expected"]),
                (set_value("llama.attention.head_count", 0), ["head_count", "expected"]),
                (set_value("llama.attention.layer_norm_rms_epsilon", float("nan")), ["epsilon", "nan", "expected"]),
                (set_value("llama.rope.scaling.type", "yarn"), ["rope.scaling", "'yarn'", "expected"]),
                (set_value("llama.expert_count", 8), ["expert_count", "8", "expected 0"]),
                (set_value("general.alignment", 7), ["general.alignment", "7", "power of two"]),
                (set_value("tokenizer.ggml.model", "llama"), ["tokenizer", "'llama'", "gpt2"]),
                (set_value("tokenizer.ggml.pre", "nonsense"), ["tokenizer.ggml.pre", "nonsense"]),
                (set_value("tokenizer.ggml.tokens", ["a"]), ["tokens"]),
                (remove("metadata", "tokenizer.ggml.tokens"), ["tokenizer.ggml.tokens", "missing"]),
                (remove("tensors", "output_norm.weight"), ["output_norm.weight", "missing"]),
                (set_tensor(q, F32, (32, 16)), [q, "32 x 16", "expected 32 x 32"]),
                (set_tensor(q, F32, (32 * 32,)), [q, "1024", "expected 32 x 32"]),
                (set_tensor(q, Q5_0, (32, 32)), [q, "Q5_0", "expected F32, F16, BF16, Q8_0, Q4_1, Q4_0, Q4_K, Q5_K or Q6_K"]),
                (set_tensor(q, UNKNOWN_TYPE, (32, 32)), [q, "type 77 is unknown", "expected one from 0 to"]),
                (set_tensor("output_norm.weight", F16, (32,)), ["output_norm.weight", "F16", "expected F32"]),
                (lambda model: model.offsets.__setitem__(q, 2**40), [q, "past the end of the file"]),
                (lambda model: model.offsets.__setitem__(q, 7), [q, "7"]),
                (lambda model: model.offsets.__setitem__(q, 0), [q, "overlap"])):
            self.assert_refused(self.model(change), *parts)

    def test_what_a_file_is_comes_before_what_it_lacks(self):
        def other(**metadata):
            def change(model):
                model.metadata.update({key.replace("__", "."): value for key, value in metadata.items()})
                model.metadata["tokenizer.ggml.pre"] = "gemma3"
                model.tensors["blk.0.attn_q.weight"] = [IQ4_XS, (256, 4)]
            return change

        self.assert_refused(self.model(other(general__architecture="gemma3")), "general.architecture is 'gemma3'")
        self.assert_refused(self.model(other(general__type="adapter")), "general.type is 'adapter'")
        self.assert_refused(self.model(other(split__count=3, split__no=2)), "is part 3 of 3 of a model")
        self.assert_refused(self.model(other(general__architecture="\x1b[31mred")), "'\\x1b[31mred'")

    def test_prompts_that_do_not_fit(self):
        path = self.model()
        records = self.folder / "x.jsonl"
        long = "c" * 5

        def refused(code, *arguments, parts):
            self.assert_error(self.decode(path, *arguments, "--json", records), code, *parts)
            self.assertFalse(records.exists())

        refused(1, "--context", "4", "--prompt", long, "--tokens", "1", parts=["'ccccc'", "5 tokens", "context of 4"])
        # The good prompt in front is not decoded either.
        refused(1, "--context", "4", "--prompt", "c", "--prompt", long, "--tokens", "1", parts=["'ccccc'", "5 tokens", "context of 4"])
        refused(1, "--context", "4", "--prompt", "c", "--tokens", "4", parts=["4 to generate", "context of 4"])
        refused(1, "--prompt", "c", "--tokens", "4194304", parts=["4194304 to generate", "context of"])
        refused(1, "--context", "4097", "--prompt", "c", parts=["--context 4097", "4096"])
        refused(1, "--prompt", "", parts=["prompt", "empty"])
        refused(1, "--prompt", b"a\xff".decode(errors="surrogateescape"), parts=["prompt", "not UTF-8", "byte 1"])
        for tokens in ("0", "-1", "x", "", "1.5", "99999999999999999999"):
            refused(2, "--prompt", "c", f"--tokens={tokens}", parts=["--tokens"])
        for context in ("0", "-1", "x", "99999999999999999999"):
            refused(2, "--prompt", "c", f"--context={context}", parts=["--context"])
        self.assert_ok(self.decode(path, "--context", "4", "--prompt", "ccc", "--tokens", "1"))

    def test_a_model_and_a_prompt_are_needed(self):
        self.assert_error(run("m40llm-decode", "--prompt", "x"), 2, "--model", "needed")
        self.assert_error(run("m40llm-decode", "--model", "x"), 2, "--prompt", "needed")

    def test_oracles_that_are_none(self):
        path = self.model()
        self.assert_error(self.decode(path, "--oracle", self.folder / "none"), 1, self.folder / "none", "cannot read")
        self.assert_error(self.decode(path, "--oracle", self.folder), 1, self.folder, "cannot read")
        oracle = self.folder / "oracle.json"
        step = {"ids": [1, 2], "logits": [2.0, 1.0], "log_sum_exp": 3.0}
        for content in ("", "x", "[]", "{}", '{"prompts": 3}', '{"prompts": [{}]}'):
            oracle.write_text(content)
            self.assert_error(self.decode(path, "--oracle", oracle), 1, oracle)
        for prompt in ({"text": "c", "prompt_tokens": [1], "tokens": [2], "steps": [step]},
                       {"text": "c", "prompt_tokens": [], "tokens": [], "steps": []},
                       {"text": "c", "prompt_tokens": [1], "tokens": [], "steps": [{**step, "ids": [1]}]}):
            oracle.write_text(json.dumps({"prompts": [prompt]}))
            self.assert_error(self.decode(path, "--oracle", oracle), 1, oracle)
        # Of another tokenizer; of another vocabulary.
        for prompt, token, parts in (([1], 2, ("at place 0", "token 1", "token 66")), ([66, 1], 2, ("at place 1", "ends")),
                                     ([66], 10**6, ("token 1000000", "vocabulary"))):
            steps = [step] * (len(prompt) + 1)
            oracle.write_text(json.dumps({"prompts": [{"text": "c", "prompt_tokens": prompt, "tokens": [token], "steps": steps}]}))
            self.assert_error(self.decode(path, "--oracle", oracle), 1, "'c'", *parts)
        # Its tokens do not fit the context.
        oracle.write_text(json.dumps({"prompts": [{"text": "c", "prompt_tokens": [66], "tokens": [2] * 4, "steps": [step] * 5}]}))
        self.assert_error(self.decode(path, "--oracle", oracle, "--context", "4", "--tokens", "2"), 1, "'c'", "context of 4")

    def test_longer_than_the_oracle(self):
        path = self.model()
        records = self.folder / "x.jsonl"
        self.assert_ok(self.decode(path, "--prompt", "c", "--tokens", "1", "--json", records))
        found = self.read_run(records)[0][0]
        oracle = self.folder / "oracle.json"
        step = {"ids": [found["tokens"][0], 2], "logits": [1e3, -1e3], "log_sum_exp": 3.0}
        oracle.write_text(json.dumps({"prompts": [{"text": "c", "prompt_tokens": found["prompt_tokens"], "tokens": found["tokens"],
                                                   "steps": [step] * 2}]}))
        result = self.decode(path, "--oracle", oracle, "--tokens", "40")
        self.assertEqual([result.returncode, complaints(result)], [1, []])  # its logits are wrong
        self.assertIn("decidable steps of 2]", result.stdout)

    def test_records_that_cannot_be_written(self):
        path = self.model()
        self.assert_error(self.decode(path, "--prompt", "c", "--tokens", "1", "--json", "/dev/full"), 1, "/dev/full", "No space left")
        self.assert_error(self.decode(path, "--prompt", "c", "--tokens", "1", "--json", self.folder), 1, "Is a directory")

    def interrupt(self, path, *arguments):
        """The records' measurements and end after Ctrl-C in the middle of decoding."""
        records = self.folder / "x.jsonl"
        process = start("m40llm-decode", *SIMT, "--model", path, *arguments, "--json", records)
        shown = b""
        while b"> " not in shown or len(shown.split(b"> ", 1)[1]) < 20:
            some = os.read(process.stdout.fileno(), 4096)
            if not some:
                self.fail(wait(process).stderr)
            shown += some
        process.send_signal(signal.SIGINT)
        result = wait(process)
        self.assertEqual([result.returncode, complaints(result)], [130, []], result.stdout[-500:])
        self.assertIn("interrupted", result.stdout)
        return self.read_run(records)

    def test_ctrl_c(self):
        found, end = self.interrupt(self.model(), "--prompt", "c", "--prompt", "d", "--tokens", "4000", "--context", "4096")
        self.assertEqual([record["stopped"] for record in found], ["interrupted"])
        self.assertLess(len(found[0]["tokens"]), 4000)
        self.assertEqual([end["interrupted"], end["exit_code"], end["passed"], end["skipped"]], [True, 130, 0, 2])

    @unittest.skipUnless(os.path.isfile(MODEL), "M40LLM_MODEL is not a file")
    def test_ctrl_c_in_smollm2(self):
        found, end = self.interrupt(MODEL, "--prompt", "The capital of France is", "--tokens", "200", "--context", "256")
        self.assertEqual(found[0]["stopped"], "interrupted")
        self.assertTrue(end["interrupted"])

    @unittest.skipUnless(os.path.isfile(MODEL), "M40LLM_MODEL is not a file")
    def test_smollm2_truncated(self):
        path = self.folder / "model.gguf"
        for length in (1000, 1_000_000, 50_000_000):
            with open(MODEL, "rb") as whole, path.open("wb") as part:
                part.write(whole.read(length))
            self.assert_refused(path, "truncated or damaged")


class Bench(CliTest):
    def test_nothing_matches(self):
        path = self.folder / "x.jsonl"
        self.assert_error(run("m40llm-bench", *SIMT, "--benchmark_filter=zzz", "--json", path), 1, "zzz", "no benchmark matches",
                          "--benchmark_list_tests")
        self.assert_nothing_written()

    def test_values_that_mean_nothing(self):
        path = self.folder / "x.jsonl"
        for flag, value, part in (("format", "xml", "console, json"), ("out_format", "xml", "console, json"),
                                  ("time_unit", "year", "ns, us, ms, s"), ("repetitions", "-3", "from 1"), ("repetitions", "0", "from 1"),
                                  ("repetitions", "x", "a number"), ("repetitions", "99999999999", "from 1"), ("min_time", "-1", "from 0"),
                                  ("min_time", "x", "a number"), ("min_time", "1e99", "to 3600"), ("filter", "[", "regular expression"),
                                  ("filter", "*gemv", "quantifier does not follow a repeatable item"), ("filter", "a|*b", "quantifier does not follow a repeatable item"),
                                  ("filter", "-(", "regular expression"), ("report_aggregates_only", "true", "repetition"),
                                  ("nonsense", "3", "")):
            result = run("m40llm-bench", *SIMT, f"--benchmark_{flag}={value}", "--json", path)
            self.assert_error(result, 2, f"--benchmark_{flag}", part)
        for out in ("/nonexistent/x", self.folder):
            self.assert_error(run("m40llm-bench", *SIMT, f"--benchmark_out={out}", "--json", path), 1, "--benchmark_out", out)
        self.assert_nothing_written()

    def test_a_run_keeps_its_samples(self):
        path = self.folder / "x.jsonl"
        result = self.assert_ok(run("m40llm-bench", *QUICK["m40llm-bench"], "--benchmark_repetitions=2", "--json", path))
        self.assertRegex(result.stderr, "^device: SIMT")
        self.assertIn("m40llm-bench", result.stderr)  # as whose run Google Benchmark describes it
        self.assertNotIn("DEBUG", result.stderr + result.stdout)
        records, end = self.read_run(path)
        self.assertGreater(len(records), 0)
        for record in records:
            self.assertEqual([record["kind"], record["device_kind"], record["timer"]], ["bench", "simt", "simt_wall"])
            self.assertGreater(len(record["samples_us"]), 0)
            self.assertTrue(all(sample > 0 for sample in record["samples_us"]))
            self.assertTrue(record["recheck"]["passed"])
        self.assertEqual({record["repetition"] for record in records}, {0, 1})
        self.assertEqual(end["failed"], 0)

    def test_how_it_was_timed_is_recorded(self):
        for flags, rotated, launched_by in (([], False, "launches"), (["--rotate"], True, "launches"), (["--graph"], False, "graph")):
            path = self.folder / f"x{len(list(self.folder.iterdir()))}.jsonl"
            self.assert_ok(run("m40llm-bench", *QUICK["m40llm-bench"], *flags, "--json", path))
            for record in self.read_run(path)[0]:
                self.assertEqual(record["timing"], {"rotated": rotated, "launched_by": launched_by,
                                                    "times_l2": {"value": None, "status": "unavailable", "reason": "not a GPU"}})
                self.assertEqual(record["share_of_plain_read"], {"value": None, "status": "unavailable",
                                                                 "reason": "a time on the SIMT device says nothing of a GPU"})
                self.assertNotIn("plain_read", record)
                self.assertEqual(record["input_sets"], 1)

    def on_the_fake_gpu(self, memory, *flags):
        """Records by n of residual_add, timed on a GPU with so many bytes; no kernel runs, so none is right. Readers take them all."""
        path = self.folder / f"x{len(list(self.folder.iterdir()))}.jsonl"
        result = run("m40llm-bench", "--device", "cuda", "--benchmark_filter=^residual_add/", "--benchmark_min_time=0.001", *flags,
                     "--json", path, env={"LD_LIBRARY_PATH": str(FAKE_GPU), "FAKE_CUDA_MEMORY": str(memory),
                                          "FAKE_CUDA_LOG": str(self.folder / "log")})
        self.assertEqual(result.returncode, 1, result.stderr)
        records, end = self.read_run(path)
        self.assertEqual([end["exit_code"], end["failed"]], [1, 2])
        report = subprocess.run([ROOT / ".venv/bin/python", ROOT / "scripts/report.py", path, "-o", self.folder / "page.html"],
                                capture_output=True, text=True)
        self.assertEqual(report.returncode, 0, report.stderr)
        return {record["shape"]["n"]: record for record in records}, result

    @unittest.skipUnless(FAKE_GPU.exists(), "no driver for tests")
    def test_a_share_of_a_plain_read(self):
        for flags, by in ([], "launches"), (["--graph"], "graph"):
            records, result = self.on_the_fake_gpu(1 << 30, "--rotate", *flags)
            self.assertIn("FAILED after timing: read/parts n=12288 random seed=1", result.stderr)
            self.assertIn("of read", result.stdout)
            small, large = records[4096], records[1 << 24]
            self.assertEqual([small["timing"]["launched_by"], small["timing"]["rotated"]], [by, True])
            self.assertEqual([small["input_sets"], large["input_sets"]], [257, 1])  # of 49,152 bytes, more than 12 MiB
            self.assertEqual(small["timing"]["times_l2"], {"value": 257 * 49152 / (3 << 20), "status": "modelled"})
            self.assertEqual(small["launches_per_sample"], 257 if by == "graph" else 1)
            for record in small, large:
                read = record["plain_read"]
                self.assertEqual([read["input_sets"], read["launches_per_sample"], len(read["samples_us"])],
                                 [record["input_sets"], record["launches_per_sample"], len(record["samples_us"])])
                self.assertEqual(read["bytes"]["value"], record["bytes"]["value"] * (1 + 1 / 1024))  # and its sums
                self.assertEqual(record["share_of_plain_read"]["status"], "measured")
                self.assertAlmostEqual(record["share_of_plain_read"]["value"], 1 / (1 + 1 / 1024))  # all times are alike
                self.assertFalse(record["recheck"]["passed"])

    @unittest.skipUnless(FAKE_GPU.exists(), "no driver for tests")
    def test_the_plain_read_and_the_case_are_timed_in_turn(self):
        self.on_the_fake_gpu(1 << 30, "--rotate", "--benchmark_repetitions=1")
        between_events = (self.folder / "log").read_text().split("cuEventRecord(")[1::2]
        samples = [re.search(r"cuLaunchKernel\((\w+)", text)[1] for text in between_events]
        # Before them, of each case: two samples of one kind and two of the other, which choose the launches a sample.
        begins = [i for i in range(len(samples)) if samples[i:i + 4] == ["residual_add", "residual_add", "read_parts", "read_parts"]]
        self.assertEqual([len(begins), begins[0]], [2, 0])
        for begin, end in zip(begins, begins[1:] + [len(samples)]):
            timed = samples[begin + 4:end]
            self.assertGreaterEqual(len(timed), 10)
            self.assertEqual(timed, ["read_parts", "residual_add"] * (len(timed) // 2))

    @unittest.skipUnless(FAKE_GPU.exists(), "no driver for tests")
    def test_without_rotation_there_is_no_plain_read(self):
        records, result = self.on_the_fake_gpu(1 << 30)
        self.assertNotIn("read/", result.stderr)
        for record in records.values():
            self.assertNotIn("plain_read", record)
            self.assertEqual(record["share_of_plain_read"]["status"], "unavailable")
        self.assertIn("--rotate", records[1 << 24]["share_of_plain_read"]["reason"])
        self.assertEqual(records[4096]["input_sets"], 8)
        self.assertEqual(records[4096]["timing"]["times_l2"]["reason"], "8 input sets are the most that are made")

    @unittest.skipUnless(FAKE_GPU.exists(), "no driver for tests")
    def test_what_memory_does_not_hold_is_said(self):
        records, result = self.on_the_fake_gpu(250_000_000, "--rotate")  # the large case, and no read of as much beside it
        self.assertRegex(records[1 << 24]["share_of_plain_read"]["reason"], "^no room for a plain read: not enough memory for the case: ")
        self.assertEqual(records[1 << 24]["input_sets"], 1)
        self.assertEqual(records[4096]["share_of_plain_read"]["status"], "measured")
        path = self.folder / "small.jsonl"
        result = run("m40llm-bench", "--device", "cuda", "--benchmark_filter=^residual_add/", "--benchmark_min_time=0.001", "--rotate",
                     "--json", path, env={"LD_LIBRARY_PATH": str(FAKE_GPU), "FAKE_CUDA_MEMORY": "3000000"})
        self.assertEqual(result.returncode, 1)
        self.assertIn("not enough memory for the case: 134.2 MB", result.stdout)
        (record,), end = self.read_run(path)
        self.assertEqual(end["failed"], 2)
        self.assertLess(record["input_sets"], 40)
        self.assertIn("not enough memory for the case: ", record["timing"]["times_l2"]["reason"])
        self.assertEqual(record["share_of_plain_read"]["reason"], "all inputs fit the L2")

    def test_listing_writes_no_records(self):
        path = self.folder / "x.jsonl"
        result = self.assert_ok(run("m40llm-bench", *SIMT, "--benchmark_list_tests", "--json", path))
        self.assertIn("argmax/", result.stdout)
        self.assertTrue(all("/manual_time" in line for line in result.stdout.splitlines()), result.stdout[:200])
        self.assert_nothing_written()

    def test_json_on_stdout_is_json(self):
        result = self.assert_ok(run("m40llm-bench", *QUICK["m40llm-bench"], "--benchmark_format=json", "--json", self.folder / "x.jsonl"))
        self.assertGreater(len(json.loads(result.stdout)["benchmarks"]), 0)

    def test_the_output_file(self):
        out = self.folder / "out.json"
        records = self.folder / "x.jsonl"
        self.assert_ok(run("m40llm-bench", *QUICK["m40llm-bench"], f"--benchmark_out={out}"))
        before = out.read_text()
        self.assertGreater(len(json.loads(before)["benchmarks"]), 0)
        result = run("m40llm-bench", *QUICK["m40llm-bench"], "--benchmark_out=/dev/full", "--json", records)
        self.assertEqual(result.returncode, 1)
        self.assertIn("m40llm-bench: error: --benchmark_out '/dev/full' cannot be written: No space left", result.stderr)
        self.assertEqual(self.read_run(records)[1]["exit_code"], 1)

        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))

        result = run("m40llm-bench", *QUICK["m40llm-bench"], f"--benchmark_out={out}", preexec_fn=limit)
        self.assertEqual(result.returncode, 1)
        self.assertEqual(out.read_text(), before)
        self.assert_error(run("m40llm-bench", *QUICK["m40llm-bench"], f"--benchmark_out={records}", "--json", records), 2, "one file")
        self.assertEqual(sorted(self.folder.iterdir()), [out, records])

    def test_ctrl_c(self):
        path = self.folder / "x.jsonl"
        process = start("m40llm-bench", *SIMT, "--benchmark_min_time=0.5", "--json", path)
        self.wait_for_records(process, path)
        process.send_signal(signal.SIGINT)
        begin = time.monotonic()
        self.assertEqual(wait(process).returncode, 130)
        self.assertLess(time.monotonic() - begin, 10)
        records, end = self.read_run(path)
        self.assertGreater(len(records), 0)
        self.assertEqual([end["interrupted"], end["exit_code"], end["skipped_why"]], [True, 130, "interrupted"])


class SimtSpeed(CliTest):
    def test_nothing_matches(self):
        self.assert_error(run("m40llm-simt-speed", "--benchmark_filter=zzz"), 1, "zzz", "no benchmark matches")
        self.assert_error(run("m40llm-simt-speed", "--benchmark_filter=*z"), 2, "'*z'", "quantifier does not follow a repeatable item")
        self.assert_error(run("m40llm-simt-speed", "--benchmark_filter"), 2, "--benchmark_filter")
        self.assert_error(run("m40llm-simt-speed", "--bogus"), 2, "--bogus")

    def test_it_says_both_speeds(self):
        result = self.assert_ok(run("m40llm-simt-speed", "--benchmark_min_time=0.01"))
        self.assertRegex(result.stdout, r"loop [\d.]+, SIMT device [\d.]+ M multiply-adds/s")
        self.assertNotIn("DEBUG", result.stderr)

    def test_ctrl_c(self):
        for name in ("plain_loop", "simt_device"):
            process = start("m40llm-simt-speed", "--benchmark_min_time=100", f"--benchmark_filter={name}")
            process.stderr.readline()  # by now it is at work
            process.send_signal(signal.SIGINT)
            begin = time.monotonic()
            self.assertEqual(wait(process).returncode, 130)
            self.assertLess(time.monotonic() - begin, 10)


class Occupancy(CliTest):
    def test_it_needs_no_device(self):
        path = self.folder / "x.jsonl"
        first = None
        for arguments in ([], ["--device", "simt"], ["--device", "cuda"], ["--device", "cuda:99"], ["--device", "auto"], ["--image", "sm_52"]):
            path.unlink(missing_ok=True)
            result = self.assert_ok(run("m40llm-occupancy", *arguments, "--json", path))
            self.assertRegex(result.stderr, "^device: none needed; modelled for Tesla M40")
            records = self.read_run(path)[0]
            self.assertGreater(len(records), 30)
            self.assertEqual({record["device_kind"] for record in records}, {"none"})
            for record in records:
                del record["run"]
            first = first or records
            self.assertEqual(records, first)

    def test_the_table_of_default_kernels(self):
        every = self.assert_ok(run("m40llm-occupancy", "--filter", "^gemv_add_q4_0/|^residual_add/"))
        self.assertIn("read off it: regs, shared", every.stderr)
        self.assertIn("modelled: the others", every.stderr)
        self.assertIn("gemv_add_q4_0/global", every.stdout)
        default = self.assert_ok(run("m40llm-occupancy", "--filter", "^gemv_add_q4_0/|^residual_add/", "--default")).stdout
        self.assertNotIn("gemv_add_q4_0/global", default)
        header, *rows = default.splitlines()
        for row in rows:
            self.assertIn(row, every.stdout)
            # Loop and instructions a weight stand under their names, and only of products.
            loop = row[header.index(" loop") : header.index("i/w loop") + len("i/w loop")]
            self.assertRegex(loop, r"^ +\d+ +\d+\.\d\d$" if row.startswith("gemv_add") else "^ +$", row)

    def test_nothing_matches(self):
        self.assert_error(run("m40llm-occupancy", "--filter", "zzz", "--json", self.folder / "x.jsonl"), 1, "--filter", "'zzz'")
        self.assert_error(run("m40llm-occupancy", "--filter", "["), 2, "--filter", "'['", "regular expression")
        self.assert_nothing_written()


class Scripts(unittest.TestCase):
    def shell_scripts(self):
        candidates = [*(ROOT / "scripts").iterdir(), ROOT / ".ci/run"]
        return [str(path) for path in candidates if path.is_file() and path.read_bytes().startswith(b"#!/usr/bin/env bash")]

    def test_their_syntax(self):
        self.assertGreater(len(self.shell_scripts()), 2)
        for script in self.shell_scripts():
            result = subprocess.run(["bash", "-n", script], capture_output=True, text=True, timeout=TIMEOUT_S)
            self.assertEqual([result.returncode, result.stderr], [0, ""], script)
            self.assertTrue(os.access(script, os.X_OK), script)

    @unittest.skipUnless(shutil.which("shellcheck"), "no shellcheck")
    def test_shellcheck(self):
        result = subprocess.run(["shellcheck", *self.shell_scripts()], capture_output=True, text=True, timeout=TIMEOUT_S)
        self.assertEqual(result.returncode, 0, result.stdout)


if __name__ == "__main__":
    unittest.main()
