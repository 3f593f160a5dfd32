//! One measurement over a file of documents (u64 count, u64 offsets[count + 1], bytes); one JSON line.
//!
//! usage: bench TOKENIZER DOCS [--piece MB] [--ids FILE] [--threads N] [--simd portable|avx2|avx512]
//!              [--cache BYTES] [--warm N] [--count]
//! TOKENIZER: a tokenizer.json, or NAME=FILE.tiktoken with NAME r50k, p50k, cl100k or o200k.
use quern_fast::{FastTokenizer, Options, Simd, ThreadState};

/// CPU time of this process: on a machine with other work, wall time measures them too.
struct Instant(f64);
impl Instant {
    fn seconds() -> f64 {
        let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let clock = if std::env::var_os("QUERN_WALL").is_some() {
            libc::CLOCK_MONOTONIC
        } else {
            libc::CLOCK_PROCESS_CPUTIME_ID
        };
        // SAFETY: t is a timespec.
        unsafe { libc::clock_gettime(clock, &mut t) };
        t.tv_sec as f64 + t.tv_nsec as f64 * 1e-9
    }
    fn now() -> Instant {
        Instant(Instant::seconds())
    }
    fn elapsed(&self) -> std::time::Duration {
        std::time::Duration::from_secs_f64(Instant::seconds() - self.0)
    }
}

