//! The C ABI of Quern's tokenizer: the library `quern` that a JVM opens. No other Rust file has `extern "C"`.
//!
//! # Contract
//!
//! **Values.** Every parameter and every result is a 64-bit signed integer, addresses included. A result >= 0 is the
//! answer; a negative one is a status:
//!
//! | status | | |
//! |---|---|---|
//! | -1 | `INVALID_ARGUMENT` | null, misaligned, negative, overlapping, out of range, unknown flag, wrong options |
//! | -2 | `INVALID_UTF8` | the text is not UTF-8; position: the first bad byte |
//! | -3 | `SPECIAL_TOKEN` | the text has a special token and the policy is "error"; position: where |
//! | -4 | `UNSUPPORTED` | the file can't be loaded, or the engine asked for can't serve it |
//! | -5 | `CLOSED` | the handle was released, or is none |
//! | -6 | `INTERNAL` | a panic was caught: a bug. The library stays usable |
//! | -7 | `ENCODE` | the tokenizer has no ids for this text |
//! | -8 | `UNKNOWN_ID` | no such token; decoding: an id not in the vocabulary; position: its index among the ids |
//!
//! What happened is told by `quern_last_error` and its companions, for the calling thread, until its next failing call.
//!
//! **Memory.** All bulk memory belongs to the caller: it must be valid for the whole call, inputs unchanged by others and
//! outputs not looked at by others; nothing is kept after the call returns. Lengths are bytes for `text`, `file`,
//! `options`, `token` and strings, and numbers of items for everything else. `ids` are 4-byte integers aligned to 4;
//! `offsets`, `spans` and `id_offsets` are 8-byte integers aligned to 8. An address may be null (0) only with length 0. No
//! output may overlap anything else of the same call. Strings are UTF-8 without a NUL at the end.
//!
//! **Outputs.** A call writes at most `capacity` items and returns how many there are. More than `capacity` means: too
//! small, come again with that much room (what was written is then of no use). With capacity 0 a call only counts.
//!
//! **Threads.** Every function may be called from any number of threads at once, with the same handle too. A handle may be
//! released while calls with it run: they end as if it had not been, and memory goes with the last of them.
//!
//! **Flags.** 1: add the special tokens of the tokenizer's post-processor. 2: replace invalid UTF-8 by U+FFFD as the WHATWG
//! Encoding Standard says, instead of -2; positions and spans still count the bytes of the text as given. 4 (decoding
//! only): leave special tokens out. Any other bit is an error.
//!
//! **Load options** are a JSON object; all keys but `format` are optional, unknown ones are errors:
//!
//! ```json
//! {"format": "huggingface",            // or "tiktoken"
//!  "engine": "auto",                   // "auto", "fast", "reference"
//!  "special_tokens_in_text": "text",   // "text", "token", "error": text that reads like a special token
//!  "pattern": "...",                   // tiktoken: the pre-tokenizer's regular expression (required)
//!  "special_tokens": {"<|x|>": 100257},// tiktoken
//!  "truncation": false,                // huggingface: apply the file's section
//!  "padding": false,
//!  "cache_bytes_per_thread": 33554432}  // what the fast engine may keep in each thread; 512 KiB to 1 GiB
//! ```
//!
//! **Description** (`quern_describe`) is a JSON object: `format`, `engine`, `engine_reason`, `simd` ("avx512",
//! "avx2", "neon", "portable", "none"), `model` ("BPE", "WordPiece",
//! "Unigram", "WordLevel"), `vocabulary_size`, `content_hash` (64 hexadecimal digits), `notices` (sentences to log once),
//! `abi_version`, `version`.
//!
//! What can't be caught: running out of memory ends the process, as everywhere in Rust.

// What a caller owes is the same for all functions, and stands above once.
#![allow(clippy::missing_safety_doc)]

mod registry;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, LazyLock, Once};
use std::thread;

use quern_engine::{Encode, Error, Kind, Options, Span, Tokenizer};
use registry::Registry;

pub const ABI_VERSION: i64 = 1;

