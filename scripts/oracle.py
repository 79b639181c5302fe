#!/usr/bin/env python3
"""Makes the independent oracle of the whole model: what llama.cpp computes on a model file whose weights were
dequantised to F32, as small test data.

Run by hand when the model, the prompts or the texts change; the tests only read what it wrote. It writes
  smollm2_oracle.json   per prompt: tokens, greedy continuation, and for every position the largest logits
                        with their token ids and the log-sum-exp over the whole vocabulary; K and V rounded to
                        binary16 on their way into the cache, as this engine stores them
  smollm2_oracle_unrounded.json   the first prompt with K and V as they are
  smollm2_tokens.json   texts and the tokens llama.cpp's tokenizer makes of them (no special tokens added or
                        parsed)
Their format is described in tests/data/README.md. The same model gives the same bytes again.

Usage:
  .venv-oracle/bin/python scripts/oracle.py --model SmolLM2-135M-Instruct.Q4_1.gguf --out tests/data

Its environment (llama.cpp is compiled from the package's sources, 2 to 10 minutes; AVX2 is asked for by name,
so that the arithmetic does not depend on the machine that compiles; no OpenMP, no repacking of weights):
  python3 -m venv .venv-oracle && .venv-oracle/bin/pip install numpy==2.2.6 gguf==0.19.0 \
    scikit-build-core==0.11.6 cmake==4.4.4 ninja==1.13.2 && PATH=$PWD/.venv-oracle/bin:$PATH \
    CMAKE_ARGS="-DGGML_NATIVE=OFF -DGGML_AVX=ON -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_BMI2=ON \
    -DGGML_OPENMP=OFF -DGGML_LLAMAFILE=OFF -DGGML_CPU_REPACK=OFF -DLLAVA_BUILD=OFF -DLLAMA_OPENSSL=OFF \
    -DCMAKE_CXX_FLAGS_RELEASE=-O1" .venv-oracle/bin/pip install --no-build-isolation \
    --no-binary llama-cpp-python llama-cpp-python==0.3.36
"""

import argparse
import ctypes
import hashlib
import importlib.metadata
import json
import os
import sys
import tempfile
from pathlib import Path

try:
    import gguf
    import llama_cpp
    import numpy as np
except ImportError as error:
    sys.exit(f"oracle.py: error: {error}: the head of this script says how its environment is made")

# What the data is made by; main() refuses anything else, because the file says so.
PINNED = {"llama-cpp-python": "0.3.36", "gguf": "0.19.0", "numpy": "2.2.6"}
LLAMA_CPP_COMMIT = "0c1e57098"  # of the llama.cpp in llama-cpp-python 0.3.36, by that package's change log

# Over 300 tokens: attention takes more than two of its tiles of 128 positions.
LONG_PROMPT = (
    "The keeper of the lighthouse at Skerry Point kept a diary for forty years. Most of its pages say little "
    "more than the weather: wind from the north-west, rain before noon, a clear night. But every spring, when "
    "the first boats came back, he wrote down their names and what they carried. In 1897 there were eleven of "
    "them, with herring, salt, coal, and once a piano for the school in the village. The piano was too wide "
    "for the door, so it stood in the yard under a sail until the carpenter took out a window. Nobody in the "
    "village could play it. The keeper's daughter, who was nine, taught herself from a book that lay inside "
    "the lid, and by the winter she played at weddings.\n\n"
    "Years later a professor came to measure the tides. He had brought two clocks, a barometer, and a long "
    "brass tube, and he asked the keeper whether he might look at the diary. They sat at the kitchen table "
    "until it was dark. The professor copied the heights of the water, day by day, into columns: 3.2, 3.4, "
    "3.9, 4.1, 3.8. He saw that the highest tides did not follow the moon alone; after a week of storms from "
    "the west the water stood half a metre higher than his tables allowed. \"Your father has found something,\" "
    "he said to the daughter, \"that we have been looking for in the wrong place.\" She laughed and said that "
    "her father had never looked for anything but boats.\n\n"
    "The keeper of the lighthouse, the professor wrote at the end of his report, had kept a diary for"
)

# Raw text, no chat template: prose, code, digits with letters outside ASCII that end in a space, and a long one.
PROMPTS = [
    "The capital of France is",
    "def fibonacci(n):\n",
    "Once upon a time, 3 naïve robots — ",
    LONG_PROMPT,
]
N_GENERATED = 64
N_STEPS = 400  # of a prompt and what it generates
N_BATCH = 64
N_TOP = 64

