//! The limits of every function of the ABI, called as a JVM calls them: with plain integers.

use super::*;
use std::sync::atomic::{AtomicBool, Ordering};

/// A vocabulary of a few words and every byte of "ab", with a special token and a post-processor.
const JSON: &str = r#"{"version":"1.0","added_tokens":[
    {"id":7,"content":"<s>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}],
    "normalizer":null,"pre_tokenizer":{"type":"Whitespace"},"decoder":null,
    "post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},
        {"Sequence":{"id":"A","type_id":0}}],"pair":[],
        "special_tokens":{"<s>":{"id":"<s>","ids":[7],"tokens":["<s>"]}}},
    "model":{"type":"WordLevel","vocab":{"?":0,"a":1,"b":2,"ab":3,"é":4,"\u0000":5,"�":6,"<s>":7,"s":8},"unk_token":"?"}}"#;

fn at<T>(items: &[T]) -> i64 {
    items.as_ptr().expose_provenance() as i64
}

fn at_mut<T>(items: &mut [T]) -> i64 {
    items.as_mut_ptr().expose_provenance() as i64
}

/// A call of the ABI.
macro_rules! abi {
    ($function:ident($($argument:expr),* $(,)?)) => {
        // SAFETY: every use passes addresses of live slices with their lengths, or what must be refused before it is read.
        unsafe { $function($($argument as i64),*) }
    };
}

fn load_with(json: &str, options: &str) -> i64 {
    abi!(quern_load(at(json.as_bytes()), json.len(), at(options.as_bytes()), options.len()))
}