pub const INVALID_ARGUMENT: i64 = -1;
pub const INVALID_UTF8: i64 = -2;
pub const SPECIAL_TOKEN: i64 = -3;
pub const UNSUPPORTED: i64 = -4;
pub const CLOSED: i64 = -5;
pub const INTERNAL: i64 = -6;
pub const ENCODE: i64 = -7;
pub const UNKNOWN_ID: i64 = -8;

pub const ADD_SPECIAL_TOKENS: i64 = 1;
pub const REPLACE_INVALID_UTF8: i64 = 2;
pub const SKIP_SPECIAL_TOKENS: i64 = 4;

/// The version of this contract. It grows when a caller that knows the old one would go wrong.
#[unsafe(no_mangle)]
pub extern "C" fn quern_abi_version() -> i64 {
    ABI_VERSION
}

/// Loads a tokenizer file, or shares the one already loaded with the same content hash and engine. Returns a handle > 0,
/// to be released once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quern_load(file: i64, file_len: i64, options: i64, options_len: i64) -> i64 {
    call(|| {
        let file = Region::<u8>::check("file", file, file_len)?;
        let options = Region::<u8>::check("options", options, options_len)?;
        // SAFETY: the contract.
        let (file, options) = unsafe { (file.input(), options.input()) };
        let options = Options::from_json(options)?;
        on_a_large_stack(|| Ok(REGISTRY.load(file, &options)?))
    })
}

/// Ends a handle. Returns 0; a second release of the same handle is -5.
#[unsafe(no_mangle)]
pub extern "C" fn quern_release(handle: i64) -> i64 {
    call(|| if REGISTRY.release(handle) { Ok(0) } else { Err(Failure::closed()) })
}

/// Writes the description. Returns its length in bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quern_describe(handle: i64, out: i64, capacity: i64) -> i64 {
    call(|| {
        let out = Region::<u8>::check("out", out, capacity)?;
        let mut description = tokenizer(handle)?.description();
        assert_eq!(description.pop(), Some('}'));
        description +=
            &format!(",\"abi_version\":{ABI_VERSION},\"version\":\"{}\"}}", env!("CARGO_PKG_VERSION"));
        // SAFETY: the contract.
        Ok(unsafe { out.write(description.as_bytes()) })
    })
}

/// The id of a token: of an added or special one by its text, of another as the file spells it (tiktoken: its bytes). -8
/// if there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quern_token_id(handle: i64, token: i64, token_len: i64) -> i64 {
    call(|| {
        let token = Region::<u8>::check("token", token, token_len)?;
        let tokenizer = tokenizer(handle)?;
        // SAFETY: the contract.
        let id = tokenizer.token_id(unsafe { token.input() });
        id.map(i64::from)
            .ok_or_else(|| Failure::new(UNKNOWN_ID, "the tokenizer's vocabulary has no such token"))
    })
}

/// Encodes one document. Returns the number of ids.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quern_encode(
    handle: i64,
    text: i64,
    text_len: i64,
    flags: i64,
    ids: i64,
    capacity: i64,
) -> i64 {
    // SAFETY: the contract is the same.
    call(|| unsafe { encode([handle, text, text_len, flags, ids, capacity]) })
}

/// `quern_encode` with its six arguments in memory, in their order: 8-byte integers at an address aligned to 8. A foreign
/// function interface may take longer for each argument that it passes than an encoding does.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quern_encode_packed(arguments: i64) -> i64 {
    call(|| {
        let arguments = Region::<[i64; 6]>::check("arguments", arguments, 1)?;
        // SAFETY: the contract, for the arguments and for what they say. They are copied before anything is written.
        unsafe { encode(arguments.input()[0]) }
    })
}

/// # Safety
/// The contract of `quern_encode`, whose arguments these are.
unsafe fn encode([handle, text, text_len, flags, ids, capacity]: [i64; 6]) -> Result<i64, Failure> {
    let text = Region::<u8>::check("text", text, text_len)?;
    let ids = Region::<u32>::check("ids", ids, capacity)?;
    disjoint(&[ids.place()], &[text.place()])?;
    let how = encode_flags(flags)?;
    let tokenizer = tokenizer(handle)?;
    // SAFETY: the contract; they don't overlap.
    let (text, ids) = unsafe { (text.input(), ids.output()) };
    Ok(if ids.is_empty() { tokenizer.count(text, how)? } else { tokenizer.encode(text, how, ids)? } as i64)
}

