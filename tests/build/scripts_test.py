"""scripts/run on a tree of stand-ins: which steps follow one that fails. --help of all scripts, which does nothing else, and words that a
script would leave out of account. What scripts/gpu-bundle and scripts/synthetic-model leave, and which parts scripts/gpu-run does."""
import os
import pathlib
import resource
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
STEPS = ["m40llm-parity", "m40llm-occupancy", "m40llm-decode", "python"]


class Scripts(unittest.TestCase):
    def setUp(self):
        self.tree = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        (self.tree / "scripts").mkdir()
        shutil.copy2(ROOT / "scripts/run", self.tree / "scripts/run")
        self.stand_in("scripts/setup", "echo model.gguf")
        self.stand_in("path/cmake", "")
        for name in STEPS:
            self.stand_in(self.place(name), "")

    def place(self, name):
        return f".venv/bin/{name}" if name == "python" else f"build/release/bin/{name}"

    def stand_in(self, name, command):
        path = self.tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'#!/bin/sh\necho "$(basename "$0")" >>"{self.tree}/done"\n{command}\n')
        path.chmod(0o755)

    def run_it(self):
        """The exit code, and the steps that were started."""
        (self.tree / "done").unlink(missing_ok=True)
        environment = os.environ | {"PATH": f"{self.tree / 'path'}:{os.environ['PATH']}"}
        result = subprocess.run([self.tree / "scripts/run"], env=environment, capture_output=True, text=True, timeout=60)
        return result.returncode, [name for name in (self.tree / "done").read_text().split() if name in STEPS]

    def test_all_steps(self):
        self.assertEqual(self.run_it(), (0, STEPS))

    def test_one_that_fails_does_not_keep_the_others_from_being_done(self):
        self.stand_in(self.place("m40llm-parity"), "exit 1")
        self.assertEqual(self.run_it(), (1, STEPS))

    def test_a_wrong_flag_and_ctrl_c_end_it(self):
        for code in (2, 130):
            self.stand_in(self.place("m40llm-parity"), f"exit {code}")
            self.assertEqual(self.run_it(), (code, STEPS[:1]))

    def test_help(self):
        for name in ("run", "test", "setup", "planted", "gpu-bundle", "gpu-run"):
            shutil.copy2(ROOT / "scripts" / name, self.tree / "scripts" / name)
            for flag in ("-h", "--help"):
                result = subprocess.run([self.tree / "scripts" / name, flag], capture_output=True, text=True, timeout=60)
                self.assertEqual([result.returncode, result.stderr], [0, ""], name)
                self.assertGreater(len(result.stdout), 100, name)
        self.assertFalse((self.tree / "done").exists())

    def test_what_is_not_expected_is_named(self):
        for name in ("setup", "gpu-bundle"):
            shutil.copy2(ROOT / "scripts" / name, self.tree / "scripts" / name)
            result = subprocess.run([self.tree / "scripts" / name, "--bogus"], capture_output=True, text=True, timeout=60)
            self.assertEqual([result.returncode, result.stdout], [2, ""], name)
            self.assertIn(f"{name}: error: no argument is expected; got '--bogus'", result.stderr)
        self.assertFalse((self.tree / "done").exists())

    def test_a_selection_that_is_no_test_fails(self):
        shutil.copy2(ROOT / "CMakePresets.json", self.tree)
        for preset in ("release", "debug", "checked", "asan", "tsan"):
            folder = self.tree / "build" / preset
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "CTestTestfile.cmake").write_text("add_test(one true)\n")
            for word, code in (("one", 0), ("nosuch", 8)):
                result = subprocess.run(["ctest", "--preset", preset, "-R", word], cwd=self.tree, capture_output=True, text=True, timeout=60)
                self.assertEqual(result.returncode, code, result.stdout + result.stderr)