# fmt: off
TEXTS = [
    # Empty, single characters, white space only
    "", "a", "Z", "0", " ", "  ", "   ", "    ", "\n", "\n\n", "\n\n\n", "\t", "\t\t", " \n", "\n ", "\r\n",
    "\r\n\r\n",
    " \t \n \t ", "\u00a0", "\u00a0\u00a0x", "\u3000", "\u2003em space", "\u200b", "a\u200bb", "\u2028line",
    "\u0085next",
    "\ufeffmark", "\x0b\x0c",
    # White space at the edges and between words
    " leading", "  two leading", "trailing ", "trailing  ", " both ", "\nleading newline",
    "trailing newline\n",
    "a b", "a  b", "a   b", "a    b", "a\tb", "a\t\tb", "a \tb", "a\t b", "a\nb", "a\n\nb", "a \n b",
    "a\n  b", "a  \n  b",
    "x" + " " * 17 + "y", " " * 40, "\n" * 12, "tabs\t\t\t\tand    spaces", "end\n\n  \n",
    # English
    "Hello", "Hello world", "Hello, world!", "The quick brown fox jumps over the lazy dog.",
    "In 1969, two people walked on the Moon; 12 did in all.",
    "\"Quoted,\" she said -- 'twice' -- and left...", "(parentheses) [brackets] {braces} <angles>",
    "Mr. O'Neill's e-mail: o.neill@example.com, https://example.com/a_b?c=d&e=%20#f",
    "ALL CAPS AND MiXeD cAsE", "semi;colon:comma,dot.bang!question?",
    "hyphen-ated under_scored slash/ed back\\slashed",
    # Contractions, in both cases and with typographic apostrophes
    "I'm you're he's we'll they've I'd don't", "I'M YOU'RE HE'S WE'LL THEY'VE I'D DON'T", "I’m you’re don’t",
    "'s't're've'm'll'd", "' s", " 's", "x's 's", "rock 'n' roll", "''''", "it''s", "'sample",
    "'test 'real 'verse 'more 'llama 'dog",
    # Numbers: every digit is a token of its own, and stands apart from its neighbours
    "1", "12", "123", "1234567890", " 1", " 12", "  12", "3.14159", "-273.15", "1,000,000", "1e-5", "0x1F4",
    "a1", "1a",
    "a1b2c3", "abc123def", "v2.0.1-rc3", "2024-02-29T23:59:60Z", "50%", "$9.99", "#42", "1/2", "x=1",
    "7 8  9",
    "\u00bd \u00b2 \u00b3", "\u0661\u0662\u0663", "\u0967\u0968 \u0969", "\uff11\uff12", "\u2167",
    "\u2460\u2461", "x\u00b2+y\u00b2", "\U0001d7d8\U0001d7d9",
    # Code
    "def f(x):\n    return x * x\n", "for (int i = 0; i < n; ++i) {\n\tsum += a[i];\n}\n",
    "#include <cstdio>\n",
    "if x:\n        pass\n\n\nelse:\n    y = [1, 2, 3]\n", "SELECT * FROM t WHERE a = 'b';",
    "std::vector<std::pair<int, float>> v;",
    "a->b.c[d](e)&&!f||g", "/* comment */ // another", "\\n\\t\\\\", "`code` ```block```",
    "{\"key\": [null, true, -1.5e+3]}",
    "<div class=\"x\">&nbsp;</div>", "a+=1;b-=2;c*=3;d/=4;e%=5;f^=6;g|=7;h&=8", "!!!???...---===+++***",
    "~`@#$%^&*()_+{}|:<>?",
    # Letters outside ASCII, composed and decomposed
    "naïve café résumé", "nai\u0308ve cafe\u0301 re\u0301sume\u0301", "\u0301", " \u0301",
    "a\u0301\u0302\u0303b", "ß ẞ ſ ﬁ ĳ", "Ångström Øre Łódź",
    "Zażółć gęślą jaźń", "Привет, мир!", "Ελληνικά γράμματα", "հայերեն", "ქართული", "Tiếng Việt",
    # Right to left
    "مرحبا بالعالم", "السَّلامُ عَلَيْكُمْ", "שלום עולם", "שָׁלוֹם", "abc العربية 123",
    # CJK, Indic, Thai, Hangul in both forms
    "你好，世界！", "日本語のテキスト。", "カタカナ ひらがな 漢字", "한국어 문장", "\u1112\u1161\u11ab", "हिन्दी में लिखा", "தமிழ்",
    "ภาษาไทย", "𠮷野家", "中文English混合123",
    # Emoji: alone, skin tone, joined, flags, key caps, variation selectors
    "😀", "😀😀", " 😀 ", "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇫🇷🇩🇪", "1️⃣", "❤️", "I ❤ C++ 🚀", "👩🏾‍🚀 in space",
    # Symbols
    "— – … “ ” ‘ ’ « »", "€ £ ¥ ₿", "∑ ∫ √ ∞ ≈ ≠ ≤ ≥", "→ ⇒ ↔", "x ∈ ℝ", "°C µm ½", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢",
    "\ue000 private", "\U0010ffff", "\ufffd", "\u0378",
    # Control characters
    "\x00", "a\x00b", "\x01\x02\x03", "\x1b[31mred\x1b[0m", "\x7f", "bell\x07", "back\bspace",
    # Bytes that the vocabulary has no token for (llama.cpp leaves them out), among others
    "\x04", "a\x06b", "\x13\x14\x15\x16", " \x1d ", "x\U00040000y", "\U000e0001", "\U000f0000",
    # Text of special tokens is plain text here
    "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|im_start|>user\nHi<|im_end|>\n", "<|im_start",
    "a<|endoftext|>b",
    "<repo_name>", "<reponame>", "<file_sep>", "<filename>", "<gh_stars>", "<issue_start>", "<jupyter_code>",
    "<empty_output>", "<s></s>[INST]",
    # Long words and runs
    "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft",
    "pneumonoultramicroscopicsilicovolcanoconiosis", "a" * 100, "ab" * 60, "abcdefghijklmnopqrstuvwxyz" * 5,
    "A" * 33, "=" * 80, "-" * 79,
    "9" * 40, "ha" * 25 + "!", "é" * 30, "好" * 20,
]
# fmt: on