/// Encodes a batch: document i is the bytes offsets[i] to offsets[i + 1] of the text, its ids are ids[id_offsets[i]] to
/// ids[id_offsets[i + 1]]. Returns the number of ids in all.
///
/// `offsets` and `id_offsets` have documents + 1 entries; `offsets` must ascend within 0 to text_len. `id_offsets` is
/// written in full also when `ids` is too small. When a document fails, the batch fails: `quern_last_error_document` tells
/// which one, and positions are within that document.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quern_encode_batch(
    handle: i64,
    text: i64,
    text_len: i64,
    offsets: i64,
    documents: i64,
    flags: i64,
    ids: i64,
    capacity: i64,
    id_offsets: i64,
) -> i64 {
    call(|| {
        let entries = documents.checked_add(1).filter(|_| documents >= 0);
        let entries = entries
            .ok_or_else(|| Failure::argument("documents", "is negative or too large", "count from 0"))?;
        let text = Region::<u8>::check("text", text, text_len)?;
        let offsets = Region::<i64>::check("offsets", offsets, entries)?;
        let ids = Region::<u32>::check("ids", ids, capacity)?;
        let id_offsets = Region::<i64>::check("id_offsets", id_offsets, entries)?;
        disjoint(&[ids.place(), id_offsets.place()], &[text.place(), offsets.place()])?;
        let how = encode_flags(flags)?;
        let tokenizer = tokenizer(handle)?;
        // SAFETY: the contract; outputs overlap nothing.
        let (text, offsets, ids, id_offsets) =
            unsafe { (text.input(), offsets.input(), ids.output(), id_offsets.output()) };
        // All of them before the first document, so that wrong offsets never cost the work of a batch.
        if let Some(at) = offsets.windows(2).position(|pair| pair[0] > pair[1]) {
            return Err(Failure::argument("offsets", &format!("descends after entry {at}"), "let it ascend"));
        }
        if offsets[0] < 0 || offsets[offsets.len() - 1] > text.len() as i64 {
            return Err(Failure::argument("offsets", "leaves the text", "keep it within 0 and text_len"));
        }
        let count = tokenizer
            .encode_batch(text, offsets, how, ids, id_offsets)
            .map_err(|(document, error)| Failure { document: document as i64, ..Failure::from(error) })?;
        Ok(count as i64)
    })
}

/// Encodes one document with the span of each token: begin and end in bytes of the text given, two 8-byte integers in
/// `spans` for each entry of `ids`. Returns the number of ids.
///
/// Spans are those of Hugging Face's crate: a token that is part of a character has the whole character's, an added
/// special token has 0, 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quern_encode_offsets(
    handle: i64,
    text: i64,
    text_len: i64,
    flags: i64,
    ids: i64,
    spans: i64,
    capacity: i64,
) -> i64 {
    call(|| {
        let text = Region::<u8>::check("text", text, text_len)?;
        let ids = Region::<u32>::check("ids", ids, capacity)?;
        let spans = Region::<Span>::check("spans", spans, capacity)?;
        disjoint(&[ids.place(), spans.place()], &[text.place()])?;
        let how = encode_flags(flags)?;
        let tokenizer = tokenizer(handle)?;
        // SAFETY: the contract; they don't overlap.
        let (text, ids, spans) = unsafe { (text.input(), ids.output(), spans.output()) };
        Ok(tokenizer.encode_with_offsets(text, how, ids, spans)? as i64)
    })
}

/// The number of ids that `quern_encode` gives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quern_count(handle: i64, text: i64, text_len: i64, flags: i64) -> i64 {
    call(|| {
        let text = Region::<u8>::check("text", text, text_len)?;
        let how = encode_flags(flags)?;
        let tokenizer = tokenizer(handle)?;
        // SAFETY: the contract.
        Ok(tokenizer.count(unsafe { text.input() }, how)? as i64)
    })
}

