//! Merges of very long pre-tokens.
//!
//! One heap of all pairs would be many times the size of any cache, and every step through it a miss. Here
//! the places of pairs wait in a list for each rank, and the heap has the ranks only: lists are filled from
//! left to right, mostly, and worked off from left to right, so memory is read and written in order. The
//! merges and their order are those of the one heap: the lowest rank, and of it the leftmost. What a merge
//! makes is longer than what it was made of, so while a rank is worked off nothing is added to its list; where
//! a merge makes a pair of a lower rank, that one goes first and the list waits, and what is added to it
//! in the meantime is in a heap of its own.
//! Test: `long_pre_tokens`.
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

const NONE: u32 = u32::MAX;

/// The places where pairs of one rank were made.
#[derive(Default)]
struct Waiting {
    places: Vec<u32>,
    /// How many of them are done; they are in order once the first one is.
    done: usize,
    started: bool,
    late: BinaryHeap<Reverse<u32>>,
    /// The rank is in the heap of ranks.
    queued: bool,
}

impl Waiting {
    fn leftmost(&mut self) -> Option<u32> {
        let place = self.places.get(self.done).copied();
        match self.late.peek() {
            Some(Reverse(late)) if place.is_none_or(|p| *late < p) => self.late.pop().map(|l| l.0),
            _ => {
                self.done += place.is_some() as usize;
                place
            }
        }
    }
}

/// Spreads ranks, which are small numbers.
#[derive(Default)]
struct Spread(u64);
impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are of 32 bits")
    }
    fn write_u32(&mut self, n: u32) {
        self.0 = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

#[derive(Default)]
struct Queue {
    of: HashMap<u32, Waiting, BuildHasherDefault<Spread>>,
    ranks: BinaryHeap<Reverse<u32>>,
}

impl Queue {
    fn push(&mut self, rank: u32, place: u32) {
        let waiting = self.of.entry(rank).or_default();
        if waiting.started {
            waiting.late.push(Reverse(place));
        } else {
            waiting.places.push(place);
        }
        if !waiting.queued {
            waiting.queued = true;
            self.ranks.push(Reverse(rank));
        }
    }
}

/// `tokens` are symbols, each in the place of its first byte; `next` and `prev` lead to its neighbours' places
/// (the length behind the last one, u32::MAX before the first). `pair` says what two symbols make, which is
/// the rank too, or u32::MAX. Afterwards `next` leads from the first place through those that are left.
pub fn merge(tokens: &mut [u32], next: &mut [u32], prev: &mut [u32], pair: impl Fn(u32, u32) -> u32) {
    let n = tokens.len();
    let mut queue = Queue::default();
    for i in 1..n {
        let made = pair(tokens[i - 1], tokens[i]);
        if made != NONE {
            queue.push(made, i as u32 - 1);
        }
    }
    while let Some(Reverse(made)) = queue.ranks.pop() {
        let mut waiting = std::mem::take(queue.of.get_mut(&made).expect("it is in the heap"));
        if !waiting.started {
            waiting.started = true;
            if !waiting.places.is_sorted() {
                waiting.places.sort_unstable();
            }
        }
        while let Some(at) = waiting.leftmost() {
            let at = at as usize;
            let right = next[at] as usize;
            // Out of date: one of the two is part of another symbol by now.
            if tokens[at] == NONE || right >= n || pair(tokens[at], tokens[right]) != made {
                continue;
            }
            tokens[at] = made;
            tokens[right] = NONE;
            let after = next[right] as usize;
            next[at] = after as u32;
            let mut lowest = NONE;
            if after < n {
                prev[after] = at as u32;
                let m = pair(made, tokens[after]);
                if m != NONE {
                    queue.push(m, at as u32);
                    lowest = m;
                }
            }
            let before = prev[at];
            if before != NONE {
                let m = pair(tokens[before as usize], made);
                if m != NONE {
                    queue.push(m, before);
                    lowest = lowest.min(m);
                }
            }
            if lowest < made {
                waiting.queued = true;
                queue.ranks.push(Reverse(made));
                queue.of.insert(made, waiting);
                break;
            }
        }
    }
}
