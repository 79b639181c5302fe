"""m40llm-decode and m40llm-tokenize as their users meet them: what they refuse, what they write, and what must never pass."""
import ast
import json
import math
import os
import pathlib
import random
import re
import resource
import signal
import struct
import subprocess
import sys
import unittest

from cli_test import BIN, ROOT, SIMT, TIMEOUT_S, CliTest, TinyModel, run, start, wait

I32, BOOL, ARRAY = 5, 7, 9
NORMAL, CONTROL, USER_DEFINED = 1, 3, 4
LONGEST_PROMPT = 16 << 20


def character_of(byte):
    """What stands for a byte in tokens (GPT-2's table)."""
    printable = [*range(0x21, 0x7f), *range(0xa1, 0xad), *range(0xae, 0x100)]
    return chr(byte) if byte in printable else chr(256 + [b for b in range(256) if b not in printable].index(byte))


class Model(TinyModel):
    """A tiny model whose values can be set, and whose output matrix is its own."""

    def __init__(self):
        super().__init__()
        self.tensors["output.weight"] = list(self.tensors["token_embd.weight"])
        self.set = {}  # (tensor, first element): values

    def value(self, value):
        if isinstance(value, bool):
            return struct.pack("<IB", BOOL, value)
        if isinstance(value, list) and value and isinstance(value[0], int):
            return struct.pack("<IIQ", ARRAY, I32, len(value)) + struct.pack(f"<{len(value)}i", *value)
        return super().value(value)

    def special(self, names):
        """Adds tokens: name -> kind."""
        tokens = self.metadata["tokenizer.ggml.tokens"]
        self.metadata["tokenizer.ggml.token_type"] = [NORMAL] * len(tokens) + list(names.values())
        tokens += names
        for name in ("token_embd.weight", "output.weight"):
            self.tensors[name][1] = (self.WIDTH, len(tokens))

    def bytes(self):
        data = bytearray(super().bytes())
        begin = len(self.header()[0])
        places = {}
        for name, (_, shape) in self.tensors.items():
            places[name] = begin
            begin += 4 * math.prod(shape)
        for (name, element), values in self.set.items():
            struct.pack_into(f"<{len(values)}f", data, places[name] + 4 * element, *values)
        return bytes(data)


class DecodeTest(CliTest):
    def model(self, change=lambda model: None):
        model = Model()
        change(model)
        path = self.folder / "model.gguf"
        path.write_bytes(model.bytes())
        return path

    def decode(self, path, *arguments, **options):
        return run("m40llm-decode", *SIMT, "--model", path, *arguments, **options)

    def tokens(self, path, *arguments, **options):
        """(id, piece) of each text."""
        result = self.assert_ok(run("m40llm-tokenize", "--model", path, *arguments, **options))
        return [[(int(id), piece) for id, piece in (line.split("\t") for line in text.splitlines())]
                for text in result.stdout.split("\n\n")]

    def with_stdin(self, program, *arguments, given=b"", stdin=None):
        """As run(), with bytes or a file as stdin."""
        result = subprocess.run([str(BIN / program), *map(str, arguments)], input=given if stdin is None else None, stdin=stdin,
                                capture_output=True, timeout=TIMEOUT_S)
        return subprocess.CompletedProcess(result.args, result.returncode, result.stdout.decode(errors="replace"),
                                           result.stderr.decode(errors="replace"))