/// The last place within the text, in bytes, at which a longer text that begins like it may be cut: encoded one after the
/// other without flag 1, the two parts have the ids of the whole. 0: no such place is known.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quern_cut(handle: i64, text: i64, text_len: i64) -> i64 {
    call(|| {
        let text = Region::<u8>::check("text", text, text_len)?;
        // SAFETY: the contract.
        Ok(tokenizer(handle)?.cut(unsafe { text.input() }) as i64)
    })
}

/// Writes the text that ids stand for. Returns its length in bytes. From a tiktoken file it is the tokens' bytes, which
/// need not be UTF-8; from a tokenizer.json it is what its decoder makes, always UTF-8.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quern_decode(
    handle: i64,
    ids: i64,
    count: i64,
    flags: i64,
    out: i64,
    capacity: i64,
) -> i64 {
    call(|| {
        let ids = Region::<u32>::check("ids", ids, count)?;
        let out = Region::<u8>::check("out", out, capacity)?;
        disjoint(&[out.place()], &[ids.place()])?;
        if flags & !SKIP_SPECIAL_TOKENS != 0 {
            return Err(Failure::argument("flags", "has a bit that decoding does not know", "use 0 or 4"));
        }
        let tokenizer = tokenizer(handle)?;
        // SAFETY: the contract; they don't overlap.
        unsafe {
            let text = tokenizer.decode(ids.input(), flags & SKIP_SPECIAL_TOKENS != 0)?;
            Ok(out.write(&text))
        }
    })
}

/// Writes "mimalloc" or "system": what made a block that the engine has just allocated, established by asking about that
/// block. Returns the length in bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quern_allocator(out: i64, capacity: i64) -> i64 {
    call(|| {
        let out = Region::<u8>::check("out", out, capacity)?;
        let block = quern_engine::fresh_block();
        // SAFETY: the contract.
        Ok(unsafe { out.write(quern_allocator::name_of(block.as_ptr()).as_bytes()) })
    })
}

/// Bytes that the allocator has in use, 0 where it can't say. mimalloc: committed for this library. GNU C library: in use
/// in the whole process.
#[unsafe(no_mangle)]
pub extern "C" fn quern_allocated_bytes() -> i64 {
    call(|| Ok(quern_allocator::allocated_bytes() as i64))
}

/// Gives freed memory back to the operating system, as far as the allocator can. Returns 0.
#[unsafe(no_mangle)]
pub extern "C" fn quern_collect() -> i64 {
    call(|| {
        quern_allocator::collect();
        Ok(0)
    })
}

/// How many tokenizer files this process has really read so far; a load that shares a tokenizer does not count.
#[unsafe(no_mangle)]
pub extern "C" fn quern_loaded() -> i64 {
    call(|| Ok(REGISTRY.loads()))
}

/// Writes the text of this thread's last error: what was wrong, where, and what to do. Returns its length in bytes, 0 if
/// there was none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quern_last_error(out: i64, capacity: i64) -> i64 {
    call(|| {
        let out = Region::<u8>::check("out", out, capacity)?;
        LAST.with_borrow(|last| {
            let message = last.as_ref().map_or("", |failure| failure.message.as_str());
            // SAFETY: the contract.
            Ok(unsafe { out.write(message.as_bytes()) })
        })
    })
}

/// The byte position in the document (for an unknown id its index, for a tiktoken file the position in the file) of this
/// thread's last error; -1 if it has none.
#[unsafe(no_mangle)]
pub extern "C" fn quern_last_error_position() -> i64 {
    LAST.with_borrow(|last| last.as_ref().map_or(-1, |failure| failure.position))
}

/// The index in the batch of the document that this thread's last error is about; -1 if it was no batch.
#[unsafe(no_mangle)]
pub extern "C" fn quern_last_error_document() -> i64 {
    LAST.with_borrow(|last| last.as_ref().map_or(-1, |failure| failure.document))
}

// ---- behind the functions: arguments, errors, panics ----

static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::default);

fn tokenizer(handle: i64) -> Result<Arc<Tokenizer>, Failure> {
    REGISTRY.get(handle).ok_or_else(Failure::closed)
}