fn load() -> i64 {
    let handle = load_with(JSON, r#"{"format":"huggingface"}"#);
    assert!(handle > 0, "{}", message());
    handle
}

/// A string that a function writes, asked for its length first.
fn string(write: impl Fn(i64, i64) -> i64) -> String {
    let length = write(0, 0);
    assert!(length >= 0);
    let mut out = vec![0xAA_u8; length as usize + 4];
    for capacity in 0..length {
        assert_eq!(write(at_mut(&mut out), capacity), length, "too small is told, whatever the size");
    }
    assert_eq!(write(at_mut(&mut out), length), length);
    assert_eq!(out[length as usize..], [0xAA; 4], "nothing is written past the end");
    String::from_utf8(out[..length as usize].to_vec()).unwrap()
}

fn message() -> String {
    string(|out, capacity| abi!(quern_last_error(out, capacity)))
}

fn ids(handle: i64, text: &[u8], flags: i64) -> Result<Vec<u32>, i64> {
    let mut ids = vec![u32::MAX; text.len() + 4];
    match abi!(quern_encode(handle, at(text), text.len(), flags, at_mut(&mut ids), ids.len())) {
        status @ ..0 => Err(status),
        count => {
            ids.truncate(count as usize);
            Ok(ids)
        }
    }
}

/// The call was refused because of this argument.
fn refused(status: i64, argument: &str) {
    assert_eq!(status, INVALID_ARGUMENT, "{argument}");
    let message = message();
    assert!(message.starts_with(&format!("the argument {argument} ")), "{argument}: {message}");
    assert!(message.contains("; "), "what to do: {message}");
}

#[test]
fn version_and_names() {
    assert_eq!(quern_abi_version(), 1);
    // tests/rules.rs knows which it has to be on which target.
    let allocator = string(|out, capacity| abi!(quern_allocator(out, capacity)));
    assert!(allocator == "system" || cfg!(feature = "mimalloc") && allocator == "mimalloc", "{allocator}");
    assert!(quern_allocated_bytes() >= 0);
    assert_eq!(quern_collect(), 0);
}

#[test]
fn describes() {
    let handle = load();
    let description = string(|out, capacity| abi!(quern_describe(handle, out, capacity)));
    let description: serde_json::Value = serde_json::from_str(&description).unwrap();
    for (key, expected) in [
        ("format", "huggingface".into()),
        ("engine", "reference".into()),
        ("simd", "none".into()),
        ("model", "WordLevel".into()),
        ("vocabulary_size", 9.into()),
        ("notices", serde_json::json!([])),
        ("abi_version", 1.into()),
        ("version", env!("CARGO_PKG_VERSION").into()),
    ] {
        assert_eq!(description[key], expected, "{key}");
    }
    assert!(description["engine_reason"].is_string());
    assert_eq!(description["content_hash"].as_str().unwrap().len(), 64);
    assert_eq!(quern_release(handle), 0);
}

#[test]
fn packed_arguments_are_those_of_encode() {
    let handle = load();
    let text = b"a b ab";
    let mut ids = [9_u32; 4];
    let mut arguments = [handle, at(text), 6, 0, at_mut(&mut ids), 4];
    let packed = |arguments: &[i64; 6]| abi!(quern_encode_packed(at(arguments)));
    assert_eq!(packed(&arguments), 3);
    assert_eq!(abi!(quern_encode(handle, at(text), 6, 0, at_mut(&mut ids), 4)), 3);
    assert_eq!(ids[..3], [1, 2, 3]);
    arguments[5] = 0;
    assert_eq!(packed(&arguments), 3, "without room it counts");
    arguments[2] = -1;
    assert_eq!(packed(&arguments), INVALID_ARGUMENT);
    assert_eq!(abi!(quern_encode_packed(0)), INVALID_ARGUMENT);
    assert_eq!(abi!(quern_encode_packed(at(&arguments) + 1)), INVALID_ARGUMENT);
    assert_eq!(quern_release(handle), 0);
    assert_eq!(packed(&[handle, at(text), 6, 0, 0, 0]), CLOSED);
}

#[test]
fn encodes() {
    let handle = load();
    assert_eq!(ids(handle, b"a b ab \xC3\xA9", 0), Ok(vec![1, 2, 3, 4]));
    assert_eq!(ids(handle, b"a", ADD_SPECIAL_TOKENS), Ok(vec![7, 1]));
    assert_eq!(ids(handle, b"", 0), Ok(vec![]));
    assert_eq!(ids(handle, b"", ADD_SPECIAL_TOKENS), Ok(vec![7]));
    assert_eq!(ids(handle, b"a \0 b", 0), Ok(vec![1, 5, 2]), "NUL is a character like any other");
    assert_eq!(abi!(quern_encode(handle, 0, 0, 0, 0, 0)), 0, "null is fine where nothing is");
    assert_eq!(quern_release(handle), 0);
}

#[test]
fn too_small_is_an_answer() {
    let handle = load();
    let text = b"a b ab a b";
    for capacity in 0..8_usize {
        let mut ids = [u32::MAX; 8];
        let count = abi!(quern_encode(handle, at(text), text.len(), 0, at_mut(&mut ids), capacity));
        assert_eq!(count, 5);
        assert!(ids[capacity..].iter().all(|id| *id == u32::MAX), "nothing is written past the capacity");
        let mut spans = [-1_i64; 16];
        let spans_at = at_mut(&mut spans);
        let count =
            abi!(quern_encode_offsets(handle, at(text), text.len(), 0, at_mut(&mut ids), spans_at, capacity));
        assert_eq!(count, 5);
        assert!(ids[capacity..].iter().all(|id| *id == u32::MAX));
        assert!(spans[2 * capacity..].iter().all(|position| *position == -1));
    }
    assert_eq!(quern_release(handle), 0);
}

#[test]
fn counts_and_spans() {
    let handle = load();
    let text = "é ab".as_bytes();
    assert_eq!(abi!(quern_count(handle, at(text), text.len(), 0)), 2);
    assert_eq!(abi!(quern_count(handle, at(text), text.len(), ADD_SPECIAL_TOKENS)), 3);
    let (mut ids, mut spans) = ([0_u32; 3], [-1_i64; 6]);
    let spans_at = at_mut(&mut spans);
    let count = abi!(quern_encode_offsets(handle, at(text), text.len(), 1, at_mut(&mut ids), spans_at, 3));
    assert_eq!((count, ids, spans), (3, [7, 4, 3], [0, 0, 0, 2, 3, 5]));
    assert_eq!(quern_release(handle), 0);
}

#[test]
fn encodes_batches() {
    let handle = load();
    let text = b"a bab ab";
    let (mut ids, mut id_offsets) = ([0_u32; 6], [-1_i64; 6]);
    // Documents: "a b", "", "ab", " ab", and a last one that is empty; the text's first byte is left out of none.
    let offsets = [0_i64, 3, 3, 5, 8, 8];
    let count = abi!(quern_encode_batch(
        handle,
        at(text),
        text.len(),
        at(&offsets),
        5,
        0,
        at_mut(&mut ids),
        6,
        at_mut(&mut id_offsets)
    ));
    assert_eq!((count, &ids[..4], id_offsets), (4, &[1, 2, 3, 3][..], [0, 2, 2, 3, 4, 4]));
    // Too small: the number needed, and all of the id offsets.
    for capacity in 0..4_usize {
        let mut id_offsets = [-1_i64; 6];
        let id_offsets_at = at_mut(&mut id_offsets);
        let (text_at, ids_at) = (at(text), at_mut(&mut ids));
        let count =
            abi!(quern_encode_batch(handle, text_at, 8, at(&offsets), 5, 0, ids_at, capacity, id_offsets_at));
        assert_eq!((count, id_offsets), (4, [0, 2, 2, 3, 4, 4]));
    }
    // Empty batches.
    let mut one = [-1_i64];
    for offset in [[0_i64], [8]] {
        let count = abi!(quern_encode_batch(handle, at(text), 8, at(&offset), 0, 0, 0, 0, at_mut(&mut one)));
        assert_eq!((count, one), (0, [0]));
    }
    // The document that fails is named, and the position is its own.
    let bad = b"a b\xFFab";
    let offsets = [0_i64, 1, 2, 6];
    let id_offsets_at = at_mut(&mut id_offsets);
    let status = abi!(quern_encode_batch(handle, at(bad), 6, at(&offsets), 3, 0, 0, 0, id_offsets_at));
    assert_eq!((status, quern_last_error_document(), quern_last_error_position()), (INVALID_UTF8, 2, 1));
    // An offset within a character cuts it: both documents are invalid, and replacing helps.
    let text = "é".as_bytes();
    let offsets = [0_i64, 1, 2];
    let status = abi!(quern_encode_batch(handle, at(text), 2, at(&offsets), 2, 0, 0, 0, id_offsets_at));
    assert_eq!((status, quern_last_error_document(), quern_last_error_position()), (INVALID_UTF8, 0, 0));
    let ids_at = at_mut(&mut ids);
    let count = abi!(quern_encode_batch(handle, at(text), 2, at(&offsets), 2, 2, ids_at, 6, id_offsets_at));
    assert_eq!((count, &ids[..2]), (2, &[6, 6][..]));
    assert_eq!(quern_release(handle), 0);
}

/// The same by the fast engine, which does the documents of a batch together: as many as go beyond what it takes at once.
#[test]
fn encodes_batches_with_the_fast_engine() {
    let printed = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..);
    let mut others = '\u{100}'..;
    let mut vocabulary = serde_json::Map::new();
    for byte in 0..=255_u8 {
        let letter = if printed(&byte) { byte.into() } else { others.next().unwrap() };
        vocabulary.insert(letter.to_string(), byte.into());
    }
    vocabulary.insert("ab".into(), 256.into());
    let byte_level = serde_json::json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": true});
    let json = serde_json::json!({
        "version": "1.0", "pre_tokenizer": byte_level, "decoder": byte_level,
        "added_tokens": [{"id": 257, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true}],
        "model": {"type": "BPE", "vocab": vocabulary, "merges": ["a b"]},
    });
    let load = |policy: &str| {
        let options =
            format!(r#"{{"format":"huggingface","engine":"fast","special_tokens_in_text":"{policy}"}}"#);
        let handle = load_with(&json.to_string(), &options);
        assert!(handle > 0, "{}", message());
        handle
    };
    let handle = load("token");
    let (mut text, mut offsets) = (b"not of the batch: ab".to_vec(), vec![20_i64]);
    for document in ["", "ab", "a b ab", "é", "<s>", "a <s>b", "\n\n", " "].iter().cycle().take(3000) {
        text.extend(document.bytes());
        offsets.push(text.len() as i64);
    }
    text.extend(b"b nor this");
    let documents = || offsets.windows(2).map(|pair| &text[pair[0] as usize..pair[1] as usize]);
    let (mut expected, mut ends) = (Vec::new(), vec![0]);
    for document in documents() {
        expected.extend(ids(handle, document, 0).unwrap());
        ends.push(expected.len() as i64);
    }
    assert!(expected.contains(&256) && expected.contains(&257));
    let batch = |handle: i64, text: &[u8], flags: i64, ids: &mut [u32], id_offsets: &mut [i64]| {
        let (ids_at, id_offsets_at) = (at_mut(ids), at_mut(id_offsets));
        let (text_at, offsets_at) = (at(text), at(&offsets));
        abi!(quern_encode_batch(
            handle,
            text_at,
            text.len(),
            offsets_at,
            offsets.len() - 1,
            flags,
            ids_at,
            ids.len(),
            id_offsets_at
        ))
    };
    for flags in [0, ADD_SPECIAL_TOKENS, REPLACE_INVALID_UTF8] {
        for room in [0, 1, expected.len() - 1, expected.len(), expected.len() + 9] {
            let (mut found, mut id_offsets) = (vec![u32::MAX; room], vec![-1; offsets.len()]);
            let count = batch(handle, &text, flags, &mut found, &mut id_offsets);
            assert_eq!((count, &id_offsets), (expected.len() as i64, &ends));
            assert!(room < expected.len() || found[..expected.len()] == expected);
        }
    }
    // One that is not valid, somewhere in the middle: it is named, or becomes what it is alone.
    let mut bad = text.clone();
    let at_fault = offsets[2003] as usize;
    assert_eq!(&text[at_fault..at_fault + 2], "é".as_bytes());
    bad[at_fault + 1] = b'a';
    let (mut found, mut id_offsets) = (vec![u32::MAX; expected.len() + 9], vec![-1; offsets.len()]);
    let status = batch(handle, &bad, 0, &mut found, &mut id_offsets);
    assert_eq!((status, quern_last_error_document(), quern_last_error_position()), (INVALID_UTF8, 2003, 0));
    let count = batch(handle, &bad, REPLACE_INVALID_UTF8, &mut found, &mut id_offsets);
    let (begin, end) = (ends[2003] as usize, ends[2004] as usize);
    let replaced = ids(handle, "\u{FFFD}a".as_bytes(), 0).unwrap();
    let expected = [&expected[..begin], &replaced[..], &expected[end..]].concat();
    assert_eq!((count, &found[..expected.len()]), (expected.len() as i64, &expected[..]));
    assert_eq!(quern_release(handle), 0);
    // A special token that is an error; the first one counts, of whatever kind it is.
    let handle = load("error");
    let status = batch(handle, &text, 0, &mut found, &mut id_offsets);
    assert_eq!((status, quern_last_error_document(), quern_last_error_position()), (SPECIAL_TOKEN, 4, 0));
    bad[offsets[4] as usize] = b'>';
    let status = batch(handle, &bad, 0, &mut found, &mut id_offsets);
    assert_eq!((status, quern_last_error_document(), quern_last_error_position()), (SPECIAL_TOKEN, 5, 2));
    bad[offsets[1] as usize] = 0xFF;
    let status = batch(handle, &bad, 0, &mut found, &mut id_offsets);
    assert_eq!((status, quern_last_error_document(), quern_last_error_position()), (INVALID_UTF8, 1, 0));
    assert_eq!(quern_release(handle), 0);
}

#[test]
fn invalid_utf8_is_found_at_every_position() {
    let handle = load();
    let text = "é ab ".repeat(3);
    for position in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[position] = 0xFF;
        let expected = std::str::from_utf8(&bytes).unwrap_err().valid_up_to() as i64;
        assert_eq!(ids(handle, &bytes, 0), Err(INVALID_UTF8));
        assert_eq!(quern_last_error_position(), expected);
        assert_eq!(quern_last_error_document(), -1);
        assert!(message().contains(&format!("at position {expected}")));
        let lossy = String::from_utf8_lossy(&bytes).into_owned();
        assert_eq!(ids(handle, &bytes, REPLACE_INVALID_UTF8), ids(handle, lossy.as_bytes(), 0));
    }
    assert_eq!(quern_release(handle), 0);
}