fn memory(key: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| args.iter().position(|a| a == name).map(|i| args[i + 1].clone());
    let file = std::fs::read(&args[1]).unwrap();
    let number = |i: usize| u64::from_le_bytes(file[8 * i..8 * i + 8].try_into().unwrap()) as usize;
    let n = number(0);
    let base = 8 * (n + 2);
    let docs: Vec<&str> = (0..n)
        .map(|i| std::str::from_utf8(&file[base + number(i + 1)..base + number(i + 2)]).unwrap())
        .collect();
    let bytes: usize = docs.iter().map(|d| d.len()).sum();
    let simd = option("--simd").map(|s| {
        *Simd::all().iter().find(|l| format!("{l:?}").to_lowercase() == s).expect("a level of this CPU")
    });
    let options = Options { simd, ..Default::default() };
    let rss_start = memory("VmRSS");
    let t0 = Instant::now();
    let tokenizer = match args[0].split_once('=') {
        Some((name, path)) => {
            let pattern = match name {
                "o200k" => include_str!("../../tests/o200k.regex").trim_end_matches('\n'),
                "cl100k" => include_str!("../../tests/cl100k.regex").trim_end_matches('\n'),
                _ => r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s",
            };
            FastTokenizer::from_tiktoken(&std::fs::read(path).unwrap(), pattern, &[], &options).unwrap()
        }
        None => FastTokenizer::from_json(&std::fs::read(&args[0]).unwrap(), &options).unwrap(),
    };
    let load = t0.elapsed().as_secs_f64();
    let rss_load = memory("VmRSS");
    let cache = option("--cache").map_or(8 << 20, |s| s.parse().unwrap());
    let piece = option("--piece").map_or(3.0, |s| s.parse::<f64>().unwrap()) * 1e6;
    let threads: usize = option("--threads").map_or(1, |s| s.parse().unwrap());
    let warm_passes: usize = option("--warm").map_or(5, |s| s.parse().unwrap());
    let mut pieces: Vec<&[&str]> = Vec::new();
    let (mut begin, mut size) = (0, 0);
    for (i, d) in docs.iter().enumerate() {
        if size as f64 >= piece {
            pieces.push(&docs[begin..i]);
            (begin, size) = (i, 0);
        }
        size += d.len();
    }
    pieces.push(&docs[begin..]);
    let single = args.iter().any(|a| a == "--single");
    let counting = args.iter().any(|a| a == "--count");
    // One thread's documents: the ids of all, and where each ends.
    let pass = |state: &mut ThreadState, docs: &[&str], ids: &mut Vec<u32>, ends: &mut Vec<usize>| {
        if !counting && !single && !docs.is_empty() {
            let first = docs[0].as_ptr() as usize;
            let last = docs[docs.len() - 1];
            let all = last.as_ptr() as usize + last.len() - first;
            // SAFETY: the documents lie one behind the other in the file.
            let all =
                unsafe { std::str::from_utf8_unchecked(std::slice::from_raw_parts(first as *const u8, all)) };
            let mut offsets = vec![0i64];
            offsets.extend(docs.iter().map(|d| (d.as_ptr() as usize + d.len() - first) as i64));
            let mut id_offsets = vec![0i64; offsets.len()];
            let used = ids.len();
            ids.reserve(all.len() + 16);
            // SAFETY: only written to.
            let room =
                unsafe { std::slice::from_raw_parts_mut(ids.as_mut_ptr().add(used), ids.capacity() - used) };
            let n = tokenizer.encode_batch(state, all, &offsets, room, &mut id_offsets).unwrap();
            assert!(n <= ids.capacity() - used);
            // SAFETY: encode_batch wrote n values.
            unsafe { ids.set_len(used + n) };
            ends.extend(id_offsets[1..].iter().map(|e| used + *e as usize));
            return;
        }
        for d in docs {
            if counting {
                tokenizer.count(state, d).unwrap();
                continue;
            }
            ids.reserve(d.len() + 16);
            let used = ids.len();
            let n = tokenizer.encode_into(state, d, ids.spare_capacity_mut()).unwrap();
            assert!(n <= ids.capacity() - used);
            // SAFETY: encode_into wrote n values.
            unsafe { ids.set_len(used + n) };
            ends.push(ids.len());
        }
    };
    let mut state = ThreadState::new(cache);
    let (mut ids, mut ends) = (Vec::with_capacity(bytes / 2), Vec::with_capacity(n));
    // The caller's memory, which a job uses again and again: not the engine's time.
    ids.resize(bytes / 2, 0);
    ids.clear();
    let mut times = Vec::new();
    let t1 = Instant::now();
    for p in &pieces {
        let t = Instant::now();
        pass(&mut state, p, &mut ids, &mut ends);
        times.push(t.elapsed().as_secs_f64());
    }
    let cold = t1.elapsed().as_secs_f64();
    let rss_pass = memory("VmRSS");
    let stats = || {
        quern_fast::STATS.iter().map(|s| s.swap(0, std::sync::atomic::Ordering::Relaxed)).collect::<Vec<_>>()
    };
    if cfg!(feature = "stats") {
        eprintln!("first pass {:?}", stats());
    }
    let first = ids.clone();
    let mut warm = f64::MAX;
    for _ in 0..warm_passes {
        ids.clear();
        ends.clear();
        let t = Instant::now();
        pass(&mut state, &docs, &mut ids, &mut ends);
        warm = warm.min(t.elapsed().as_secs_f64());
    }
    if cfg!(feature = "stats") {
        eprintln!("{warm_passes} warm passes {:?}", stats());
    }
    assert!(warm_passes == 0 || ids == first, "a warm cache gave other ids");
    let mut many = 0.0;
    if threads > 1 {
        let parts: Vec<&[&str]> = docs.chunks(docs.len().div_ceil(threads)).collect();
        for round in 0..3 {
            let t = Instant::now();
            std::thread::scope(|s| {
                for p in &parts {
                    let pass = &pass;
                    s.spawn(move || {
                        let mut state = ThreadState::new(cache);
                        let (mut ids, mut ends) = (Vec::with_capacity(bytes), Vec::new());
                        for _ in 0..4 {
                            ids.clear();
                            pass(&mut state, p, &mut ids, &mut ends);
                        }
                    });
                }
            });
            let _ = round;
            many = f64::max(many, 4.0 * bytes as f64 / 1e6 / t.elapsed().as_secs_f64());
        }
    }
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for id in &first {
        hash = (hash ^ *id as u64).wrapping_mul(0x100_0000_01b3);
    }
    if let Some(path) = option("--ids") {
        let mut out = Vec::new();
        out.extend((n as u64).to_le_bytes());
        out.extend(0u64.to_le_bytes());
        ends.iter().for_each(|e| out.extend((*e as u64).to_le_bytes()));
        first.iter().for_each(|i| out.extend(i.to_le_bytes()));
        std::fs::write(path, out).unwrap();
    }
    let last: usize = pieces.last().unwrap().iter().map(|d| d.len()).sum();
    let mb = bytes as f64 / 1e6;
    println!(
        "{{\"engine\":\"quern\",\"simd\":\"{:?}\",\"bytes\":{bytes},\"tokens\":{},\"load_s\":{load:.4},\"cold_mb_s\":{:.1},\"steady_mb_s\":{:.1},\"warm_mb_s\":{:.1},\"threads_mb_s\":{many:.1},\"rss_start_mib\":{rss_start:.1},\"rss_load_mib\":{rss_load:.1},\"rss_pass_mib\":{rss_pass:.1},\"tables\":{:.1},\"hash\":\"{hash:016x}\"}}",
        tokenizer.simd(),
        first.len(),
        mb / cold,
        last as f64 / 1e6 / times.last().unwrap(),
        mb / warm,
        tokenizer.table_bytes() as f64 / 1048576.0,
    );
}
