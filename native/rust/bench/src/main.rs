//! One process of the allocator experiment, in a native binary: the twin of `KernelRun` in the folder bench, which does
//! the same inside a JVM. `quern-bench allocator` starts both.
//!
//! usage: quern-allocator-bench TASK.json (fields: [`Task`]; the answer goes to the file that it names)
//!
//! It opts in to the same gate as the library that ships: which allocator serves it was decided when it was built.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::error::Error;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::Instant;

use quern_engine::{Encode, EngineChoice, Format, Options, Tokenizer};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Several parts for each thread, so that none waits long for the last of another.
const PARTS_A_THREAD: usize = 8;

/// What to do: the fields of the record `KernelTask` in bench/ that matter here.
#[derive(Deserialize)]
struct Task {
    /// `reference`, `fast`: Quern's engines, ids into memory of the caller. `crate`: `encode_batch` of Hugging Face's crate
    /// on its own thread pool (RAYON_NUM_THREADS), with its caches, every encoding kept until the next call.
    engine: String,
    /// A tokenizer.json.
    tokenizer: String,
    /// Flat file: for every document its length (4 bytes, little endian) and its UTF-8.
    corpus: String,
    /// That encode at the same time.
    threads: usize,
    /// Over all documents, after the first.
    passes: usize,
    /// False: only the first pass, for its ids.
    timed: bool,
    add_special_tokens: bool,
    /// Not of `crate`: the thread that made a batch gives freed memory back behind it.
    collect: bool,
    /// Not of `crate`: threads, `threads` at a time, that each encode a part of the documents and end.
    short_threads: usize,
    /// Where `perf record --control` listens: sampling is on during the passes after the first.
    control: Option<String>,
    /// The answer, as JSON.
    result: String,
}

/// Speeds are MB/s a thread, null if there was only the first pass; memory is MiB (VmRSS, VmHWM, VmPeak of
/// /proc/self/status; null where there is none).
#[derive(Serialize)]
struct Answer {
    allocator: &'static str,
    tokens: usize,
    ids_hash: String,
    cold_mb_s: f64,
    warm_mb_s: Option<f64>,
    warm_median_mb_s: Option<f64>,
    rss_start_mib: Option<f64>,
    rss_load_mib: Option<f64>,
    rss_after_mib: BTreeMap<usize, f64>,
    rss_after_threads_mib: BTreeMap<usize, f64>,
    vm_hwm_end_mib: Option<f64>,
    vm_peak_mib: Option<f64>,
}

impl Task {
    fn warm_passes(&self) -> usize {
        if self.timed { self.passes } else { 0 }
    }
}

fn main() {
    let file = std::env::args().nth(1).unwrap_or_else(|| {
        eprintln!("usage: quern-allocator-bench TASK.json; `bench/bin/quern-bench allocator` writes one");
        std::process::exit(2);
    });
    let done = (|| -> Result<(), Box<dyn Error>> {
        let task: Task = serde_json::from_slice(&std::fs::read(&file)?)?;
        let answer = match run(&task) {
            Ok(answer) => serde_json::to_vec(&answer)?,
            Err(error) => serde_json::to_vec(&serde_json::json!({ "error": error.to_string() }))?,
        };
        Ok(std::fs::write(&task.result, answer)?)
    })();
    if let Err(error) = done {
        eprintln!("quern-allocator-bench: {file}: {error}");
        std::process::exit(1);
    }
}