#[test]
fn decodes() {
    let handle = load();
    let decode = |ids: &[u32], flags: i64| {
        string(|out, capacity| abi!(quern_decode(handle, at(ids), ids.len(), flags, out, capacity)))
    };
    assert_eq!(decode(&[7, 1, 4], 0), "<s> a é");
    assert_eq!(decode(&[7, 1, 4], SKIP_SPECIAL_TOKENS), "a é");
    assert_eq!(decode(&[], 0), "");
    let unknown = [1_u32, 9];
    assert_eq!(abi!(quern_decode(handle, at(&unknown), 2, 0, 0, 0)), UNKNOWN_ID);
    assert_eq!(quern_last_error_position(), 1);
    for (token, expected) in [("a", 1), ("<s>", 7), ("nothing", UNKNOWN_ID), ("", UNKNOWN_ID)] {
        assert_eq!(abi!(quern_token_id(handle, at(token.as_bytes()), token.len())), expected);
    }
    assert_eq!(quern_release(handle), 0);
}

#[test]
fn special_tokens_in_the_text_follow_the_option() {
    for (policy, expected) in
        [("text", Ok(vec![0, 8, 0])), ("token", Ok(vec![7])), ("error", Err(SPECIAL_TOKEN))]
    {
        let options = format!(r#"{{"format":"huggingface","special_tokens_in_text":"{policy}"}}"#);
        let handle = load_with(JSON, &options);
        assert_eq!(ids(handle, b"<s>", 0), expected, "{policy}");
        assert_eq!(quern_release(handle), 0);
    }
    let handle = load_with(JSON, r#"{"format":"huggingface","special_tokens_in_text":"error"}"#);
    assert_eq!(ids(handle, b"\xFFa <s>", REPLACE_INVALID_UTF8), Err(SPECIAL_TOKEN));
    assert_eq!(quern_last_error_position(), 3, "of the bytes given, not of the replaced text");
    assert_eq!(quern_release(handle), 0);
}

#[test]
fn loading_is_checked() {
    let options = br#"{"format":"huggingface"}"#;
    assert_eq!(load_with("{", r#"{"format":"huggingface"}"#), UNSUPPORTED);
    assert_eq!(load_with("", r#"{"format":"huggingface"}"#), UNSUPPORTED);
    for bad in ["", "{}", r#"{"format":"huggingface","x":1}"#, "\u{0}"] {
        assert_eq!(load_with(JSON, bad), INVALID_ARGUMENT, "{bad}");
        assert!(message().starts_with("the load options"));
    }
    assert_eq!(load_with(JSON, r#"{"format":"huggingface","engine":"fast"}"#), UNSUPPORTED);
    assert!(message().contains("\"fast\" does not know a part of the tokenizer: model WordLevel"));
    refused(abi!(quern_load(0, 5, at(options), options.len())), "file");
    refused(abi!(quern_load(at(JSON.as_bytes()), -1, at(options), options.len())), "file");
    refused(abi!(quern_load(at(JSON.as_bytes()), JSON.len(), 0, 5)), "options");
    refused(abi!(quern_load(at(JSON.as_bytes()), JSON.len(), at(options), i64::MIN)), "options");
}

#[test]
fn every_argument_is_checked() {
    let handle = load();
    let text = b"a b ab a b ab a b ab";
    let (mut ids, mut spans) = ([0_u32; 16], [0_i64; 32]);
    let mut bytes = [0_u8; 16];
    let offsets = [0_i64, 3, 6];
    let mut id_offsets = [0_i64; 3];
    let (text_at, ids_at, spans_at, bytes_at) =
        (at(text), at_mut(&mut ids), at_mut(&mut spans), at_mut(&mut bytes));
    let (offsets_at, id_offsets_at) = (at(&offsets), at_mut(&mut id_offsets));

    refused(abi!(quern_encode(handle, 0, 1, 0, ids_at, 16)), "text");
    refused(abi!(quern_encode(handle, text_at, -1, 0, ids_at, 16)), "text");
    refused(abi!(quern_encode(handle, text_at, i64::MAX, 0, ids_at, 16)), "text");
    refused(abi!(quern_encode(handle, -4, 8, 0, ids_at, 16)), "text");
    refused(abi!(quern_encode(handle, text_at, 20, 0, 0, 16)), "ids");
    refused(abi!(quern_encode(handle, text_at, 20, 0, ids_at, -16)), "ids");
    refused(abi!(quern_encode(handle, text_at, 20, 0, ids_at, i64::MAX)), "ids");
    for shift in 1..4 {
        refused(abi!(quern_encode(handle, text_at, 20, 0, ids_at + shift, 3)), "ids");
    }
    refused(abi!(quern_encode(handle, ids_at, 20, 0, ids_at, 1)), "ids");
    refused(abi!(quern_encode(handle, ids_at + 3, 20, 0, ids_at, 1)), "ids");
    refused(abi!(quern_encode(handle, ids_at, 20, 0, ids_at + 16, 1)), "ids");
    assert_eq!(abi!(quern_encode(handle, ids_at, 16, 0, ids_at + 16, 1)), 1, "side by side is fine");
    for flags in [4, 8, -1, i64::MIN] {
        refused(abi!(quern_encode(handle, text_at, 20, flags, ids_at, 16)), "flags");
        refused(abi!(quern_count(handle, text_at, 20, flags)), "flags");
    }

    refused(abi!(quern_count(handle, 0, 1, 0)), "text");
    refused(abi!(quern_count(handle, text_at, -20, 0)), "text");
    refused(abi!(quern_count(handle, text_at, i64::MAX, 0)), "text");

    refused(abi!(quern_encode_offsets(handle, text_at, 20, 0, ids_at, 0, 16)), "spans");
    refused(abi!(quern_encode_offsets(handle, text_at, 20, 0, 0, spans_at, 16)), "ids");
    refused(abi!(quern_encode_offsets(handle, 0, 20, 0, ids_at, spans_at, 16)), "text");
    refused(abi!(quern_encode_offsets(handle, text_at, 20, 0, ids_at, spans_at, -1)), "ids");
    refused(abi!(quern_encode_offsets(handle, text_at, 20, 8, ids_at, spans_at, 16)), "flags");
    for shift in 1..8 {
        refused(abi!(quern_encode_offsets(handle, text_at, 20, 0, ids_at, spans_at + shift, 8)), "spans");
    }
    refused(abi!(quern_encode_offsets(handle, text_at, 20, 0, spans_at, spans_at, 8)), "ids");
    refused(abi!(quern_encode_offsets(handle, spans_at + 100, 20, 0, ids_at, spans_at, 16)), "spans");

    let batch = |change: &dyn Fn(&mut [i64; 9])| {
        let mut arguments = [handle, text_at, 20, offsets_at, 2, 0, ids_at, 16, id_offsets_at];
        change(&mut arguments);
        let [a, b, c, d, e, f, g, h, i] = arguments;
        abi!(quern_encode_batch(a, b, c, d, e, f, g, h, i))
    };
    assert_eq!(batch(&|_| ()), 3);
    refused(batch(&|a| a[1] = 0), "text");
    refused(batch(&|a| a[2] = -1), "text");
    refused(batch(&|a| a[3] = 0), "offsets");
    refused(batch(&|a| a[3] += 1), "offsets");
    refused(batch(&|a| a[4] = -1), "documents");
    refused(batch(&|a| a[4] = i64::MAX), "documents");
    refused(batch(&|a| a[4] = i64::MAX - 1), "offsets");
    refused(batch(&|a| a[5] = 4), "flags");
    refused(batch(&|a| a[6] = 0), "ids");
    refused(batch(&|a| a[6] += 2), "ids");
    refused(batch(&|a| a[7] = -1), "ids");
    refused(batch(&|a| a[8] = 0), "id_offsets");
    refused(batch(&|a| a[8] += 4), "id_offsets");
    refused(batch(&|a| a[8] = a[3]), "id_offsets");
    refused(batch(&|a| a[6] = a[3]), "ids");
    refused(batch(&|a| a[6] = a[8]), "ids");
    refused(batch(&|a| a[2] = 5), "offsets");
    for wrong in [[0_i64, 4, 3], [3, 2, 6], [-1, 3, 6], [0, 3, 21], [i64::MIN, 0, i64::MAX], [5, i64::MIN, 6]]
    {
        refused(batch(&|a| a[3] = at(&wrong)), "offsets");
    }

    refused(abi!(quern_decode(handle, 0, 1, 0, bytes_at, 16)), "ids");
    refused(abi!(quern_decode(handle, ids_at + 2, 1, 0, bytes_at, 16)), "ids");
    refused(abi!(quern_decode(handle, ids_at, -1, 0, bytes_at, 16)), "ids");
    refused(abi!(quern_decode(handle, ids_at, 1, 0, 0, 16)), "out");
    refused(abi!(quern_decode(handle, ids_at, 1, 0, bytes_at, -16)), "out");
    refused(abi!(quern_decode(handle, ids_at, 16, 0, ids_at + 60, 16)), "out");
    for flags in [1, 2, 3, 8, -1] {
        refused(abi!(quern_decode(handle, ids_at, 1, flags, bytes_at, 16)), "flags");
    }

    refused(abi!(quern_describe(handle, 0, 10)), "out");
    refused(abi!(quern_describe(handle, bytes_at, -1)), "out");
    refused(abi!(quern_token_id(handle, 0, 1)), "token");
    refused(abi!(quern_token_id(handle, bytes_at, -1)), "token");
    refused(abi!(quern_allocator(0, 1)), "out");
    refused(abi!(quern_last_error(bytes_at, -1)), "out");
    refused(abi!(quern_last_error(0, 8)), "out");
    assert_eq!(quern_release(handle), 0);
}

#[test]
fn what_is_no_handle_is_closed() {
    let live = load();
    let released = load();
    assert_eq!(quern_release(released), 0);
    let text = b"a";
    for handle in [released, 0, -1, 1, i64::MAX, i64::MIN, live + (1 << 40), live | i64::MIN] {
        let closed = |status: i64| {
            assert_eq!(status, CLOSED);
            assert!(message().contains("load the tokenizer again"));
        };
        closed(quern_release(handle));
        closed(abi!(quern_describe(handle, 0, 0)));
        closed(abi!(quern_token_id(handle, at(text), 1)));
        closed(abi!(quern_encode(handle, at(text), 1, 0, 0, 0)));
        closed(abi!(quern_encode_offsets(handle, at(text), 1, 0, 0, 0, 0)));
        closed(abi!(quern_count(handle, at(text), 1, 0)));
        closed(abi!(quern_decode(handle, 0, 0, 0, 0, 0)));
        let mut zero = [0_i64];
        let offsets = [0_i64];
        closed(abi!(quern_encode_batch(handle, at(text), 1, at(&offsets), 0, 0, 0, 0, at_mut(&mut zero))));
    }
    assert_eq!(ids(live, b"a", 0), Ok(vec![1]), "others are not touched");
    assert_eq!(quern_release(live), 0);
}

#[test]
fn errors_belong_to_their_thread() {
    let handle = load();
    assert_eq!(ids(handle, b"a\xFF", 0), Err(INVALID_UTF8));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            assert_eq!((message(), quern_last_error_position()), (String::new(), -1));
            assert_eq!(ids(handle, b"ab\xFF", 0), Err(INVALID_UTF8));
            assert_eq!(quern_last_error_position(), 2);
        });
    });
    assert_eq!(quern_last_error_position(), 1);
    assert_eq!(ids(handle, b"a", 0), Ok(vec![1]));
    assert_eq!(quern_last_error_position(), 1, "it stays until the next failing call");
    assert_eq!(quern_release(handle), 0);
}

#[test]
fn one_load_for_many_handles() {
    // A file of its own, so that other tests don't load it.
    let json = JSON.replace("\"ab\":3", "\"abc\":3");
    let loaded = quern_loaded();
    let handles: Vec<i64> = (0..10).map(|_| load_with(&json, r#"{"format":"huggingface"}"#)).collect();
    // Other tests may load others meanwhile.
    assert!(quern_loaded() > loaded);
    let description = |handle: i64| string(|out, capacity| abi!(quern_describe(handle, out, capacity)));
    for handle in &handles {
        assert_eq!(description(*handle), description(handles[0]));
        assert_eq!(ids(*handle, b"abc", 0), Ok(vec![3]));
    }
    for handle in handles {
        assert_eq!(quern_release(handle), 0);
        assert_eq!(quern_release(handle), CLOSED);
    }
}

/// Handles are released and loaded again while other threads encode with them: each call either gives the right ids or
/// finds the handle closed.
#[test]
fn releasing_races_encoding() {
    let handle = AtomicI64Cell::new(load());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let encoders: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let (mut right, mut closed) = (0, 0);
                    while !stop.load(Ordering::Relaxed) || right == 0 {
                        match ids(handle.get(), b"a b ab", 0) {
                            Ok(ids) => {
                                assert_eq!(ids, [1, 2, 3]);
                                right += 1;
                            }
                            Err(status) => {
                                assert_eq!(status, CLOSED);
                                closed += 1;
                            }
                        }
                    }
                    (right, closed)
                })
            })
            .collect();
        for round in 0..500 {
            let old = handle.get();
            // Both orders: a tokenizer that is shared all the time, and one that goes and is read again.
            if round % 2 == 0 {
                handle.set(load());
                assert_eq!(quern_release(old), 0);
            } else {
                assert_eq!(quern_release(old), 0);
                handle.set(load());
            }
        }
        stop.store(true, Ordering::Relaxed);
        for encoder in encoders {
            let (right, closed) = encoder.join().unwrap();
            println!("{right} right, {closed} closed");
        }
    });
    assert_eq!(quern_release(handle.get()), 0);
}

