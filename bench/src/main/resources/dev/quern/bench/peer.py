"""One process of a Python contender of `quern-bench kernel`: Hugging Face's tokenizers or tiktoken.

    python peer.py --versions        prints {"tokenizers": "0.23.3" or null, "tiktoken": ...}
    python peer.py TASK.json         does the task (KernelTask.java) and writes its result

Needs nothing but the contender itself. Order and meaning of what is measured are those of KernelRun.java:
load, first pass (cold; its tail is steady), the same text again (warm), then the ids, untimed.
"""
import array
import gc
import hashlib
import importlib.metadata
import json
import os
import struct
import sys
import time

# Documents a call: enough to keep every thread busy; all at once would show as memory that users need not pay.
BATCH = 1000


def version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def memory(*lines):
    try:
        with open("/proc/self/status") as status:
            found = dict(line.split(":", 1) for line in status)
        return [round(int(found[line].split()[0]) / 1024, 1) for line in lines]
    except OSError:
        return [None] * len(lines)


def documents(path):
    """-> texts, and their sizes in bytes"""
    texts, sizes = [], []
    with open(path, "rb") as file:
        while head := file.read(4):
            size = struct.unpack("<i", head)[0]
            texts.append(file.read(size).decode())
            sizes.append(size)
    return texts, sizes


def load(task):
    """-> a call from a list of texts to a list of lists of ids, made late: only `rows` turns them into lists"""
    if task["tool"] == "tokenizers":
        import tokenizers

        tokenizer = tokenizers.Tokenizer.from_file(task["tokenizer"])
        tokenizer.no_padding()
        tokenizer.no_truncation()
        # Quern's default for a corpus: text that looks like a special token is text.
        tokenizer.encode_special_tokens = True
        encode = lambda texts: tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return encode, lambda encodings: [encoding.ids for encoding in encodings], len
    import base64

    import tiktoken

    with open(task["ranks"], "rb") as file:
        ranks = {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in file if line.strip())}
    encoding = tiktoken.Encoding(task["tokenizer"], pat_str=task["pattern"], mergeable_ranks=ranks, special_tokens={})
    return lambda texts: encoding.encode_ordinary_batch(texts, num_threads=task["threads"]), lambda rows: rows, len


def main(task):
    os.environ["RAYON_NUM_THREADS"] = str(task["threads"])
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if task["threads"] > 1 else "false"
    texts, sizes = documents(task["corpus"])
    gc.collect()
    (rss_start,) = memory("VmRSS")
    begin = time.perf_counter()
    encode, rows, length = load(task)
    load_s = time.perf_counter() - begin
    (rss_load,) = memory("VmRSS")
    result = {
        "tool": task["tool"],
        "tool_version": version(task["tool"]),
        "engine": task["tool"],
        "load_s": load_s,
    }

    def timed_pass(first, last):
        """-> seconds, tokens; lengths are asked for after the clock has stopped"""
        seconds = tokens = 0
        for at in range(first, last, BATCH):
            batch = texts[at : min(last, at + BATCH)]
            begin = time.perf_counter()
            encoded = encode(batch)
            seconds += time.perf_counter() - begin
            tokens += sum(length(row) for row in encoded)
        return seconds, tokens

    if task["timed"]:
        tail, tail_bytes = len(texts), 0
        while tail > 0 and tail_bytes < task["tail_bytes"]:
            tail -= 1
            tail_bytes += sizes[tail]
        head_s, head_tokens = timed_pass(0, tail)
        tail_s, tail_tokens = timed_pass(tail, len(texts))
        speed = lambda size, seconds: size / 1e6 / seconds / task["threads"]
        warm = []
        for _ in range(task["warm_passes"]):
            seconds, tokens = timed_pass(0, len(texts))
            warm.append(speed(sum(sizes), seconds))
        rss_end, hwm, peak = memory("VmRSS", "VmHWM", "VmPeak")
        result |= {
            "tokens": head_tokens + tail_tokens,
            "cold_mb_s": speed(sum(sizes), head_s + tail_s),
            "steady_mb_s": speed(tail_bytes, tail_s),
            "steady_bytes": tail_bytes,
            "warm_mb_s": warm,
            "rss_start_mib": rss_start,
            "rss_load_mib": rss_load,
            "rss_end_mib": rss_end,
            "vm_hwm_mib": hwm,
            "vm_peak_mib": peak,
        }

    digest, tokens = hashlib.sha256(), 0
    ids = open(task["ids"] or os.devnull, "wb")
    for at in range(0, len(texts), BATCH):
        for row in rows(encode(texts[at : at + BATCH])):
            # Little endian whatever the machine: the files of all contenders are compared byte by byte.
            words = array.array("I", [len(row), *row])
            if sys.byteorder == "big":
                words.byteswap()
            digest.update(words.tobytes())
            ids.write(words.tobytes())
            tokens += len(row)
    ids.close()
    if result.setdefault("tokens", tokens) != tokens:
        result = {"error": f"a timed pass gave {result['tokens']} tokens, the checked one {tokens}"}
    result["ids_hash"] = digest.hexdigest()
    return result


if __name__ == "__main__":
    if sys.argv[1] == "--versions":
        print(json.dumps({package: version(package) for package in ("tokenizers", "tiktoken")}))
    else:
        with open(sys.argv[1]) as file:
            task = json.load(file)
        try:
            result = main(task)
        except Exception as error:
            result = {"error": f"{type(error).__name__}: {error}"}
        with open(task["result"], "w") as file:
            json.dump(result, file)