fn run(task: &Task) -> Result<Answer, Box<dyn Error>> {
    if task.threads == 0 || task.passes == 0 {
        return Err("threads and passes are at least 1".into());
    }
    let corpus = Corpus::of(&std::fs::read(&task.corpus)?)?;
    // The high water of what follows, not of reading the documents, where the kernel lets us.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let rss_start = memory("VmRSS");
    let file = std::fs::read(&task.tokenizer)?;
    let answer = |rss_load, mut passes: Passes, ids_hash, tokens| {
        let speed = |seconds: f64| corpus.text.len() as f64 / 1e6 / seconds / task.threads as f64;
        passes.seconds.sort_by(f64::total_cmp);
        let (low, high) = (passes.seconds.len().saturating_sub(1) / 2, passes.seconds.len() / 2);
        let second = |nth: usize| passes.seconds.get(nth).copied();
        Answer {
            allocator: quern_allocator::name_of(quern_engine::fresh_block().as_ptr()),
            tokens,
            ids_hash,
            cold_mb_s: speed(passes.first),
            warm_mb_s: second(0).map(speed),
            warm_median_mb_s: second(low).zip(second(high)).map(|(low, high)| speed((low + high) / 2.0)),
            rss_start_mib: rss_start,
            rss_load_mib: rss_load,
            rss_after_mib: passes.rss_after,
            rss_after_threads_mib: passes.rss_after_threads,
            vm_hwm_end_mib: memory("VmHWM"),
            vm_peak_mib: memory("VmPeak"),
        }
    };
    if task.engine == "crate" {
        let mut tokenizer = tokenizers::Tokenizer::from_bytes(&file).map_err(|error| error.to_string())?;
        drop(file);
        // As Quern has it: text that looks like a special token is text.
        tokenizer.set_encode_special_tokens(true);
        let rss_load = memory("VmRSS");
        let texts: Vec<&str> = (0..corpus.count()).map(|document| corpus.text(document)).collect();
        let mut last = Vec::new();
        let mut failed = None;
        let passes = Passes::make(task, || {
            last.clear(); // the caller has done with them
            match tokenizer.encode_batch(texts.clone(), task.add_special_tokens) {
                Ok(encodings) => last = encodings,
                Err(error) => failed = Some(error.to_string()),
            }
        });
        if let Some(error) = failed {
            return Err(error.into());
        }
        let (hash, tokens) = hash(last.iter().map(|encoding| encoding.get_ids()));
        return Ok(answer(rss_load, passes, hash, tokens));
    }
    let mut options = Options::new(Format::HuggingFace);
    options.engine = if task.engine == "fast" { EngineChoice::Fast } else { EngineChoice::Reference };
    let tokenizer = Tokenizer::load(&file, &options)?;
    drop(file);
    let rss_load = memory("VmRSS");
    // As in the JVM: memory of the caller for all ids, touched only where there are any.
    let mut ids = vec![0_u32; corpus.text.len() + corpus.count()];
    let several = task.threads > 1 || task.short_threads > 0;
    let parts = corpus.parts(if several { task.threads * PARTS_A_THREAD } else { 1 }, &mut ids);
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(None);
    let encode = |part: &Mutex<Part<'_>>| {
        let mut part = part.lock().unwrap();
        let Part { documents, ids, id_offsets } = &mut *part;
        let offsets = &corpus.offsets[documents.start..=documents.end];
        let how = Encode { add_special_tokens: task.add_special_tokens, replace_invalid: false };
        match tokenizer.encode_batch(corpus.text.as_bytes(), offsets, how, ids, id_offsets) {
            Ok(count) => assert!(count <= ids.len(), "no tokenizer makes more ids than bytes"),
            Err((document, error)) => {
                *failed.lock().unwrap() = Some(format!("document {}: {error}", documents.start + document));
            }
        }
        if task.collect {
            quern_allocator::collect();
        }
    };
    let encode_next = || {
        while let Some(part) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
            encode(part);
        }
    };
    // Threads that stay, as those of an executor.
    let (begin, end) = (Barrier::new(task.threads), Barrier::new(task.threads));
    let mut passes = std::thread::scope(|scope| {
        for _ in 1..task.threads {
            scope.spawn(|| {
                for _ in 0..=task.warm_passes() {
                    begin.wait();
                    encode_next();
                    end.wait();
                }
            });
        }
        Passes::make(task, || {
            next.store(0, Ordering::Relaxed);
            begin.wait();
            encode_next();
            end.wait();
        })
    });
    passes.short_threads(task, |number| encode(&parts[number % parts.len()]));
    if let Some(error) = failed.into_inner().unwrap() {
        return Err(error.into());
    }
    let parts: Vec<Part<'_>> = parts.into_iter().map(|part| part.into_inner().unwrap()).collect();
    let documents = parts.iter().flat_map(|part| {
        part.id_offsets.windows(2).map(|pair| &part.ids[pair[0] as usize..pair[1] as usize])
    });
    let (hash, tokens) = hash(documents);
    Ok(answer(rss_load, passes, hash, tokens))
}

/// Times of passes, and memory after some of them.
#[derive(Default)]
struct Passes {
    first: f64,
    /// Of the others.
    seconds: Vec<f64>,
    /// After so many of the others.
    rss_after: BTreeMap<usize, f64>,
    /// After so many threads have ended.
    rss_after_threads: BTreeMap<usize, f64>,
}

impl Passes {
    fn make(task: &Task, mut pass: impl FnMut()) -> Passes {
        let mut timed = || {
            let begin = Instant::now();
            pass();
            begin.elapsed().as_secs_f64()
        };
        let mut passes = Passes { first: timed(), ..Default::default() };
        tell(task, "enable\n");
        for number in 1..=task.warm_passes() {
            passes.seconds.push(timed());
            if [10, 100, 1000, task.passes].contains(&number) {
                passes.rss_after.extend(memory("VmRSS").map(|mebibytes| (number, mebibytes)));
            }
        }
        tell(task, "disable\n");
        passes
    }

    /// Has the n-th of those threads do `work(n)`.
    fn short_threads(&mut self, task: &Task, work: impl Fn(usize) + Sync) {
        let mut ended = 0;
        while ended < task.short_threads {
            if ended % 100 < task.threads {
                self.rss_after_threads.extend(memory("VmRSS").map(|mebibytes| (ended, mebibytes)));
            }
            let together = task.threads.min(task.short_threads - ended);
            let work = &work;
            std::thread::scope(|scope| {
                (ended..ended + together).for_each(|number| drop(scope.spawn(move || work(number))));
            });
            ended += together;
        }
        if ended > 0 {
            self.rss_after_threads.extend(memory("VmRSS").map(|mebibytes| (ended, mebibytes)));
        }
    }
}