class NotFinite(DecodeTest):
    """What is not finite yields no token and has not passed."""

    def assert_fails(self, path, *arguments, says, stopped="not_finite", prompts=("ab",)):
        records = self.folder / "x.jsonl"
        records.unlink(missing_ok=True)
        flags = [word for prompt in prompts for word in ("--prompt", prompt)]
        result = self.decode(path, *flags, "--json", records, *arguments)
        self.assertEqual(result.returncode, 1, result.stdout + result.stderr)
        errors = [line for line in result.stderr.splitlines() if line.startswith("m40llm-decode: error: ")]
        self.assertEqual(len(errors), len(prompts), result.stderr)
        found, end = self.read_run(records)
        for record, error, prompt in zip(found, errors, prompts, strict=True):
            self.assertIn(f"prompt '{prompt}': ", error)
            self.assertIn(says, error)
            self.assertIn(says, record["fault"])
            self.assertEqual([record["passed"], record["stopped"]], [False, stopped])
        self.assertEqual([end["passed"], end["failed"], end["skipped"], end["exit_code"]], [0, len(prompts), 0, 1])
        return found[0], result

    def test_a_weight_that_is_nan(self):
        for name, op in (("blk.0.ffn_gate.weight", "layer 0: gate: element 0 is nan"), ("blk.0.attn_q.weight", "layer 0: Q: element 0 is nan"),
                         ("output_norm.weight", "output norm: element 0 is nan"), ("output.weight", "logits: element 0 is nan")):
            path = self.model(lambda model: model.set.update({(name, 0): [math.nan]}))
            record, _ = self.assert_fails(path, says="position 0 (fed token ")
            self.assertIn("--find-not-finite", record["fault"])
            self.assertEqual([record["tokens"], record["text"], record["logits_hash"]], [[], "", []])
            self.assert_fails(path, "--find-not-finite", says=f"first not finite: {op}", prompts=("ab", "c"))

    def test_one_logit_that_is_infinite(self):
        for value, shown in ((math.inf, "inf"), (-math.inf, "-inf"), (math.nan, "nan")):
            # The last token of all: its row times a state that is not zero.
            def change(model):
                last = model.tensors["output.weight"][1][1] - 1
                model.set[("output.weight", last * model.WIDTH)] = [value]
            record, _ = self.assert_fails(self.model(change), "--find-not-finite", says=" is ")
            self.assertRegex(record["fault"], r"the logit of token \d+ is (inf|-inf|nan);")
            self.assertRegex(record["fault"], r"first not finite: logits: element \d+ is")

    def counts_up(self, model):
        """After token t comes t + 1: a layer that adds nothing, and the output matrix the embedding, a row further."""
        numbers = random.Random(1)
        rows = [[numbers.gauss(0, 1) for _ in range(model.WIDTH)] for _ in range(257)]
        rows = [[value / math.hypot(*row) for value in row] for row in rows]
        model.set[("token_embd.weight", 0)] = [value for row in rows for value in row]
        model.set[("output.weight", 0)] = [value for row in rows[-1:] + rows[:-1] for value in row]
        model.set[("output_norm.weight", 0)] = [1.0] * model.WIDTH
        for name in ("attn_output", "ffn_down"):
            model.set[(f"blk.0.{name}.weight", 0)] = [0.0] * model.WIDTH**2

    def test_what_was_generated_before_is_kept(self):
        c = self.id_of("c")

        def change(model):
            self.counts_up(model)
            model.set[("token_embd.weight", (c + 3) * model.WIDTH)] = [math.nan]
        record, result = self.assert_fails(self.model(change), says=f"position 4 (fed token {c + 3}): the logit of token 0 is nan",
                                           prompts=("Zc",))
        self.assertEqual([record["tokens"], record["text"]], [[c + 1, c + 2, c + 3], "def"])
        self.assertEqual(len(record["logits_hash"]), 4)
        self.assertIn("> Zcdef\n", result.stdout)
        self.assertIn("decoded 3 (not_finite)", result.stdout)

    def test_a_step_of_the_prompt(self):
        path = self.model(lambda model: model.set.update({("token_embd.weight", self.id_of("c") * model.WIDTH): [math.inf]}))
        record, _ = self.assert_fails(path, says=f"position 1 (fed token {self.id_of('c')})", prompts=("Zcd",))
        self.assertEqual(len(record["logits_hash"]), 1)

    def id_of(self, character):
        return Model().metadata["tokenizer.ggml.tokens"].index(character)

    def test_keys_and_values_beyond_fp16(self):
        for which in ("k", "v"):
            path = self.model(lambda model: model.set.update({(f"blk.0.attn_{which}.weight", 0): [1e6] * model.WIDTH}))
            self.assert_fails(path, "--find-not-finite", says=f"layer 0: kv append: {which.upper()} of position 0, KV head 0, element 0 is ")

    def hides_a_position(self, model):
        """K of a token whose embedding's first value is not zero overflows, opposite to its Q: a score of minus infinity."""
        width, tokens = model.WIDTH, model.metadata["tokenizer.ggml.tokens"]
        for token in range(len(tokens)):
            model.set[("token_embd.weight", token * width)] = [0.0]
        model.set[("token_embd.weight", self.id_of("c") * width)] = [1.0]
        for row in range(width):
            model.set[("blk.0.attn_k.weight", row * width)] = [1e7] + [0.0] * (width - 1)
            model.set[("blk.0.attn_q.weight", row * width)] = [-1.0] + [0.0] * (width - 1)

    def test_a_key_that_does_not_reach_the_logits(self):
        says = "layer 0: kv append: K of position 1, KV head 0, element 0 is "
        record, _ = self.assert_fails(self.model(self.hides_a_position), "--tokens", "1", says=says, stopped="length", prompts=("Zc",))
        self.assertEqual(len(record["logits_hash"]), 2)  # all of them finite
        self.assert_ok(self.decode(self.folder / "model.gguf", "--prompt", "Zd", "--tokens", "1"))

    def test_an_oracle_that_nothing_is_compared_with_is_an_error(self):
        path = self.model(lambda model: None)
        oracle = self.folder / "oracle.json"
        step = {"ids": [5, 6], "logits": [0.0, 0.0], "log_sum_exp": 3.0}
        prompt = {"text": "Z", "prompt_tokens": [self.id_of("Z")], "tokens": [5], "steps": [step] * 2}
        records = self.folder / "x.jsonl"
        oracle.write_text(json.dumps({"prompts": [prompt]}))
        result = self.decode(path, "--oracle", oracle, "--prompt", "c", "--json", records)
        self.assert_error(result, 1, "--oracle", oracle, "nothing would be compared")
        oracle.write_text(json.dumps({"prompts": [prompt, prompt]}))
        self.assert_error(self.decode(path, "--oracle", oracle, "--json", records), 1, oracle, "prompts[1].text", "earlier prompt")
        self.assertFalse(records.exists())

    def test_an_oracle_does_not_make_it_pass(self):
        path = self.model(lambda model: model.set.update({("output.weight", 0): [math.nan]}))
        oracle = self.folder / "oracle.json"
        step = {"ids": [5, 6], "logits": [0.0, 0.0], "log_sum_exp": 3.0}
        oracle.write_text(json.dumps({"prompts": [{"text": "Z", "prompt_tokens": [self.id_of("Z")], "tokens": [5], "steps": [step] * 2}]}))
        record, _ = self.assert_fails(path, "--oracle", oracle, says="position 0", prompts=("Z",))
        self.assertIsNone(record["oracle"])


