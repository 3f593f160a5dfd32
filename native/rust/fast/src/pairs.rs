//! Which token two neighbouring tokens make: the one table that merging asks all the time.
//!
//! A filter of a bit a hash, small enough for the second-level cache, answers most look-ups of pairs that make nothing.
//! For the others each pair has a slot that no other pair has: keys are hashed to buckets of a few, and each
//! bucket has a number, found while loading, that sends its keys to free slots. So a look-up is three loads without a
//! loop, in a form that vector registers can do as well (`lanes`). Test: `finds_what_was_put_in`.
use crate::bpe::prefetch;
use crate::memory::{Carver, Table};

pub const NONE: u32 = u32::MAX;
/// Bits of a token's number; the highest one of them is no token's.
pub const TOKEN_BITS: u32 = 20;
/// Bits of what a pair makes.
pub const VALUE_BITS: u32 = 24;
/// Odd numbers without a pattern.
pub const FACTORS: [u32; 8] =
    [0x9e37_79b1, 0x85eb_ca77, 0xc2b2_ae3d, 0x27d4_eb2f, 0x1656_67b1, 0x2c1b_3c6d, 0x297a_2d39, 0xd6e8_feb9];

pub struct Pairs {
    pub filter: Table<u32>,
    /// A number a bucket, and one that counts for nothing behind the last.
    pub displacements: Table<u16>,
    /// 20 bits of left, 20 of right, 24 of what they make; all ones: free.
    pub slots: Table<u64>,
    pub filter_shift: u32,
    pub bucket_mask: u32,
    pub slot_shift: u32,
}

/// Two hashes of a pair.
#[inline(always)]
fn hashes(left: u32, right: u32) -> (u32, u32) {
    let [a, b, c, d, e, f, ..] = FACTORS;
    let one = left.wrapping_mul(a) ^ right.wrapping_mul(b);
    let one = (one ^ one >> 16).wrapping_mul(c);
    let two = left.wrapping_mul(d).wrapping_add(right.wrapping_mul(e));
    (one ^ one >> 15, (two ^ two >> 15).wrapping_mul(f))
}

#[inline(always)]
fn place(two: u32, displacement: u16) -> u32 {
    (two ^ (displacement as u32).wrapping_mul(FACTORS[6])).wrapping_mul(FACTORS[7])
}