fn encode_flags(flags: i64) -> Result<Encode, Failure> {
    if flags & !(ADD_SPECIAL_TOKENS | REPLACE_INVALID_UTF8) != 0 {
        return Err(Failure::argument("flags", "has a bit that encoding does not know", "use 0, 1, 2 or 3"));
    }
    Ok(Encode {
        add_special_tokens: flags & ADD_SPECIAL_TOKENS != 0,
        replace_invalid: flags & REPLACE_INVALID_UTF8 != 0,
    })
}

/// What goes back to the caller when a call fails.
struct Failure {
    status: i64,
    message: String,
    position: i64,
    document: i64,
}

impl Failure {
    fn new(status: i64, message: impl Into<String>) -> Failure {
        Failure { status, message: message.into(), position: -1, document: -1 }
    }

    fn argument(name: &str, what: &str, remedy: &str) -> Failure {
        Failure::new(INVALID_ARGUMENT, format!("the argument {name} {what}; {remedy}"))
    }

    fn closed() -> Failure {
        Failure::new(
            CLOSED,
            "the handle is none of a loaded tokenizer, or it was released; load the tokenizer again",
        )
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let status = match error.kind {
            Kind::InvalidArgument => INVALID_ARGUMENT,
            Kind::InvalidUtf8 => INVALID_UTF8,
            Kind::SpecialToken => SPECIAL_TOKEN,
            Kind::Unsupported => UNSUPPORTED,
            Kind::Encode => ENCODE,
            Kind::UnknownId => UNKNOWN_ID,
        };
        let position = error.position.map_or(-1, |position| position as i64);
        Failure { status, message: error.message, position, document: -1 }
    }
}

/// Items of type T in the caller's memory: a checked address and count.
struct Region<T> {
    name: &'static str,
    address: usize,
    count: usize,
    items: PhantomData<T>,
}