class GpuBundle(unittest.TestCase):
    """scripts/gpu-bundle on stand-ins: what it packs, and that a bundle with something missing is none."""

    def setUp(self):
        self.tree = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        for name in ("scripts/gpu-run", "tests/data/smollm2_oracle.json", "library/libbenchmark.so.1", "library/libpcre2-8.so.0",
                     *(f"build/release/bin/{name}" for name in self.binaries())):
            (self.tree / name).parent.mkdir(parents=True, exist_ok=True)
            (self.tree / name).touch()
        shutil.copy2(ROOT / "scripts/gpu-bundle", self.tree / "scripts/gpu-bundle")
        (self.tree / "path").mkdir()
        for name, command in (("scripts/setup", ":"), ("path/cmake", ":"), ("path/strip", 'cp "$3" "$2"'),
                              ("path/ldd", 'cat "$LIBRARIES"')):
            (self.tree / name).write_text(f"#!/bin/sh\n{command}\n")
            (self.tree / name).chmod(0o755)

    def binaries(self):
        return ["m40llm-parity", "m40llm-bench", "m40llm-occupancy", "m40llm-decode", "m40llm_cuda_tests", "m40llm_language_tests"]

    def run_it(self, *arguments, **places):
        """The exit code, and what stands on stderr; `places` of libraries, by ldd."""
        places = {name: self.tree / "library" / file for name, file in
                  {"libbenchmark": "libbenchmark.so.1", "libpcre2-8": "libpcre2-8.so.0", "libc": "libc.so.6"}.items()} | places
        libraries = self.tree / "libraries"
        libraries.write_text("".join(f"\t{name}.so => {place} (0x0)\n" for name, place in places.items()))
        environment = os.environ | {"PATH": f"{self.tree / 'path'}:{os.environ['PATH']}", "LIBRARIES": str(libraries)}
        result = subprocess.run([self.tree / "scripts/gpu-bundle", *arguments], env=environment, capture_output=True, text=True, timeout=60)
        return result.returncode, result.stderr

    def packed(self):
        bundle = self.tree / "build/gpu"
        return sorted(str(path.relative_to(bundle)) for path in bundle.rglob("*") if path.is_file()) if bundle.exists() else None

    def test_what_is_packed(self):
        self.assertEqual(self.run_it()[0], 0)
        self.assertEqual(self.packed(), sorted(["gpu-run", "smollm2_oracle.json", "lib/libbenchmark.so.1", "lib/libpcre2-8.so.0",
                                                *(f"bin/{name}" for name in self.binaries())]))

    def test_a_library_that_is_not_there(self):
        code, err = self.run_it(libbenchmark="not found")
        self.assertEqual([code, self.packed()], [1, None])
        self.assertIn("gpu-bundle: error: not on this machine, but needed by the programs: libbenchmark.so\n", err)
        self.assertEqual(self.run_it(libbenchmark=self.tree / "lib" / "libbenchmark.so.1")[0], 1)
        self.assertIsNone(self.packed())

    def test_it_takes_no_arguments(self):
        self.assertEqual(self.run_it("out"), (2, "gpu-bundle: error: no argument is expected; got 'out'\n"))
        self.assertIsNone(self.packed())


class GpuRun(unittest.TestCase):
    """scripts/gpu-run on a bundle of stand-ins: which programs a part starts, with what."""

    TESTS = [("m40llm_cuda_tests", ""), ("m40llm_language_tests", "")]
    ARMS = [(f"m40llm-{program}", image) for image in ("compute_52", "auto") for program in ("parity", "decode", "bench")]

    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        (self.folder / "bin").mkdir()
        (self.folder / "model.gguf").touch()
        for name in dict(self.TESTS + self.ARMS):
            self.stand_in(name, "")

    def stand_in(self, name, command):
        path = self.folder / "bin" / name
        path.write_text(f'#!/bin/sh\necho "$(basename "$0") $*" >>"{self.folder}/done"\n{command}\n')
        path.chmod(0o755)

    def run_it(self, *parts):
        """The exit code, what stands on stderr, and the command lines that were started, split."""
        (self.folder / "done").unlink(missing_ok=True)
        result = subprocess.run([ROOT / "scripts/gpu-run", self.folder, self.folder / "model.gguf", self.folder / "out", *parts],
                                capture_output=True, text=True, timeout=60)
        done = self.folder / "done"
        return result.returncode, result.stderr, [line.split() for line in done.read_text().splitlines()] if done.exists() else []

    def steps(self, *parts):
        code, err, lines = self.run_it(*parts)
        self.assertEqual([code, err], [0, ""])
        for line in lines:  # to the arm's file
            if "--image" in line:
                self.assertEqual(line[line.index("--json") + 1], f"{self.folder}/out/{line[line.index('--image') + 1]}.jsonl")
        return [(line[0], line[line.index("--image") + 1] if "--image" in line else "") for line in lines]

    def test_all_parts_and_some(self):
        self.assertEqual(self.steps(), self.TESTS + self.ARMS)
        self.assertEqual(self.steps("tests"), self.TESTS)
        self.assertEqual(self.steps("auto-bench", "compute_52-decode"), [self.ARMS[5], self.ARMS[1]])
        for step in self.ARMS:
            self.assertEqual(self.steps(f"{step[1]}-{step[0].removeprefix('m40llm-')}"), [step])

    def test_every_way_is_decoded(self):
        (line,) = self.run_it("auto-decode")[2]
        self.assertEqual(line[line.index("--way") + 1], "separate,launches,graph,persistent,ring")
        self.assertIn("--latency", line)

    def test_what_is_no_part(self):
        for part in ("bogus", "", "auto", "tests compute_52-parity", "parity"):
            code, err, lines = self.run_it("tests", part)
            self.assertEqual([code, lines], [2, []], part)
            self.assertRegex(err, rf"^gpu-run: error: '{part}' is no part; expected of tests compute_52-parity .* auto-bench\n$")

    def test_one_that_fails_does_not_keep_the_others_from_being_done(self):
        self.stand_in("m40llm-parity", "exit 3")
        code, _, lines = self.run_it()
        self.assertEqual([code, len(lines)], [1, 8])
        self.stand_in("m40llm-parity", "exit 130")
        code, _, lines = self.run_it()
        self.assertEqual([code, len(lines)], [130, 3])