impl Pairs {
    /// Sizes for n pairs: words of the filter, buckets, slots.
    fn sizes(n: usize) -> [usize; 3] {
        let slots = (n + n / 50).next_power_of_two().max(64);
        // Where there is little room, smaller buckets: large ones would be tried too often.
        let buckets = if n > slots / 8 * 7 { n / 2 } else { n / 4 };
        [(n * 8).next_power_of_two().max(1024) / 32, buckets.next_power_of_two().max(16), slots]
    }
    /// What `new` takes of a region.
    pub fn bytes(n: usize) -> usize {
        let [filter, buckets, slots] = Pairs::sizes(n);
        Carver::size::<u32>(filter) + Carver::size::<u16>(buckets + 2) + Carver::size::<u64>(slots + 1)
    }
    /// (left, right, what they make); of equal pairs the last one counts. None: there are no numbers that keep them
    /// apart, which two pairs of the same hashes could cause.
    pub fn new(pairs: &[(u32, u32, u32)], memory: &mut Carver) -> Option<Pairs> {
        let [filter, buckets, slots] = Pairs::sizes(pairs.len());
        let mut made = Pairs {
            filter: memory.table(filter),
            displacements: memory.table(buckets + 2),
            // The last one stays free: what the filter denies is looked up there, without a branch.
            slots: memory.table(slots + 1),
            filter_shift: 32 - filter.trailing_zeros(),
            bucket_mask: buckets as u32 - 1,
            slot_shift: 32 - slots.trailing_zeros(),
        };
        made.slots.fill(u64::MAX);
        // The pairs by bucket, each with what stands in its slot and its second hash; then the buckets by size, the largest
        // first, while there is much room.
        let mut begins = vec![0u32; buckets + 1];
        for (left, right, _) in pairs {
            begins[made.bucket(hashes(*left, *right).0) + 1] += 1;
        }
        for i in 0..buckets {
            begins[i + 1] += begins[i];
        }
        let mut members = vec![(0u64, 0u32); pairs.len()];
        let mut next = begins.clone();
        for (left, right, value) in pairs {
            let (one, two) = hashes(*left, *right);
            made.filter[(one >> made.filter_shift) as usize] |= 1 << (one & 31);
            let at = &mut next[made.bucket(one)];
            members[*at as usize] = (key(*left, *right) | *value as u64, two);
            *at += 1;
        }
        drop(next);
        let size = |b: &u32| begins[*b as usize + 1] - begins[*b as usize];
        let mut order: Vec<u32> = (0..buckets as u32).collect();
        order.sort_by_key(|b| std::cmp::Reverse(size(b)));
        let (mut places, mut last) = (Vec::new(), Vec::<(u64, u32)>::new());
        for b in order {
            last.clear();
            for m in &members[begins[b as usize] as usize..begins[b as usize + 1] as usize] {
                match last.iter_mut().find(|o| (o.0 ^ m.0) >> VALUE_BITS == 0) {
                    Some(o) => *o = *m,
                    None => last.push(*m),
                }
            }
            let found = (0..=u16::MAX).find(|d| {
                places.clear();
                last.iter().all(|(_, two)| {
                    let at = place(*two, *d) >> made.slot_shift;
                    let free = made.slots[at as usize] == u64::MAX && !places.contains(&at);
                    places.push(at);
                    free
                })
            })?;
            made.displacements[b as usize] = found;
            for (slot, at) in last.iter().zip(&places) {
                made.slots[*at as usize] = slot.0;
            }
        }
        Some(made)
    }
    #[inline(always)]
    fn bucket(&self, one: u32) -> usize {
        (one >> 5 & self.bucket_mask) as usize
    }
    /// The slot to look a pair up in (the free one if there is no such pair, or if not `wanted`), and its key.
    #[inline(always)]
    pub fn place(&self, left: u32, right: u32, wanted: bool) -> (usize, u64) {
        let (one, two) = hashes(left, right);
        // SAFETY: the shift, the mask and the shift leave as many bits as each table has.
        let (word, displacement) = unsafe {
            (
                *self.filter.get_unchecked((one >> self.filter_shift) as usize),
                *self.displacements.get_unchecked(self.bucket(one)),
            )
        };
        let known = (word >> (one & 31) & wanted as u32) as usize;
        let slot = (place(two, displacement) >> self.slot_shift) as usize;
        // A select by arithmetic: a branch here would be mispredicted half of the time.
        let free = self.nothing();
        (free ^ ((free ^ slot) & known.wrapping_neg()), key(left, right))
    }
    /// The slot that is free.
    #[inline(always)]
    pub fn nothing(&self) -> usize {
        self.slots.len() - 1
    }
    #[inline(always)]
    pub fn prefetch(&self, slot: usize) {
        prefetch(self.slots.as_ptr().wrapping_add(slot).cast());
    }
    /// What the pair of `place` makes, or NONE.
    #[inline(always)]
    pub fn find(&self, slot: usize, key: u64) -> u32 {
        // SAFETY: a slot that `place` gave.
        let found = unsafe { self.slots.get_unchecked(slot) } ^ key;
        if found >> VALUE_BITS == 0 { found as u32 } else { NONE }
    }
    /// What a pair makes, or NONE.
    #[inline(always)]
    pub fn get(&self, left: u32, right: u32) -> u32 {
        let (slot, key) = self.place(left, right, true);
        self.find(slot, key)
    }
    pub fn table_bytes(&self) -> usize {
        self.filter.bytes() + self.displacements.bytes() + self.slots.bytes()
    }
}

