//! Loading, using and dropping tokenizers on long-lived threads, as an executor does, must not grow the process.
//!
//! Hugging Face's crate keeps a cache in every thread for every tokenizer ever used there. The control run leaves it on
//! and must fail the very check that our path passes, or the check proves nothing.
//!
//! One test in a binary of its own, since it looks at the memory of the whole process.
#![cfg(target_os = "linux")]

use std::sync::mpsc::sync_channel;
use std::thread;

use quern_engine::{Encode, EngineChoice, Format, Options, Tokenizer};
use tokenizers::models::bpe::BPE;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

const CYCLES: usize = 200;
const THREADS: usize = 2;
/// What counts as flat: the first cycles fill the allocator's own free lists.
const WARM_UP: usize = 50;
const FLAT_BYTES: u64 = 6 << 20;

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

fn small_tokenizer() -> String {
    let vocabulary = ByteLevel::alphabet().into_iter().zip(0..).map(|(letter, id)| (letter.to_string(), id));
    let vocabulary: tokenizers::models::bpe::Vocab = vocabulary.collect();
    let mut tokenizer = tokenizers::Tokenizer::new(BPE::new(vocabulary, vec![]));
    tokenizer.with_pre_tokenizer(Some(ByteLevel::default()));
    tokenizer.with_decoder(Some(ByteLevel::default()));
    tokenizer.to_string(false).unwrap()
}

/// Growth of the process from the end of the warm-up to the last cycle. In each cycle `load` makes a tokenizer, all of the
/// same threads encode with it, and it is dropped.
fn growth<T: Send + Sync + 'static>(load: impl Fn() -> T, encode: fn(&T, &str)) -> u64 {
    let text: String = (0..1000).map(|word| format!(" word{word:05}")).collect();
    let mut senders = Vec::new();
    let mut receivers = Vec::new();
    let mut threads = Vec::new();
    for _ in 0..THREADS {
        let (sender, tokenizers) = sync_channel::<std::sync::Arc<T>>(0);
        let (done, receiver) = sync_channel(0);
        let text = text.clone();
        threads.push(thread::spawn(move || {
            for tokenizer in tokenizers {
                encode(&tokenizer, &text);
                drop(tokenizer);
                done.send(()).unwrap();
            }
        }));
        senders.push(sender);
        receivers.push(receiver);
    }
    let mut after_warm_up = 0;
    for cycle in 0..CYCLES {
        let tokenizer = std::sync::Arc::new(load());
        for sender in &senders {
            sender.send(std::sync::Arc::clone(&tokenizer)).unwrap();
        }
        drop(tokenizer);
        for receiver in &receivers {
            receiver.recv().unwrap();
        }
        if cycle == WARM_UP {
            after_warm_up = resident_bytes();
        }
    }
    let growth = resident_bytes().saturating_sub(after_warm_up);
    drop(senders);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    growth
}

#[test]
fn resident_memory_stays_flat_and_the_control_grows() {
    let json = small_tokenizer();
    let ours = |engine| {
        growth(
            || {
                let options = Options { engine, ..Options::new(Format::HuggingFace) };
                Tokenizer::load(json.as_bytes(), &options).unwrap()
            },
            |tokenizer, text| {
                assert!(tokenizer.count(text.as_bytes(), Encode::default()).unwrap() > 1000);
            },
        )
    };
    let (reference, fast) = (ours(EngineChoice::Reference), ours(EngineChoice::Fast));
    let control = growth(
        || tokenizers::Tokenizer::from_bytes(&json).unwrap(),
        |tokenizer, text| {
            assert!(tokenizer.encode_fast(text, false).unwrap().len() > 1000);
        },
    );
    println!(
        "growth over {} cycles: reference {reference} bytes, fast {fast} bytes, with the crate's cache {control} bytes",
        CYCLES - WARM_UP
    );
    assert!(reference <= FLAT_BYTES, "the reference engine grew by {reference} bytes");
    assert!(fast <= FLAT_BYTES, "the fast engine grew by {fast} bytes");
    assert!(
        control > FLAT_BYTES,
        "the control run grew by {control} bytes only: the check would not find a leak"
    );
}