def dequantise(source: Path, target: Path) -> None:
    """Writes `target`: the tensors of `source` in their order, every one as F32, under the same metadata.

    Only general.file_type changes (to "all F32"). Tied embeddings stay tied: no tensor is added.
    """
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, reader.get_field("general.architecture").contents())
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue  # the header, and what the writer has written already
        value = gguf.LlamaFileType.ALL_F32.value if field.name == "general.file_type" else field.contents()
        writer.add_key_value(
            field.name, value, field.types[0], field.types[-1] if len(field.types) > 1 else None
        )
    for tensor in reader.tensors:
        weights = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        writer.add_tensor(tensor.name, np.ascontiguousarray(weights, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class Model:
    """A model file opened by llama.cpp on the CPU; `vocab_only` leaves the weights out."""

    def __init__(self, path: Path, vocab_only: bool = False):
        params = llama_cpp.llama_model_default_params()
        params.n_gpu_layers = 0
        params.vocab_only = vocab_only
        params.use_extra_bufts = False  # weights stay in the file's layout
        self._model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
        if not self._model:
            raise SystemExit(f"oracle: llama.cpp cannot load {path}")
        self._vocab = llama_cpp.llama_model_get_vocab(self._model)
        self.n_vocab = llama_cpp.llama_vocab_n_tokens(self._vocab)
        self.n_layers = llama_cpp.llama_model_n_layer(self._model)
        self.add_bos = bool(llama_cpp.llama_vocab_get_add_bos(self._vocab))
        self.eos_token = llama_cpp.llama_vocab_eos(self._vocab)

    def close(self) -> None:
        llama_cpp.llama_model_free(self._model)

    def tokens(self, text: str, add_special: bool) -> list[int]:
        """The tokens of `text`; special tokens written in it are plain text."""
        raw = text.encode()
        buffer = (llama_cpp.llama_token * (len(raw) + 8))()
        count = llama_cpp.llama_tokenize(self._vocab, raw, len(raw), buffer, len(buffer), add_special, False)
        if count < 0:
            raise SystemExit(
                f"oracle: {-count} tokens from {len(raw)} bytes of {text!r}, expected at most {len(buffer)}"
            )
        return list(buffer[:count])

    def text(self, tokens: list[int]) -> str:
        """The text of `tokens`, special ones spelled out; bytes that are not UTF-8 become U+FFFD."""
        ids = (llama_cpp.llama_token * max(1, len(tokens)))(*tokens)
        buffer = ctypes.create_string_buffer(64 * len(tokens) + 64)
        size = llama_cpp.llama_detokenize(self._vocab, ids, len(tokens), buffer, len(buffer), False, True)
        if size < 0:
            raise SystemExit(
                f"oracle: {len(tokens)} tokens make {-size} bytes, expected at most {len(buffer)}"
            )
        return buffer.raw[:size].decode(errors="replace")


class Ggml:
    """What the callback below asks of a tensor of llama.cpp's, by the functions that its library exports."""

    def __init__(self):
        folder = Path(llama_cpp.__file__).parent / "lib"
        self._library = ctypes.CDLL(str(next(folder.glob("libggml-base.so*"))))
        for name, result in [
            ("ggml_get_name", ctypes.c_char_p),
            ("ggml_op_desc", ctypes.c_char_p),
            ("ggml_get_data_f32", ctypes.POINTER(ctypes.c_float)),
            ("ggml_nelements", ctypes.c_int64),
            ("ggml_is_contiguous", ctypes.c_bool),
        ]:
            function = getattr(self._library, name)
            function.argtypes, function.restype = [ctypes.c_void_p], result
            setattr(self, name.removeprefix("ggml_"), function)

    def goes_into_the_cache(self, tensor: int) -> bool:
        """K after rope, and V."""
        name = self.get_name(tensor)
        return name.startswith(b"Vcur-") or (name.startswith(b"Kcur-") and self.op_desc(tensor) == b"ROPE")

    def round_to_half(self, tensor: int) -> None:
        if not self.is_contiguous(tensor):
            raise ValueError(f"{self.get_name(tensor)} does not lie in one piece")
        values = np.ctypeslib.as_array(self.get_data_f32(tensor), shape=(self.nelements(tensor),))
        values[:] = values.astype(np.float16).astype(np.float32)


class Context:
    """One sequence over a `Model`, all of it in float32.

    `rounds_kv`: K and V are rounded to binary16 on their way into the cache, as this engine rounds them. (Were
    the cache F16 instead, llama.cpp's CPU attention would round the queries and the probabilities too.)
    """

    def __init__(self, model: Model, rounds_kv: bool, n_threads: int = 1):
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = 512
        params.n_batch = params.n_ubatch = N_BATCH
        params.n_threads = params.n_threads_batch = n_threads
        params.type_k = params.type_v = llama_cpp.GGML_TYPE_F32
        params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self._n_fed = 0
        self._n_rounded = 0
        self._fault = None
        ggml = Ggml()

        def evaluated(tensor, asks, _):
            if asks:
                return ggml.goes_into_the_cache(tensor)
            try:
                ggml.round_to_half(tensor)
                self._n_rounded += 1
            except Exception as error:  # ctypes would print it and go on
                self._fault = error
            return self._fault is None

        self._evaluated = llama_cpp.ggml_backend_sched_eval_callback(evaluated)  # kept alive
        if rounds_kv:
            params.cb_eval = self._evaluated
        self._least_rounded = 2 * model.n_layers if rounds_kv else 0
        self._model = model
        self._context = llama_cpp.llama_init_from_model(model._model, params)
        if not self._context:
            raise SystemExit("oracle: llama.cpp cannot make a context")

    def close(self) -> None:
        llama_cpp.llama_free(self._context)

    def feed(self, tokens: list[int]) -> np.ndarray:
        """Appends `tokens` in batches of N_BATCH; returns the logits after each, (len(tokens), n_vocab) float32."""
        rows = []
        for start in range(0, len(tokens), N_BATCH):
            part = tokens[start : start + N_BATCH]
            batch = llama_cpp.llama_batch_init(len(part), 0, 1)
            batch.n_tokens = len(part)
            for i, token in enumerate(part):
                batch.token[i], batch.pos[i] = token, self._n_fed + i
                batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = 1, 0, 1
            self._n_rounded = 0
            status = llama_cpp.llama_decode(self._context, batch)
            llama_cpp.llama_batch_free(batch)
            if status != 0 or self._fault:
                raise SystemExit(f"oracle: llama_decode gave {status}; {self._fault}")
            if self._n_rounded < self._least_rounded:
                raise SystemExit(
                    f"oracle: {self._n_rounded} tensors were rounded, expected K and V of every layer: "
                    f"{self._least_rounded}"
                )
            self._n_fed += len(part)
            for i in range(len(part)):
                logits = llama_cpp.llama_get_logits_ith(self._context, i)
                rows.append(np.ctypeslib.as_array(logits, shape=(self._model.n_vocab,)).copy())
        return np.array(rows)


def step(position: int, logits: np.ndarray) -> dict:
    """What is kept of the logits at a position: the N_TOP largest, falling (equal ones by rising id)."""
    ids = np.argsort(-logits, kind="stable")[:N_TOP]
    wide = logits.astype(np.float64)
    largest = wide.max()
    log_sum_exp = largest + np.log(np.sum(np.exp(wide - largest)))
    return {
        "position": position,
        "ids": ids.tolist(),
        "logits": [nine_digits(logits[i]) for i in ids],
        "log_sum_exp": nine_digits(log_sum_exp),
    }


def nine_digits(value: float) -> float:
    """`value` at 9 significant digits, which give a float32 back exactly."""
    return float(f"{float(value):.9g}")


def decode_greedily(model: Model, text: str, rounds_kv: bool) -> dict:
    """Feeds the prompt, then its greedy continuation a token at a time, the last generated one included."""
    context = Context(model, rounds_kv)
    prompt = model.tokens(text, add_special=True)
    generated: list[int] = []
    steps = [step(position, logits) for position, logits in enumerate(context.feed(prompt))]
    n_generated = min(N_GENERATED, N_STEPS - len(prompt))
    while len(generated) < n_generated and model.eos_token not in generated:
        generated.append(steps[-1]["ids"][0])
        steps.append(step(len(steps), context.feed(generated[-1:])[0]))
    context.close()
    return {
        "text": text,
        "prompt_tokens": prompt,
        "tokens": generated,
        "text_out": model.text(generated),
        "steps": steps,
    }


def write_json(path: Path, head: dict, list_name: str, rows: list[str]) -> None:
    """Writes {head..., list_name: [one row a line]} in one piece or not at all."""
    lines = [f"{json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
    body = "{\n" + "\n".join(lines) + f'\n"{list_name}": [\n' + ",\n".join(rows) + "\n]\n}\n"
    json.loads(body)
    unfinished = path.with_name(path.name + ".tmp")
    unfinished.write_text(body, encoding="ascii")
    os.replace(unfinished, path)


def prompt_row(prompt: dict) -> str:
    """A prompt as JSON, one step a line, so that a changed step is one line of a diff."""
    head = {key: value for key, value in prompt.items() if key != "steps"}
    steps = ",\n".join(json.dumps(kept, separators=(",", ":")) for kept in prompt["steps"])
    return json.dumps(head)[:-1] + ', "steps": [\n' + steps + "\n]}"


def check_pins() -> None:
    for package, version in PINNED.items():
        found = importlib.metadata.version(package)
        if found != version:
            raise SystemExit(
                f"oracle: {package} is {found}, expected {version} (how to install: the script's head)"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes the llama.cpp oracle's test data.")
    parser.add_argument("--model", type=Path, required=True, help="GGUF file")
    parser.add_argument("--out", type=Path, required=True, help="folder for the JSON files")
    args = parser.parse_args()
    check_pins()
    if not args.model.is_file():
        raise SystemExit(f"oracle: no model file {args.model}")

    quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)  # kept alive until the end
    llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()

    made_by = (
        f"llama.cpp {LLAMA_CPP_COMMIT} ({llama_cpp.llama_version().decode()}) through llama-cpp-python "
        f"{PINNED['llama-cpp-python']}"
    )
    head = {"model_sha256": hashlib.sha256(args.model.read_bytes()).hexdigest(), "made_by": made_by}

    with tempfile.TemporaryDirectory() as folder:
        f32_file = Path(folder) / "f32.gguf"
        dequantise(args.model, f32_file)
        args.out.mkdir(parents=True, exist_ok=True)
        model = Model(f32_file)
        for name, rounds_kv, texts in [
            ("smollm2_oracle.json", True, PROMPTS),
            ("smollm2_oracle_unrounded.json", False, PROMPTS[:1]),
        ]:
            prompts = []
            for text in texts:
                prompts.append(decode_greedily(model, text, rounds_kv))
                print(f"{text!r} -> {prompts[-1]['text_out']!r}", file=sys.stderr)
            facts = {
                "made_by": made_by + ", weights dequantised to F32",
                "add_bos": model.add_bos,
                "eos_token": model.eos_token,
                "kv_rounded_to": "binary16" if rounds_kv else None,
            }
            write_json(args.out / name, head | facts, "prompts", [prompt_row(p) for p in prompts])
        model.close()

    vocabulary = Model(args.model, vocab_only=True)
    rows = [
        json.dumps({"text": text, "tokens": vocabulary.tokens(text, add_special=False)}) for text in TEXTS
    ]
    vocabulary.close()
    write_json(
        args.out / "smollm2_tokens.json", head | {"add_special": False, "parse_special": False}, "texts", rows
    )


if __name__ == "__main__":
    main()