/// All merges of a tokenizer by their pairs, with their ranks: for loading, since it is made in less time than `Pairs`.
pub struct Ranks {
    /// As in `Pairs`.
    filter: Table<u32>,
    /// As in `Pairs`; a pair stands in its place or behind it, with no free one between.
    slots: Table<u64>,
    filter_shift: u32,
    slot_shift: u32,
}

impl Ranks {
    /// Left, right (and what they make), first rank first; of equal pairs the last one counts.
    pub fn new(merges: &[[u32; 3]]) -> Ranks {
        let filter = (merges.len() * 8).next_power_of_two().max(1024) / 32;
        let slots = (merges.len() * 3 / 2).next_power_of_two().max(64);
        let mut memory = Carver::new(Carver::size::<u32>(filter) + Carver::size::<u64>(slots));
        let mut made = Ranks {
            filter: memory.table(filter),
            slots: memory.table(slots),
            filter_shift: 32 - filter.trailing_zeros(),
            slot_shift: 32 - slots.trailing_zeros(),
        };
        made.slots.fill(u64::MAX);
        for (rank, [left, right, _]) in merges.iter().enumerate() {
            let (one, two) = hashes(*left, *right);
            made.filter[(one >> made.filter_shift) as usize] |= 1 << (one & 31);
            let at = made.slot(two, key(*left, *right));
            made.slots[at] = key(*left, *right) | rank as u64;
        }
        made
    }
    /// Where a pair stands, or the free slot where it would.
    #[inline(always)]
    fn slot(&self, two: u32, key: u64) -> usize {
        let mut at = (two >> self.slot_shift) as usize;
        while self.slots[at] != u64::MAX && (self.slots[at] ^ key) >> VALUE_BITS != 0 {
            at = (at + 1) & (self.slots.len() - 1);
        }
        at
    }
    /// The rank at which a pair is merged, or NONE.
    #[inline(always)]
    pub fn get(&self, left: u32, right: u32) -> u32 {
        let (one, two) = hashes(left, right);
        if self.filter[(one >> self.filter_shift) as usize] >> (one & 31) & 1 == 0 {
            return NONE;
        }
        match self.slots[self.slot(two, key(left, right))] {
            u64::MAX => NONE,
            found => found as u32 & ((1 << VALUE_BITS) - 1),
        }
    }
}

#[inline(always)]
fn key(left: u32, right: u32) -> u64 {
    ((left as u64) << TOKEN_BITS | right as u64) << VALUE_BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_put_in() {
        for n in [0, 1, 2, 63, 64, 65, 1000, 50_000, 128_400, 131_000] {
            // All pairs are different: the left ones count up.
            let mut pairs: Vec<(u32, u32, u32)> =
                (0..n).map(|i| (i * 7 % 262_139, (i ^ i >> 3) & 0x3ffff, i)).collect();
            // The first ones again, as something else.
            for i in 0..pairs.len() / 10 {
                pairs.push((pairs[i].0, pairs[i].1, 1 << 20 | i as u32));
                pairs[i].2 = 1 << 20 | i as u32;
            }
            let table = Pairs::new(&pairs, &mut Carver::new(Pairs::bytes(pairs.len()))).unwrap();
            for (left, right, value) in &pairs {
                assert_eq!(table.get(*left, *right), *value);
                assert_eq!(table.get(*left, *right ^ 0x40000), NONE);
                assert_eq!(table.get(*left ^ 0x80000, *right), NONE);
                let (slot, key) = table.place(*left, *right, false);
                assert_eq!(table.find(slot, key), NONE);
            }
            let merges: Vec<_> = pairs.iter().map(|(left, right, _)| [*left, *right, 0]).collect();
            let ranks = Ranks::new(&merges);
            for (rank, (left, right, _)) in pairs.iter().enumerate() {
                // Those at the end are the first ones again.
                let last = if rank < pairs.len() - n as usize { n as usize + rank } else { rank };
                assert_eq!(ranks.get(*left, *right), last as u32);
                assert_eq!(ranks.get(*left, *right ^ 0x40000), NONE);
            }
        }
    }
}
