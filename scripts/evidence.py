"""Which outputs of two records are comparable, and what excuses bits that differ: the rule of results/README.md, as bench/evidence.cpp
has it for the programs' --against."""
import hashlib
import json
from typing import NamedTuple


class Origin(NamedTuple):
    """What the bits of an output may depend on."""
    source_hash: str
    arch: str
    compiler: str
    launch: str | None


def origin(run, record):
    header, arch, launch = run.header, record["image"]["arch"], record.get("launch")
    if run.kind == "simt":
        compiler = json.dumps(header["compiler"], sort_keys=True)
    else:  # PTX is compiled by the driver too
        compiler = header["images"]["toolkit"] + (" " + header["device"]["driver"] if arch.startswith("compute_") else "")
    return Origin(record["source_hash"], arch, compiler, launch and json.dumps(launch, sort_keys=True))


def outputs(record):
    """[(key, hash)]: outputs of one key are comparable. A parity record has one at most, a decode record one a step."""
    if record["kind"] == "parity" and record["passed"] and record["bit_exact"] and record["output_hash"]:
        return [(record["line"], record["output_hash"])]
    found = []
    if record["kind"] == "decode":
        # A step's logits follow from the model and all tokens fed so far, whatever prompt they were of.
        model, fed = record["model"]["xxh3"], hashlib.blake2b(digest_size=8)
        for step, (token, output) in enumerate(zip(record["prompt_tokens"] + record["tokens"], record["logits_hash"])):
            fed.update(token.to_bytes(4, "little"))
            found.append((f"logits of model {model}, step {step}, tokens {fed.hexdigest()}", output))
    return found


def excused(a, b):
    """Whether outputs of two origins may differ: the kernels' source, the launch, or within one arch the compiler is another."""
    return (a.source_hash != b.source_hash or (None not in (a.launch, b.launch) and a.launch != b.launch) or
            (a.arch == b.arch and a.compiler != b.compiler))


def compare(found, known):
    """'equal', 'stale' or 'different': two sets of (origin, hash) of one key."""
    if any(mine != other and not excused(a, b) for a, mine in found for b, other in known):
        return "different"
    return "equal" if {output for _, output in found} <= {output for _, output in known} else "stale"