/// Name, first byte and byte after the last of a region.
type Place = (&'static str, usize, usize);

// Any bits are a value of the types this is used for (u8, u32, i64, [i64; 2], [i64; 6]).
impl<T: Copy> Region<T> {
    fn check(name: &'static str, address: i64, count: i64) -> Result<Region<T>, Failure> {
        let refused = |what, remedy| Err(Failure::argument(name, what, remedy));
        if count < 0 {
            return refused("has a negative length", "count from 0");
        }
        // As unsigned: on some systems an address has its highest bit set.
        let unsigned = address as u64;
        let place = usize::try_from(unsigned).ok().zip(usize::try_from(count).ok());
        let size = place.and_then(|(_, count)| count.checked_mul(size_of::<T>()));
        let (Some((address, count)), Some(size)) = (place, size.filter(|size| *size <= isize::MAX as usize))
        else {
            return refused("is longer than memory can be", "pass fewer items");
        };
        if count > 0 && address == 0 {
            return refused("is null but has a length", "pass an address, or length 0");
        }
        if count > 0 && address % align_of::<T>() != 0 {
            return refused("is not aligned to the size of its items", "align it");
        }
        // No memory lies across the middle of a 64-bit address space.
        let half = isize::MAX as usize;
        let across = |end: usize| cfg!(target_pointer_width = "64") && address <= half && end > half;
        if address.checked_add(size).is_none_or(across) {
            return refused("reaches past the end of memory", "pass fewer items");
        }
        Ok(Region { name, address, count, items: PhantomData })
    }

    fn place(&self) -> Place {
        (self.name, self.address, self.address + self.count * size_of::<T>())
    }

    /// # Safety
    /// The memory is valid and unchanged for as long as the slice is used.
    unsafe fn input<'a>(&self) -> &'a [T] {
        if self.count == 0 {
            return &[];
        }
        // SAFETY: not null, aligned and of possible size by `check`; the rest is the caller's duty.
        unsafe { std::slice::from_raw_parts(std::ptr::with_exposed_provenance(self.address), self.count) }
    }

    /// # Safety
    /// The memory is valid and used by nobody else for as long as the slice is used.
    unsafe fn output<'a>(&self) -> &'a mut [T] {
        if self.count == 0 {
            return &mut [];
        }
        // SAFETY: not null, aligned and of possible size by `check`; the rest is the caller's duty.
        unsafe {
            std::slice::from_raw_parts_mut(std::ptr::with_exposed_provenance_mut(self.address), self.count)
        }
    }

    /// Writes the items if there is room for them all. Returns how many there are.
    ///
    /// # Safety
    /// As for `output`.
    unsafe fn write(&self, items: &[T]) -> i64 {
        if items.len() <= self.count {
            // SAFETY: the caller's duty.
            let out = unsafe { self.output() };
            out[..items.len()].copy_from_slice(items);
        }
        items.len() as i64
    }
}

/// No output overlaps another output or an input.
fn disjoint(outputs: &[Place], inputs: &[Place]) -> Result<(), Failure> {
    for (index, (name, begin, end)) in outputs.iter().enumerate() {
        for (other, other_begin, other_end) in outputs[index + 1..].iter().chain(inputs) {
            if begin.max(other_begin) < end.min(other_end) {
                return Err(Failure::argument(name, &format!("overlaps {other}"), "pass separate memory"));
            }
        }
    }
    Ok(())
}

thread_local! {
    static LAST: RefCell<Option<Failure>> = const { RefCell::new(None) };
    /// Where the last panic of this thread happened, while it is inside `call`.
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// The only way in and out: catches panics, keeps what went wrong for `quern_last_error`.
fn call(body: impl FnOnce() -> Result<i64, Failure>) -> i64 {
    keep_panics_quiet();
    let outer = INSIDE.replace(true);
    // What a body shares with other calls is behind locks whose state a panic does not spoil.
    let result = panic::catch_unwind(AssertUnwindSafe(body));
    INSIDE.set(outer);
    let failure = match result {
        Ok(Ok(answer)) => return answer,
        Ok(Err(failure)) => failure,
        Err(panic) => Failure::new(INTERNAL, internal(panic.as_ref())),
    };
    let status = failure.status;
    LAST.set(Some(failure));
    status
}

/// onig reads and compiles a regular expression recursively, down to some 2000 levels, and a JVM's thread may have a stack
/// of a megabyte or less: too deep an expression would end the process.
const LOADING_STACK_BYTES: usize = 16 << 20;

/// Runs the body of a call on a thread of its own, whose panics are those of the call.
fn on_a_large_stack(body: impl FnOnce() -> Result<i64, Failure> + Send) -> Result<i64, Failure> {
    let (result, place) = thread::scope(|scope| -> Result<_, Failure> {
        let guarded = || {
            INSIDE.set(true);
            let result = panic::catch_unwind(AssertUnwindSafe(body));
            (result, PANIC.take())
        };
        let builder = thread::Builder::new().name("quern-load".into()).stack_size(LOADING_STACK_BYTES);
        let loading = builder.spawn_scoped(scope, guarded).map_err(|error| {
            Failure::new(
                INTERNAL,
                format!(
                    "no thread can be started to load the tokenizer: {error}; raise the process's limits"
                ),
            )
        })?;
        Ok(loading.join().expect("its panics are caught"))
    })?;
    result.unwrap_or_else(|panic| {
        PANIC.set(place);
        panic::resume_unwind(panic)
    })
}

/// Panics inside `call` are reported through the ABI, not on the standard error of somebody's executor, where the default
/// hook would print them (with parts of a document, in the case of a slicing error). Other panics stay as they are.
fn keep_panics_quiet() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !INSIDE.get() {
                return previous(info);
            }
            let place = info.location().map_or(String::new(), |location| {
                // The end of the path says which file of which crate; its start only where it was built.
                let parts: Vec<&str> = location.file().rsplit(['/', '\\']).take(4).collect();
                let file = parts.into_iter().rev().collect::<Vec<_>>().join("/");
                format!("{file}:{}", location.line())
            });
            PANIC.set(place);
        }));
    });
}

fn internal(panic: &(dyn Any + Send)) -> String {
    let place = PANIC.take();
    // A literal comes from the source; a formatted text may quote the document, which no message may.
    let reason = panic.downcast_ref::<&'static str>().map_or(String::new(), |text| format!(": {text}"));
    format!(
        "internal error at {place}{reason}; this is a bug of Quern or of the tokenizers crate, please report this line; \
         the library stays usable"
    )
}

#[cfg(test)]
mod tests;