class SyntheticModel(unittest.TestCase):
    """scripts/synthetic-model: its file is there whole, or not at all."""

    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.out = self.folder / "model.gguf"

    def start(self, shape, type, out, **options):
        command = [sys.executable, "-B", ROOT / "scripts/synthetic-model", shape, type, out]
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **options)

    def make(self, shape, type, out, **options):
        """Exit code and what stands on stderr."""
        process = self.start(shape, type, out, **options)
        _, err = process.communicate(timeout=60)
        return process.returncode, err

    def test_it_replaces_what_is_there_and_is_the_same_each_time(self):
        (self.folder / "link.gguf").symlink_to(self.out)
        self.out.write_bytes(b"old")
        self.assertEqual(self.make("toy", "Q4_K_M", self.folder / "link.gguf"), (0, ""))
        first = self.out.read_bytes()
        self.assertTrue(first.startswith(b"GGUF"))
        self.assertTrue((self.folder / "link.gguf").is_symlink())
        self.assertEqual(self.make("toy", "Q4_K_M", self.out), (0, ""))
        self.assertEqual([self.out.read_bytes(), sorted(os.listdir(self.folder))], [first, ["link.gguf", "model.gguf"]])

    def test_a_bf16_is_the_upper_half_of_a_float(self):
        written = {}
        for type in ("F32", "BF16"):
            self.assertEqual(self.make("toy", type, self.out), (0, ""))
            written[type] = self.out.read_bytes()
        floats = written["F32"][100_000:104_000]  # of the first matrix
        self.assertIn(b"".join(floats[at + 2 : at + 4] for at in range(0, len(floats), 4)), written["BF16"])

    def test_nothing_is_left_of_one_that_cannot_be_written(self):
        self.out.write_bytes(b"old")
        limit = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))}
        code, err = self.make("toy", "F32", self.out, **limit)
        self.assertEqual([code, err], [1, f"synthetic-model: error: cannot write '{self.out}': File too large\n"])
        self.assertEqual([self.out.read_bytes(), os.listdir(self.folder)], [b"old", ["model.gguf"]])

    def test_what_is_no_file_stays_what_it_is(self):
        pipe = self.folder / "pipe"
        os.mkfifo(pipe)
        for place, why in ((pipe, "it is no regular file"), (self.folder, "it is a directory"),
                           (self.folder / "a\nb" / "c", "No such file"), ("", "a file's name is expected")):
            code, err = self.make("toy", "Q4_0", place)
            self.assertEqual([code, err.count("\n")], [1, 1])
            self.assertIn(why, err)
        self.assertTrue(stat.S_ISFIFO(os.stat(pipe).st_mode))

    def test_nothing_is_left_of_one_that_was_stopped(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            process = self.start("llama-3.2-3b", "Q4_0", self.out)  # seconds
            while not os.listdir(self.folder):
                self.assertIsNone(process.poll())
                time.sleep(0.01)
            process.send_signal(number)
            self.assertEqual([process.communicate(timeout=60)[1], process.returncode, os.listdir(self.folder)],
                             ["synthetic-model: interrupted\n", 130, []])

    def test_two_at_once_do_not_write_into_one_another(self):
        alone = []
        for type in ("F32", "Q8_0"):
            self.assertEqual(self.make("toy", type, self.out), (0, ""))
            alone.append(self.out.read_bytes())
        both = [self.start("toy", type, self.out) for type in ("F32", "Q8_0")]
        for process in both:
            self.assertEqual([process.communicate(timeout=60)[1], process.returncode], ["", 0])
        self.assertIn(self.out.read_bytes(), alone)


if __name__ == "__main__":
    unittest.main()
