"""One process of a Python peer of `quern-bench kernel`: gigatoken, snaptokens, tiktoken or Hugging Face's tokenizers.

    python peers.py --versions       prints {"gigatoken": "0.10.0" or null if it is not installed, ...}
    python peers.py TASK.json        does the task (KernelTask.java) and writes its result

Order and meaning of what is measured are those of KernelRun.java: load, the first pass piece by piece, the same text
again. Each peer gets the batch call that its documentation recommends for speed, over documents in the form it likes
best, and keeps its ids in the form that call returns; making plain ids of them for the hash is not timed.
"""
import gc
import hashlib
import importlib.metadata
import json
import os
import sys
import time

PACKAGES = ("gigatoken", "snaptokens", "tiktoken", "tokenizers")


def version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def memory(line):
    """-> that line of /proc/self/status in MiB, None where there is no /proc"""
    try:
        with open("/proc/self/status") as status:
            return round(int(status.read().split(line + ":")[1].split()[0]) / 1024, 1)
    except OSError:
        return None


def reset_high_water():
    """VmHWM from now on, not of reading the documents."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass  # the high water then includes the reading


def documents(path):
    """-> the documents of a flat file (Documents.java) as bytes"""
    found = []
    with open(path, "rb") as file:
        while head := file.read(4):
            found.append(file.read(int.from_bytes(head, "little")))
    return found


class Gigatoken:
    """Bytes in, an awkward array out."""

    def __init__(self, task):
        import awkward  # or the first encode would import it
        import gigatoken

        self.awkward, self.gigatoken, self.task = awkward, gigatoken, task

    def load(self):
        self.tokenizer = self.gigatoken.Tokenizer(self.task["json"])

    def encode(self, batch):
        return self.tokenizer.encode_batch(batch, parallel=self.task["threads"] > 1)

    def flat(self, result):
        return self.awkward.flatten(result).to_numpy(), self.awkward.num(result, axis=1).to_numpy()


class Snaptokens:
    """Strings in; ids and offsets out, as two byte strings."""

    def __init__(self, task):
        import snaptokens

        self.snaptokens, self.task = snaptokens, task

    def load(self):
        self.tokenizer = self.snaptokens.Tokenizer.from_file(self.task["json"])

    def encode(self, batch):
        return self.tokenizer.encode_batch_flat(batch)

    def flat(self, result):
        return numpy.frombuffer(result[0], "<u4"), numpy.diff(numpy.frombuffer(result[1], "<u8"))


class Tokenizers:
    """Hugging Face: strings in, Encoding objects out; their ids stay in Rust until asked for."""

    def __init__(self, task):
        import tokenizers

        self.tokenizers, self.task = tokenizers, task

    def load(self):
        self.tokenizer = self.tokenizers.Tokenizer.from_file(self.task["json"])
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        # Quern's default for a corpus: text that looks like a special token is text.
        self.tokenizer.encode_special_tokens = True

    def encode(self, batch):
        return self.tokenizer.encode_batch_fast(batch, add_special_tokens=False)

    def flat(self, result):
        return flat_rows([encoding.ids for encoding in result])


class Tiktoken:
    """Strings in, lists of integers out."""

    def __init__(self, task):
        import tiktoken
        import tiktoken.load
        import tiktoken_ext.openai_public

        self.tiktoken, self.task = tiktoken, task

    def load(self):
        read = lambda *_, **__: self.tiktoken.load.load_tiktoken_bpe(self.task["ranks"])
        public = sys.modules["tiktoken_ext.openai_public"]
        name = {"gpt2": "r50k_base"}.get(self.task["tokenizer"], self.task["tokenizer"])
        if hasattr(public, name):
            # Its own definition, whose pattern is faster than an older text of it; only not from the network.
            public.load_tiktoken_bpe = read
            definition = getattr(public, name)()
        else:
            definition = dict(name=name, pat_str=self.task["pattern"], mergeable_ranks=read(), special_tokens={})
        self.encoding = self.tiktoken.Encoding(**definition)

    def encode(self, batch):
        return self.encoding.encode_ordinary_batch(batch, num_threads=self.task["threads"])

    def flat(self, result):
        return flat_rows(result)


def flat_rows(rows):
    """-> ids of all rows, and how many each has"""
    counts = numpy.array([len(row) for row in rows], "<u8")
    ids = numpy.concatenate([numpy.asarray(row, "<u4") for row in rows] or [numpy.empty(0, "<u4")])
    return ids, counts


def ids_of(peer, results, path=None):
    """-> SHA-256 of the flat file of the ids, and how many; writes the file if there is a path for it"""
    digest, tokens = hashlib.sha256(), 0
    with open(path or os.devnull, "wb") as file:
        for result in results:
            ids, counts = peer.flat(result)
            # For each document how many ids, then the ids: the counts stand where a document begins.
            heads = numpy.cumsum(counts) - counts + numpy.arange(len(counts), dtype=counts.dtype)
            flat = numpy.empty(len(ids) + len(counts), "<u4")
            body = numpy.ones(len(flat), bool)
            body[heads.astype("<i8")] = False
            flat[~body] = counts
            flat[body] = ids
            digest.update(flat.tobytes())
            file.write(flat.tobytes())
            tokens += len(ids)
    return digest.hexdigest(), tokens


def main(task):
    # The peers read these when they first use their thread pools.
    os.environ["RAYON_NUM_THREADS"] = str(task["threads"])
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if task["threads"] > 1 else "false"
    clock = time.process_time if task["clock"] == "cpu" else time.perf_counter
    peer = {"gigatoken": Gigatoken, "snaptokens": Snaptokens, "tokenizers": Tokenizers, "tiktoken": Tiktoken}[task["tool"]](task)
    texts = documents(task["corpus"])
    sizes = [len(text) for text in texts]
    if task["tool"] != "gigatoken":
        texts = [text.decode() for text in texts]
    begins = task["pieces"]
    ends = begins[1:] + [len(texts)]
    pieces = [texts[begin:end] for begin, end in zip(begins, ends)]
    gc.collect()
    reset_high_water()
    rss_start = memory("VmRSS")
    begin = clock()
    peer.load()
    load_s = clock() - begin
    gc.collect()
    result = {
        "tool": task["tool"],
        "tool_version": version(task["tool"]),
        "engine": task["tool"],
        "load_s": load_s,
        "rss_start_mib": rss_start,
        "rss_load_mib": memory("VmRSS"),
    }
    results, seconds = [], []
    for piece in pieces:
        begin = clock()
        results.append(peer.encode(piece))
        seconds.append(clock() - begin)
    result |= {"rss_pass_mib": memory("VmRSS"), "vm_hwm_mib": memory("VmHWM")}
    ids_hash, tokens = ids_of(peer, results, task["ids"])
    del results
    result |= {"tokens": tokens, "ids_hash": ids_hash}
    if not task["timed"]:
        return result

    speed = lambda size, seconds: size / 1e6 / seconds / task["threads"]
    result |= {
        "cold_mb_s": speed(sum(sizes), sum(seconds)),
        "steady_mb_s": speed(sum(sizes[begins[-1] :]), seconds[-1]),
        "first_pass_mb_s": [
            round(speed(sum(sizes[begin:end]), time), 2) for begin, end, time in zip(begins, ends, seconds)
        ],
    }
    warm, rss_after, last = [], {}, None
    while len(warm) < task["passes"] if task["passes"] else (len(warm) < 3 or sum(warm) < 1) and sum(warm) < 10:
        del last
        begin = clock()
        last = peer.encode(texts)
        warm.append(clock() - begin)
        if len(warm) in (10, 100, 1000, 10000, task["passes"]):
            rss_after[str(len(warm))] = memory("VmRSS")
    if ids_of(peer, [last])[0] != ids_hash:
        raise ValueError(f"pass {len(warm) + 1} over the same text gave other ids than the first")
    warm.sort()
    middle = (warm[len(warm) // 2] + warm[(len(warm) - 1) // 2]) / 2
    result |= {
        "warm_mb_s": speed(sum(sizes), warm[0]),
        "warm_median_mb_s": speed(sum(sizes), middle),
        "warm_passes": len(warm),
    }
    result["vm_peak_mib"] = memory("VmPeak")
    if task["passes"]:
        result["rss_after_mib"] = rss_after
    return result


def serve(packages, work):
    """The program: prints which packages there are, or does the task whose file is named; its errors are results."""
    if sys.argv[1] == "--versions":
        print(json.dumps({package: version(package) for package in packages}))
        return
    with open(sys.argv[1]) as file:
        task = json.load(file)
    try:
        result = work(task)
    except Exception as error:
        result = {"error": f"{type(error).__name__}: {error}"}
    with open(task["result"], "w") as file:
        json.dump(result, file)


if __name__ == "__main__":
    if sys.argv[1] != "--versions":
        import numpy
    serve(PACKAGES, main)