class CtrlC(DecodeTest):
    def test_a_prompt_that_is_cut_has_not_passed(self):
        records = self.folder / "x.jsonl"
        process = start("m40llm-decode", *SIMT, "--model", self.model(), "--prompt", "c" * 2000, "--prompt", "d", "--tokens", "2000",
                        "--context", "4096", "--json", records)
        while b"> ccc" not in os.read(process.stdout.fileno(), 65536):
            self.assertIsNone(process.poll())
        process.send_signal(signal.SIGINT)
        result = wait(process)
        self.assertEqual(result.returncode, 130, result.stderr)
        found, end = self.read_run(records)
        self.assertEqual([end["passed"], end["failed"], end["skipped"], end["skipped_why"]], [0, 0, 2, "interrupted"])
        self.assertEqual([end["interrupted"], end["exit_code"]], [True, 130])
        self.assertEqual([[record["stopped"], record["passed"]] for record in found], [["interrupted", False]])
        self.assertLess(len(found[0]["logits_hash"]), 4000 - 1)
        self.assertNotIn("fault", found[0])

    def test_what_was_done_before_has(self):
        records = self.folder / "x.jsonl"
        process = start("m40llm-decode", *SIMT, "--model", self.model(), "--prompt", "Z", "--prompt", "c" * 2000, "--tokens", "2000",
                        "--context", "4096", "--json", records)
        shown = b""
        while b"> ccc" not in shown:
            self.assertIsNone(process.poll())
            shown += os.read(process.stdout.fileno(), 65536)
        process.send_signal(signal.SIGINT)
        self.assertEqual(wait(process).returncode, 130)
        found, end = self.read_run(records)
        self.assertEqual([end["passed"], end["failed"], end["skipped"]], [1, 0, 1])
        self.assertEqual([record["passed"] for record in found], [True, False])

    def test_while_stdin_is_read(self):
        read_end, write_end = os.pipe()
        self.addCleanup(os.close, write_end)
        process = subprocess.Popen([BIN / "m40llm-decode", *SIMT, "--model", self.model(), "--prompt-file", "-"], stdin=read_end,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        os.close(read_end)
        while not pathlib.Path(f"/proc/{process.pid}/syscall").read_text().startswith("0 0x0 "):  # read(0, ...)
            self.assertIsNone(process.poll())
        process.send_signal(signal.SIGINT)
        self.assertEqual(wait(process).returncode, 130)


class Ends(DecodeTest):
    """What ends a text."""

    def ends_by(self, name, kind, key=None):
        """The run of a model that has the token `name` and says nothing else: its result and record."""
        def change(model):
            model.special({name: kind})
            end = 257
            numbers = random.Random(1)
            model.set[("output.weight", 0)] = [0.0] * (end * model.WIDTH)
            row = [numbers.gauss(0, 1) for _ in range(model.WIDTH)]
            model.set[("output.weight", end * model.WIDTH)] = row
            model.set[("token_embd.weight", 0)] = row * (end + 1)
            model.set[("output_norm.weight", 0)] = [1.0] * model.WIDTH
            for tensor in ("attn_output", "ffn_down"):
                model.set[(f"blk.0.{tensor}.weight", 0)] = [0.0] * model.WIDTH**2
            if key:
                model.metadata[f"tokenizer.ggml.{key}"] = end
        records = self.folder / "x.jsonl"
        records.unlink(missing_ok=True)
        result = self.assert_ok(self.decode(self.model(change), "--prompt", "Zc", "--tokens", "5", "--json", records))
        return result, self.read_run(records)[0][0]

    def test_by_name_whatever_its_type(self):
        for kind in (NORMAL, CONTROL, USER_DEFINED):
            result, record = self.ends_by("<|im_end|>", kind)
            self.assertEqual([record["stopped"], record["tokens"], record["text"]], ["end_of_sequence", [257], ""])
            note = f"note: token 257 '<|im_end|>' ends a text by its name; the file's type for it, {kind}, is overridden"
            self.assertEqual(result.stderr.count(note), 0 if kind == CONTROL else 1, result.stderr)
            self.assertNotIn("<|im_end|>", result.stdout)
            # Nothing was decoded after the prompt: no figure of it was measured.
            self.assertIsNone(record["per_token"])
            self.assertIn("decoded 1 (end_of_sequence)]", result.stdout)

    def test_by_key_without_a_note(self):
        for key in ("eos_token_id", "eot_token_id", "eom_token_id"):
            result, record = self.ends_by("bye", NORMAL, key)
            self.assertEqual(record["stopped"], "end_of_sequence")
            self.assertNotIn("note:", result.stderr)

    def test_no_other_name(self):
        for kind in (NORMAL, CONTROL, USER_DEFINED):
            self.assertEqual(self.ends_by("<|im_start|>", kind)[1]["stopped"], "length")


class Activations(DecodeTest):
    """Of 8 bits: other bits than floats, and the same by every way that has them."""

    def quantized(self):
        path = self.folder / "toy.gguf"
        subprocess.run([sys.executable, "-B", ROOT / "scripts/synthetic-model", "toy", "Q4_K", path], check=True, capture_output=True)
        return path

    def records(self, path, activations, *arguments):
        file = self.folder / f"{activations}.jsonl"
        result = self.decode(path, "--prompt", "A", "--tokens", "3", "--context", "8", "--activations", activations, "--json", file, *arguments)
        self.assertEqual(result.returncode, 0, result.stderr)
        return [record for record in map(json.loads, file.read_text().splitlines()) if record["kind"] == "decode"]

    def test_have_bits_of_their_own(self):
        path = self.quantized()
        floats = self.records(path, "float32", "--way", "graph")
        integers = self.records(path, "int8", "--way", "separate,launches,graph")
        self.assertEqual([record["activations"] for record in floats + integers], ["float32"] + 3 * ["int8"])
        self.assertEqual([record["logits_hash"] for record in integers], 3 * [integers[0]["logits_hash"]])
        self.assertNotEqual(integers[0]["logits_hash"], floats[0]["logits_hash"])

    def test_are_compared_with_their_like_alone(self):
        path = self.quantized()
        self.records(path, "float32")
        arguments = ["--prompt", "A", "--tokens", "3", "--context", "8", "--against", self.folder / "float32.jsonl"]
        self.assertEqual(self.decode(path, *arguments).returncode, 0)
        result = self.decode(path, *arguments, "--activations", "int8")
        self.assertEqual(result.returncode, 1)
        self.assertIn("nothing was compared", result.stdout + result.stderr)

    def test_that_a_way_lacks_are_refused(self):
        path = self.quantized()
        for way in ("persistent", "ring"):
            result = self.decode(path, "--prompt", "A", "--activations", "int8", "--way", way)
            self.assertEqual(result.returncode, 1)
            self.assertIn("qkv_int8_q4_k/int8", result.stderr)

    def test_of_another_name(self):
        self.assert_error(self.decode("x.gguf", "--prompt", "A", "--activations", "int4"), 2, "'int4'", "float32, int8")


class Context(DecodeTest):
    def test_where_the_limit_comes_from(self):
        path = self.model()
        own = "the model's own is 4096"
        self.assert_error(self.decode(path, "--prompt", "c", "--tokens", "2048"), 1, "prompt 'c'", "do not fit the context of 2048",
                          "the default of --context", own)
        self.assert_error(self.decode(path, "--prompt", "c", "--tokens", "100", "--context", "100"), 1, "the context of 100",
                          "as --context says", own)
        self.assert_error(self.decode(path, "--prompt", "c", "--tokens", "4096", "--context", "4096"), 1, "the context of 4096, the model's own")
        short = self.model(lambda model: model.metadata.update({"llama.context_length": 64}))
        result = self.decode(short, "--prompt", "c", "--tokens", "64")
        self.assert_error(result, 1, "the context of 64, the model's own")
        self.assertNotIn("--context", result.stderr)


class Prompts(DecodeTest):
    """--prompt, --prompt-file and --special, of both programs."""

    def both(self, path, *arguments, code, parts):
        for program in (["m40llm-decode", *SIMT], ["m40llm-tokenize"]):
            self.assert_error(run(*program, "--model", path, *arguments), code, *parts)

    def test_empty(self):
        path = self.model()
        for arguments in (["--prompt="], ["--prompt", ""], ["--prompt=", "--special"]):
            self.both(path, *arguments, code=1, parts=["prompt ''", "is empty", "expected a text"])
        self.both(path, "--prompt=", "c", code=2, parts=["c", "--help"])  # no value of the flag
        empty = self.folder / "empty.txt"
        empty.touch()
        self.both(path, "--prompt-file", empty, code=1, parts=["empty.txt", "is empty", "expected a text"])
        # A model with a token of its own to begin with needs no text.
        begins = self.model(lambda model: model.metadata.update({"tokenizer.ggml.add_bos_token": True, "tokenizer.ggml.bos_token_id": 7}))
        self.assertEqual(self.tokens(begins, "--prompt="), [[(7, "(")]])

    def test_flags_without_their_value(self):
        path = self.model()
        for flag in ("tokens", "context", "json", "logits", "seed", "workers", "order", "device"):
            self.assert_error(self.decode(path, "--prompt", "c", f"--{flag}="), 2, f"--{flag}")
        for flag in ("model", "oracle", "against", "prompt-file"):
            result = run("m40llm-decode", *SIMT, "--prompt", "c", f"--{flag}=", "extra")
            self.assert_error(result, 2, "extra")  # which is not its value

    def without(self, *characters):
        def change(model):
            tokens = model.metadata["tokenizer.ggml.tokens"]
            for character in characters:
                tokens[tokens.index(character)] = f"no {character}"
        return change

    def test_bytes_without_a_token(self):
        path = self.model(self.without("x"))
        self.both(path, "--prompt", "xx", code=1, parts=["prompt 'xx'", "2 of its 2 bytes have no token", "'x'", "expected"])
        result = self.assert_ok(run("m40llm-tokenize", "--model", path, "--prompt", "axxb"))
        self.assertIn("2 of its 4 bytes have no token in the model's vocabulary, 'x', and are left out", result.stderr)
        self.assertEqual(len(result.stdout.splitlines()), 2)
        result = run("m40llm-tokenize", "--model", path, "--prompt", "ab")
        self.assertEqual([result.returncode, result.stderr], [0, ""])

    def test_bytes_without_a_token_are_escaped(self):
        path = self.model(self.without(*map(character_of, b"\x1b\xc3\xa9")))
        self.both(path, "--prompt", "\x1b", code=1, parts=["prompt '\\x1b'", "1 of its 1 bytes", "vocabulary, '\\x1b'"])
        self.both(path, "--prompt", "\u00e9", code=1, parts=["2 of its 2 bytes", "vocabulary, '\u00e9'"])

    def test_from_files(self):
        path = self.model()
        file = self.folder / "p.txt"
        for text in ("c", "abc\n", "two\r\nlines\n", "\u00e9\u20ac\U0001f600", "nul\0", "c" * 300_000):
            file.write_bytes(text.encode())
            self.assertEqual(self.joined(self.tokens(path, "--prompt-file", file)[0]), text.encode())
        file.write_text("cZ")
        records = self.folder / "x.jsonl"
        self.assert_ok(self.decode(path, "--prompt", "Za", "--prompt-file", file, "--prompt", "cd", "--prompt-file", file, "--tokens", "1",
                                   "--json", records))
        self.assertEqual([record["prompt"] for record in self.read_run(records)[0]], ["Za", "cZ", "cd", "cZ"])  # in order

    @staticmethod
    def joined(tokens):
        """The bytes that tokens' escaped pieces stand for."""
        def byte(match):
            return b"\\" if match[1] == b"\\" else bytes([int(match[1][1:], 16)])
        return b"".join(re.sub(rb"\\(\\|x[0-9a-f]{2})", byte, piece.encode()) for _, piece in tokens)

    def test_files_that_cannot_be_prompts(self):
        path = self.model()
        self.both(path, "--prompt-file", self.folder / "none", code=1, parts=["none'", "No such file"])
        self.both(path, "--prompt-file", self.folder, code=1, parts=[str(self.folder), "is a folder", "expected"])
        self.both(path, "--prompt-file", "/dev/zero", code=1, parts=["'/dev/zero'", "not a regular file"])
        pipe = self.folder / "pipe"
        os.mkfifo(pipe)
        self.both(path, "--prompt-file", pipe, code=1, parts=["pipe'", "not a regular file", "--prompt-file - reads stdin"])
        file = self.folder / "p.txt"
        file.write_bytes(b"abc\xc3(")
        self.both(path, "--prompt-file", file, code=1, parts=["p.txt'", "not UTF-8 at its byte 3"])
        with file.open("wb") as big:
            big.truncate(LONGEST_PROMPT + 1)
        self.both(path, "--prompt-file", file, code=1, parts=["p.txt'", f"longer than {LONGEST_PROMPT} bytes"])
        self.both(path, "--prompt-file", "-", "--prompt-file", "-", code=2, parts=["stdin can be read once"])
        # A good prompt in front changes nothing.
        self.both(path, "--prompt", "c", "--prompt-file", self.folder, code=1, parts=["is a folder"])

    def test_from_stdin(self):
        path = self.model()
        for text in (b"abc\n", b"c" * 200_000):
            result = self.assert_ok(self.with_stdin("m40llm-tokenize", "--model", path, "--prompt-file", "-", given=text))
            tokens = [tuple(line.split("\t")) for line in result.stdout.splitlines()]
            self.assertEqual(self.joined(tokens), text)
        result = self.with_stdin("m40llm-decode", *SIMT, "--model", path, "--prompt-file", "-", "--tokens", "1", given=b"Zc")
        self.assertIn("> Zc", self.assert_ok(result).stdout)
        tokenize = ["m40llm-tokenize", "--model", path, "--prompt-file", "-"]
        self.assert_error(self.with_stdin(*tokenize, given=b"a\xff"), 1, "stdin", "not UTF-8 at its byte 1")
        self.assert_error(self.with_stdin(*tokenize, given=b""), 1, "stdin is empty")
        self.assert_error(self.with_stdin(*tokenize, given=bytes(LONGEST_PROMPT + 1)), 1, "stdin", "longer than")
        folder = os.open(self.folder, os.O_RDONLY)
        self.addCleanup(os.close, folder)
        self.assert_error(self.with_stdin(*tokenize, stdin=folder), 1, "stdin", "Is a directory")
        with open("/dev/zero", "rb") as endless:
            self.assert_error(self.with_stdin(*tokenize, stdin=endless), 1, "stdin", "longer than")

    def test_special_tokens(self):
        path = self.model(lambda model: model.special({"<|im_start|>": CONTROL, "<|im_end|>": CONTROL, "<user>": USER_DEFINED}))
        text = "<|im_start|>Zc<user><|im_end|>"
        plain, = self.tokens(path, "--prompt", text)
        special, = self.tokens(path, "--prompt", text, "--special")
        self.assertEqual([piece for _, piece in special], ["<|im_start|>", "Z", "c", "<user>", "<|im_end|>"])
        self.assertIn("<user>", [piece for _, piece in plain])
        self.assertNotIn("<|im_start|>", [piece for _, piece in plain])
        self.assertEqual(self.joined(plain), text.encode())
        records = self.folder / "x.jsonl"
        self.assert_ok(self.decode(path, "--prompt", text, "--special", "--tokens", "1", "--json", records))
        self.assertEqual(self.read_run(records)[0][0]["prompt_tokens"], [id for id, _ in special])

    def test_tokenize_needs_no_tensors_and_no_device(self):
        path = self.model(lambda model: model.tensors.clear())
        self.assertEqual(self.tokens(path, "--prompt", "abZ", "--prompt", "c"), [[(256, "ab"), (self.id("Z"), "Z")], [(self.id("c"), "c")]])

    @staticmethod
    def id(character):
        return TinyModel().metadata["tokenizer.ggml.tokens"].index(character)

    def test_tokenize_refuses(self):
        self.assert_error(run("m40llm-tokenize", "--prompt", "c"), 2, "--model", "needed")
        self.assert_error(run("m40llm-tokenize", "--model", "x"), 2, "--prompt", "needed")
        self.assert_error(run("m40llm-tokenize", "--model", self.folder / "none", "--prompt", "c"), 1, "none", "No such file")
        self.assert_error(run("m40llm-tokenize", "--bogus"), 2, "--bogus", "--help")
        for flag in ("--model", "--prompt", "--prompt-file", "--special", "--help"):
            self.assertIn(flag, self.assert_ok(run("m40llm-tokenize", "--help")).stdout)
        with open("/dev/full", "wb") as full:
            self.assert_error(run("m40llm-tokenize", "--model", self.model(), "--prompt", "c", stdout=full), 1, "output")


class Logits(DecodeTest):
    def read(self, path):
        """Rows of a .npy file of float32."""
        data = path.read_bytes()
        self.assertEqual(data[:8], b"\x93NUMPY\x01\x00")
        length, = struct.unpack_from("<H", data, 8)
        self.assertEqual((10 + length) % 64, 0)
        header = ast.literal_eval(data[10:10 + length].decode())
        self.assertEqual([header["descr"], header["fortran_order"], data[9 + length:10 + length]], ["<f4", False, b"\n"])
        rows, columns = header["shape"]
        self.assertEqual(len(data), 10 + length + 4 * rows * columns)
        values = struct.unpack_from(f"<{rows * columns}f", data, 10 + length)
        return [values[row * columns:(row + 1) * columns] for row in range(rows)]

    def test_every_step_is_kept(self):
        records, out = self.folder / "x.jsonl", self.folder / "l.npy"
        out.write_text("older")
        out.chmod(0o600)
        self.assert_ok(self.decode(self.model(), "--prompt", "Zcd", "--tokens", "4", "--logits", out, "--json", records))
        record = self.read_run(records)[0][0]
        self.assertEqual(out.stat().st_mode & 0o777, 0o600)
        rows = self.read(out)
        self.assertEqual(len(rows), 3 + 4 - 1)
        self.assertEqual({len(row) for row in rows}, {257})
        self.assertEqual([row.index(max(row)) for row in rows[2:]], record["tokens"])
        self.assertEqual(sorted(file.name for file in self.folder.iterdir()), ["l.npy", "model.gguf", "x.jsonl"])
        link = self.folder / "link.npy"
        link.symlink_to(self.folder / "target.npy")
        self.assert_ok(self.decode(self.folder / "model.gguf", "--prompt", "Z", "--tokens", "1", "--logits", link))
        self.assertTrue(link.is_symlink())
        self.assertEqual(len(self.read(self.folder / "target.npy")), 1)

    def test_nothing_half_written(self):
        out = self.folder / "l.npy"
        path = self.model(lambda model: model.set.update({("blk.0.ffn_up.weight", 0): [math.nan]}))
        self.assertEqual(self.decode(path, "--prompt", "Z", "--logits", out).returncode, 1)
        self.assertEqual(list(self.folder.iterdir()), [path])
        # What decides that a run has failed may come behind its last step.
        path, oracle, records = self.model(), self.folder / "oracle.json", self.folder / "x.jsonl"
        token = Model().metadata["tokenizer.ggml.tokens"].index("Z")
        step = {"ids": [5, 6], "logits": [1e3, -1e3], "log_sum_exp": 3.0}
        oracle.write_text(json.dumps({"prompts": [{"text": "Z", "prompt_tokens": [token], "tokens": [5], "steps": [step] * 2}]}))
        self.assert_ok(self.decode(path, "--prompt", "c", "--json", records))
        for arguments in (["--oracle", oracle], ["--against", records]):
            result = self.decode(path, "--prompt", "Z", "--tokens", "1", "--logits", out, *arguments)
            self.assertEqual([result.returncode, "logits:" in result.stderr], [1, False])
        with open("/dev/full", "wb") as full:
            self.assertEqual(self.decode(path, "--prompt", "Z", "--logits", out, stdout=full).returncode, 1)
        self.assertEqual(sorted(self.folder.iterdir()), [path, oracle, records])
        oracle.unlink()
        records.unlink()

        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
        out.write_text("older")
        result = self.decode(self.model(), "--prompt", "Z", "--tokens", "100", "--logits", out, preexec_fn=limit)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, "m40llm-decode: error: .*l.npy' could not be written whole: File too large")
        self.assertEqual(out.read_text(), "older")
        self.assertEqual(sorted(file.name for file in self.folder.iterdir()), ["l.npy", "model.gguf"])

    def test_what_is_no_output(self):
        path = self.model()
        given, oracle = self.folder / "p.txt", self.folder / "oracle.json"
        given.write_text("c")
        oracle.write_text("{}")
        before = path.read_bytes()
        link = self.folder / "link"
        link.symlink_to(path)
        for out, flag, arguments in ((path, "--model", []), (link, "--model", []), (self.folder / "." / "model.gguf", "--model", []),
                                     (given, "--prompt-file", ["--prompt-file", given]), (oracle, "--oracle", ["--oracle", oracle]),
                                     (oracle, "--against", ["--against", oracle]), (self.folder / "new", "--json", ["--json", self.folder / "new"])):
            self.assert_error(self.decode(path, "--prompt", "c", "--logits", out, *arguments), 2, "--logits", out, flag)
        for out, flag, arguments in ((path, "--model", []), (given, "--prompt-file", ["--prompt-file", given]),
                                     (oracle, "--oracle", ["--oracle", oracle])):
            self.assert_error(self.decode(path, "--prompt", "c", "--json", out, *arguments), 2, "--json", out, flag)
        self.assertEqual([path.read_bytes(), given.read_text(), oracle.read_text()], [before, "c", "{}"])
        (self.folder / "loop").symlink_to("loop")
        for out, why in ((self.folder, "folder"), ("/dev/null", "no regular file"), (self.folder / "none" / "l.npy", "No such file"),
                         (given / "l.npy", "Not a directory"), (self.folder / "loop", "Too many levels"), ("/dev/stdout", "no regular file")):
            result = self.decode(path, "--prompt", "c", "--logits", out)
            self.assertEqual(result.returncode, 1)
            self.assertRegex(result.stderr, f"m40llm-decode: error: --logits '{out}' .*{why}")
        with (self.folder / "out").open("wb") as file:
            result = self.decode(path, "--prompt", "c", "--logits", "/dev/stdout", stdout=file)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, "m40llm-decode: error: --logits '/dev/stdout' is where this program's own output goes")
        self.assert_error(self.decode(path, "--prompt", "c", "--prompt", "d", "--logits", self.folder / "l.npy"), 2, "--logits", "one prompt", "2")


if __name__ == "__main__":
    unittest.main()