/// Of many threads that release the same handle, one does.
#[test]
fn one_release_wins() {
    for _ in 0..50 {
        let handle = load();
        let wins: i64 = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..4).map(|_| scope.spawn(|| i64::from(quern_release(handle) == 0))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(wins, 1);
    }
}

struct AtomicI64Cell(std::sync::atomic::AtomicI64);

impl AtomicI64Cell {
    fn new(value: i64) -> Self {
        AtomicI64Cell(value.into())
    }

    fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

#[test]
fn a_panic_ends_at_the_border() {
    assert_eq!(call(|| panic!("a literal")), INTERNAL);
    let text = message();
    assert!(text.contains("ffi/src/tests.rs:"), "{text}");
    assert!(text.contains(": a literal; this is a bug"), "{text}");
    let secret = "text of a document";
    assert_eq!(call(|| panic!("{secret}")), INTERNAL);
    assert!(!message().contains(secret));
    assert_eq!(quern_last_error_position(), -1);
    assert_eq!(call(|| Ok(5)), 5);
}

#[test]
fn loading_has_a_stack_and_panics_of_its_call() {
    assert_eq!(call(|| on_a_large_stack(|| panic!("a literal"))), INTERNAL);
    let text = message();
    assert!(text.contains("ffi/src/tests.rs:") && text.contains(": a literal; this is a bug"), "{text}");
    assert_eq!(call(|| on_a_large_stack(|| Ok(5))), 5);
    // On a thread as small as a JVM's, or smaller.
    let small = std::thread::Builder::new().stack_size(256 << 10);
    let thread = small.spawn(|| {
        for depth in [300, 1_500, 100_000] {
            let pattern = format!("{}x{}", "(".repeat(depth), ")".repeat(depth));
            let split = format!(
                r#"{{"type":"Split","pattern":{{"Regex":"{pattern}"}},"behavior":"Isolated","invert":false}}"#
            );
            let json = format!(
                r#"{{"version":"1.0","added_tokens":[],"pre_tokenizer":{split},
                    "model":{{"type":"WordLevel","vocab":{{"a":0}},"unk_token":"a"}}}}"#
            );
            let handle = load_with(&json, r#"{"format":"huggingface"}"#);
            assert_eq!(handle > 0, depth < 2_000, "{depth}: {handle} {}", message());
            quern_release(handle);
            let options = format!(r#"{{"format":"tiktoken","pattern":"{pattern}"}}"#);
            assert_eq!(load_with("YQ== 0\n", &options), UNSUPPORTED);
        }
    });
    thread.unwrap().join().unwrap();
}

#[test]
fn regions_are_checked() {
    let refused = |result: Result<Region<u32>, Failure>| result.err().map(|failure| failure.message).unwrap();
    assert!(refused(Region::check("ids", 8, -1)).contains("ids has a negative length"));
    assert!(refused(Region::check("ids", 0, 1)).contains("ids is null"));
    for address in [5, 6, 7] {
        assert!(refused(Region::check("ids", address, 1)).contains("ids is not aligned"));
    }
    for count in [i64::MAX, i64::MAX / 2, i64::MAX / 4 + 1] {
        assert!(refused(Region::check("ids", 8, count)).contains("ids is longer than memory"));
    }
    assert!(refused(Region::check("ids", -8, 3)).contains("ids reaches past the end"));
    for (address, count) in [(0, 0), (1, 0), (-1, 0), (4, 1), (-8, 1)] {
        assert!(Region::<u32>::check("ids", address, count).is_ok(), "{address} {count}");
    }
}

#[test]
fn overlaps_are_found() {
    let refused = |outputs: &[Place], inputs: &[Place]| disjoint(outputs, inputs).is_err();
    assert!(refused(&[("a", 10, 20)], &[("b", 19, 30)]));
    assert!(refused(&[("a", 10, 20)], &[("b", 0, 11)]));
    assert!(refused(&[("a", 10, 20)], &[("b", 12, 13)]));
    assert!(refused(&[("a", 10, 20), ("c", 15, 16)], &[]));
    assert!(!refused(&[("a", 10, 20)], &[("b", 20, 30), ("c", 0, 10)]));
    assert!(!refused(&[("a", 10, 10)], &[("b", 0, 30)]), "what is empty overlaps nothing");
    assert!(!refused(&[], &[("a", 0, 9), ("b", 0, 9)]), "inputs may overlap");
}