/// Tells perf; if that fails there are no samples, which who started both will see.
fn tell(task: &Task, command: &str) {
    if let Some(fifo) = &task.control {
        let _ = std::fs::write(fifo, command);
    }
}

struct Corpus {
    text: String,
    /// One more than documents.
    offsets: Vec<i64>,
}

/// Documents that are encoded in one call, and where their ids go.
struct Part<'a> {
    documents: Range<usize>,
    ids: &'a mut [u32],
    id_offsets: Vec<i64>,
}

impl Corpus {
    fn of(mut file: &[u8]) -> Result<Corpus, Box<dyn Error>> {
        let mut corpus = Corpus { text: String::with_capacity(file.len()), offsets: vec![0] };
        while !file.is_empty() {
            let cut = "the corpus ends in the middle of a document";
            let (length, rest) = file.split_first_chunk::<4>().ok_or(cut)?;
            let length = u32::from_le_bytes(*length) as usize;
            let text = rest.get(..length).ok_or(cut)?;
            corpus.text.push_str(std::str::from_utf8(text)?);
            corpus.offsets.push(corpus.text.len() as i64);
            file = &rest[length..];
        }
        Ok(corpus)
    }

    fn count(&self) -> usize {
        self.offsets.len() - 1
    }

    fn text(&self, document: usize) -> &str {
        &self.text[self.offsets[document] as usize..self.offsets[document + 1] as usize]
    }

    /// So many, of about equal bytes; room for ids as for bytes and documents.
    fn parts<'a>(&self, wanted: usize, mut ids: &'a mut [u32]) -> Vec<Mutex<Part<'a>>> {
        let mut parts = Vec::new();
        let mut begin = 0;
        for document in 1..=self.count() {
            let full = self.offsets[document] as usize * wanted >= (parts.len() + 1) * self.text.len();
            if document == self.count() || full {
                let documents = begin..document;
                let bytes = (self.offsets[document] - self.offsets[begin]) as usize;
                let (own, rest) = ids.split_at_mut(bytes + documents.len());
                let id_offsets = vec![0; documents.len() + 1];
                parts.push(Mutex::new(Part { documents, ids: own, id_offsets }));
                ids = rest;
                begin = document;
            }
        }
        parts
    }
}

/// SHA-256 over, for every document, the number of its ids and the ids, 4 bytes little endian each; and all their number.
fn hash<'a>(documents: impl Iterator<Item = &'a [u32]>) -> (String, usize) {
    let mut hash = Sha256::new();
    let mut tokens = 0;
    for ids in documents {
        hash.update((ids.len() as u32).to_le_bytes());
        ids.iter().for_each(|id| hash.update(id.to_le_bytes()));
        tokens += ids.len();
    }
    (hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect(), tokens)
}

/// A line of /proc/self/status, in MiB.
fn memory(line: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|each| each.starts_with(line))?;
    let kibibytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some((kibibytes / 102.4).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_every_document_once() {
        let mut file = Vec::new();
        for length in [0_usize, 5, 1, 300, 2, 2, 0, 90, 7] {
            file.extend((length as u32).to_le_bytes());
            file.extend(std::iter::repeat_n(b'a', length));
        }
        let corpus = Corpus::of(&file).unwrap();
        assert_eq!(corpus.count(), 9);
        assert_eq!(corpus.text(3).len(), 300);
        for wanted in [1, 8, 16, 24, 32] {
            let mut ids = vec![0; corpus.text.len() + corpus.count()];
            let parts = corpus.parts(wanted, &mut ids);
            let parts: Vec<_> = parts.into_iter().map(|part| part.into_inner().unwrap()).collect();
            let documents: Vec<usize> = parts.iter().flat_map(|part| part.documents.clone()).collect();
            assert_eq!(documents, (0..9).collect::<Vec<_>>(), "{wanted} parts");
            let room: usize = parts.iter().map(|part| part.ids.len()).sum();
            assert_eq!(room, corpus.text.len() + corpus.count());
            assert_eq!(parts.len() == 1, wanted == 1);
        }
        // Within a length, and within a text.
        assert!(Corpus::of(&file[..20]).is_err());
        assert!(Corpus::of(&file[..40]).is_err());
    }

    #[test]
    fn the_hash_is_that_of_the_flat_file() {
        // printf '\2\0\0\0\7\0\0\0\1\1\0\0\0\0\0\0' | sha256sum
        let (hash, tokens) = hash([&[7_u32, 257][..], &[]].into_iter());
        assert_eq!(tokens, 2);
        assert_eq!(hash, hexadecimal(&[2, 0, 0, 0, 7, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0]));
    }

    fn hexadecimal(bytes: &[u8]) -> String {
        Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
