"""One process of a pipeline in Python of `quern-bench pipeline`: the same Parquet files in, ids out.

    python pipeline_peers.py --versions       prints {"gigatoken": "0.10.0" or null if it is not installed, ...}
    python pipeline_peers.py TASK.json        does the task (PipelineTask.java) and writes its result

The passes are timed in the process: starting Python, imports and loading the tokenizer are not in them. What a pass
writes is kept until the next one begins, the last one's for the check.
"""
import glob
import os
import shutil
import time

from peers import memory, serve, version

PACKAGES = ("gigatoken", "datatrove", "datasets")


class Gigatoken:
    """What one would write by hand: a file at a time, a batch call over its texts, pyarrow's writer.

    The texts stay in Arrow's buffers and the ids in gigatoken's: no Python object is made for a document.
    """

    def __init__(self, task):
        import awkward
        import gigatoken
        import numpy
        import pyarrow
        import pyarrow.parquet

        self.awkward, self.numpy, self.arrow, self.parquet = awkward, numpy, pyarrow, pyarrow.parquet
        pyarrow.set_cpu_count(task["threads"])
        self.task = task
        self.tokenizer = gigatoken.Tokenizer(task["json"])
        self.source = gigatoken.ParquetFileSource

    def run(self, output):
        os.makedirs(output)
        tokens = 0
        for file in sorted(glob.glob(os.path.join(self.task["input"], "*.parquet"))):
            ids = self.parquet.read_table(file, columns=["id"])["id"]
            rows = self.tokenizer.encode_files(self.source([file], column="text"), parallel=self.task["threads"] > 1)
            rows = self.awkward.to_packed(rows).layout
            values = self.arrow.array(self.numpy.asarray(rows.content.data).view("<i4"))
            offsets = self.arrow.array(self.numpy.asarray(rows.offsets.data).astype("<i4"))
            table = self.arrow.table({"id": ids, "input_ids": self.arrow.ListArray.from_arrays(offsets, values)})
            self.parquet.write_table(table, os.path.join(output, os.path.basename(file)), compression="snappy")
            tokens += len(values)
        return tokens


class Datatrove:
    """Its own reader and tokenizer step, a local executor with a process for each thread; writes token files of its own."""

    def __init__(self, task):
        # From a terminal it would draw, and log every file.
        os.environ.setdefault("DATATROVE_COLORIZE_LOGS", "0")
        from datatrove.executor import LocalPipelineExecutor
        from datatrove.pipeline.readers import ParquetReader
        from datatrove.pipeline.tokens import DocumentTokenizer

        self.executor, self.reader, self.step, self.task = LocalPipelineExecutor, ParquetReader, DocumentTokenizer, task

    def run(self, output):
        files = len(glob.glob(os.path.join(self.task["input"], "*.parquet")))
        self.executor(
            pipeline=[
                self.reader(self.task["input"], text_key="text", id_key="id", glob_pattern="*.parquet"),
                self.step(
                    output_folder=output,
                    tokenizer_name_or_path=self.task["json"],
                    eos_token=None,
                    shuffle_documents=False,
                    local_working_dir=None,
                ),
            ],
            tasks=files,
            workers=self.task["threads"],
            logging_dir=os.path.join(output, "logs"),
        ).run()
        # Ids of 2 or 4 bytes, as the vocabulary asks for; the metadata says how many there are.
        tokens = 0
        for metadata in glob.glob(os.path.join(output, "**", "*.metadata"), recursive=True):
            with open(metadata) as file:
                tokens += int(file.read().split("\n")[1])
        return tokens


class Datasets:
    """map over batches with Hugging Face's tokenizer, a process for each thread, then to_parquet."""

    def __init__(self, task):
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        import datasets
        import tokenizers

        self.datasets, self.task = datasets, task
        datasets.disable_progress_bars()
        self.tokenizer = tokenizers.Tokenizer.from_file(task["json"])
        self.tokenizer.encode_special_tokens = True

    def run(self, output):
        os.makedirs(output)
        tokenizer = self.tokenizer

        def encode(batch):
            encoded = tokenizer.encode_batch_fast(batch["text"], add_special_tokens=False)
            return {"input_ids": [encoding.ids for encoding in encoded]}

        files = sorted(glob.glob(os.path.join(self.task["input"], "*.parquet")))
        cache = os.path.join(output, "cache")
        read = self.datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=cache)
        made = read.map(encode, batched=True, num_proc=self.task["threads"], remove_columns=["text"], load_from_cache_file=False)
        made.to_parquet(os.path.join(output, "tokens.parquet"))
        tokens = sum(len(ids) for batch in made.iter(10_000) for ids in batch["input_ids"]) if self.task["passes"] == 1 else None
        shutil.rmtree(cache, ignore_errors=True)
        return tokens


def main(task):
    os.environ["RAYON_NUM_THREADS"] = str(task["threads"])
    name = task["pipeline"]
    peer = {"gigatoken": Gigatoken, "datatrove": Datatrove, "datasets": Datasets}[name](task)
    seconds, before, tokens = [], None, None
    for number in range(task["passes"]):
        if before:
            shutil.rmtree(before)
        before = os.path.join(task["output"], f"pass-{number}")
        begin = time.perf_counter()
        tokens = peer.run(before)
        seconds.append(time.perf_counter() - begin)
    return {
        "tool": name,
        "tool_version": version(name),
        "seconds": seconds,
        "tokens": tokens,
        "output": before,
        "vm_hwm_mib": memory("VmHWM"),
        "vm_peak_mib": memory("VmPeak"),
    }


if __name__ == "__main__":
    serve(PACKAGES, main)
