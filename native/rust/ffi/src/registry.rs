//! The tokenizers of this process: one loaded copy for each content hash, engine and size of caches, and the handles that callers hold.
//!
//! It lives in native code so that several class loaders of one JVM share it too. Every load gives a handle of its own,
//! so one owner's second release can't take another's tokenizer away. A handle is a slot number and the slot's
//! generation, never an address: one that was released, or never given, is recognised as such.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use quern_engine::{EngineChoice, Error, Options, Tokenizer};

type Key = (String, EngineChoice, u64);

#[derive(Default)]
pub(crate) struct Registry {
    /// A key's own lock is held while its file is read, so that threads that ask for the same file at once wait for one
    /// load, and loads of different files don't wait for each other.
    loaded: Mutex<HashMap<Key, Arc<Mutex<Weak<Tokenizer>>>>>,
    slots: RwLock<Slots>,
    loads: AtomicI64,
}

#[derive(Default)]
struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

struct Slot {
    /// From 1 on; that of a live handle's slot equals the handle's.
    generation: u32,
    tokenizer: Option<Arc<Tokenizer>>,
}

const LAST_GENERATION: u32 = i32::MAX as u32;

impl Registry {
    /// A new handle (> 0) for the tokenizer of this file and these options, which is read only if no live handle has it.
    pub(crate) fn load(&self, file: &[u8], options: &Options) -> Result<i64, Error> {
        let content_hash = options.content_hash(file);
        let key = (content_hash.clone(), options.engine, options.cache_bytes_per_thread);
        let shared = {
            let mut loaded = lock(&self.loaded);
            // Forget what is gone: dead, and nobody about to load it again.
            loaded.retain(|_, entry| {
                Arc::strong_count(entry) > 1 || entry.try_lock().is_ok_and(|weak| weak.strong_count() > 0)
            });
            Arc::clone(loaded.entry(key).or_default())
        };
        let mut shared = lock(&shared);
        let tokenizer = match shared.upgrade() {
            Some(tokenizer) => tokenizer,
            None => {
                let tokenizer = Arc::new(Tokenizer::load_hashed(file, options, content_hash)?);
                self.loads.fetch_add(1, Ordering::Relaxed);
                *shared = Arc::downgrade(&tokenizer);
                tokenizer
            }
        };
        Ok(self.insert(tokenizer))
    }

    fn insert(&self, tokenizer: Arc<Tokenizer>) -> i64 {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        let index = slots.free.pop().unwrap_or_else(|| {
            slots.slots.push(Slot { generation: 0, tokenizer: None });
            u32::try_from(slots.slots.len() - 1).expect("memory ends before 2^32 handles")
        });
        let slot = &mut slots.slots[index as usize];
        slot.generation += 1;
        slot.tokenizer = Some(tokenizer);
        i64::from(slot.generation) << 32 | i64::from(index)
    }

    /// The tokenizer of a live handle. It stays usable for as long as the answer is kept, even if the handle is released.
    pub(crate) fn get(&self, handle: i64) -> Option<Arc<Tokenizer>> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        let slot = slots.slots.get((handle & 0xFFFF_FFFF) as usize)?;
        slot.tokenizer.as_ref().filter(|_| i64::from(slot.generation) == handle >> 32).cloned()
    }

    /// Ends a handle. Memory goes when its last user and the last running call have gone. False if it was not live.
    pub(crate) fn release(&self, handle: i64) -> bool {
        let released = {
            let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
            let index = (handle & 0xFFFF_FFFF) as usize;
            let slot = slots.slots.get_mut(index).filter(|slot| i64::from(slot.generation) == handle >> 32);
            let Some(slot) = slot else { return false };
            let released = slot.tokenizer.take();
            // A slot whose generations are used up is left alone, so that no handle ever comes back.
            if released.is_some() && slot.generation < LAST_GENERATION {
                slots.free.push(index as u32);
            }
            released
        };
        released.is_some() // dropped here, outside the lock
    }

    /// How many times a file was really read, since the start of the process.
    pub(crate) fn loads(&self) -> i64 {
        self.loads.load(Ordering::Relaxed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while loading leaves the map and the weak reference as they were, so there is nothing to distrust.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quern_engine::{Format, Kind};

    const FILE: &[u8] = br#"{"version":"1.0","added_tokens":[],"normalizer":null,"pre_tokenizer":null,
        "post_processor":null,"decoder":null,"model":{"type":"WordLevel","vocab":{"a":0,"?":1},"unk_token":"?"}}"#;

    fn options() -> Options {
        Options::new(Format::HuggingFace)
    }

    #[test]
    fn one_load_for_each_hash_and_engine() {
        let registry = Registry::default();
        let first = registry.load(FILE, &options()).unwrap();
        let second = registry.load(FILE, &options()).unwrap();
        assert_ne!(first, second);
        assert_eq!(registry.loads(), 1);
        let reference = Options { engine: EngineChoice::Reference, ..options() };
        let third = registry.load(FILE, &reference).unwrap();
        assert_eq!(registry.loads(), 2);
        assert!(registry.release(first));
        assert!(registry.get(second).is_some());
        assert!(registry.release(second));
        assert!(registry.release(third));
        assert!(registry.get(second).is_none());
        registry.load(FILE, &options()).unwrap();
        assert_eq!(registry.loads(), 3, "what nobody holds is read again");
        assert_eq!(lock(&registry.loaded).len(), 1, "and what is gone is forgotten");
    }

    #[test]
    fn stale_and_made_up_handles_are_none() {
        let registry = Registry::default();
        let first = registry.load(FILE, &options()).unwrap();
        assert!(first > 0);
        assert!(registry.release(first));
        assert!(!registry.release(first));
        let second = registry.load(FILE, &options()).unwrap();
        assert_eq!(second & 0xFFFF_FFFF, first & 0xFFFF_FFFF, "the slot is used again");
        assert!(registry.get(first).is_none());
        assert!(!registry.release(first));
        for handle in [0, -1, 1, second + 1, second + (1 << 32), i64::MAX, i64::MIN, second | i64::MIN] {
            assert!(registry.get(handle).is_none(), "{handle}");
            assert!(!registry.release(handle), "{handle}");
        }
        assert!(registry.get(second).is_some());
    }

    #[test]
    fn a_used_up_slot_is_not_used_again() {
        let registry = Registry::default();
        let first = registry.load(FILE, &options()).unwrap();
        registry.slots.write().unwrap().slots[0].generation = LAST_GENERATION;
        let last = i64::from(LAST_GENERATION) << 32;
        assert!(registry.get(first).is_none());
        assert!(registry.release(last));
        let next = registry.load(FILE, &options()).unwrap();
        assert_eq!(next & 0xFFFF_FFFF, 1);
        assert!(next > 0);
    }

    #[test]
    fn a_failed_load_gives_no_handle_and_may_be_repeated() {
        let registry = Registry::default();
        for _ in 0..2 {
            assert_eq!(registry.load(b"{", &options()).unwrap_err().kind, Kind::Unsupported);
        }
        assert_eq!(registry.loads(), 0);
    }

    #[test]
    fn a_released_tokenizer_serves_the_call_that_has_it() {
        let registry = Registry::default();
        let handle = registry.load(FILE, &options()).unwrap();
        let tokenizer = registry.get(handle).unwrap();
        assert!(registry.release(handle));
        assert_eq!(tokenizer.count(b"a", quern_engine::Encode::default()), Ok(1));
    }

    #[test]
    fn threads_that_load_at_once_load_once() {
        let registry = Registry::default();
        let start = std::sync::Barrier::new(8);
        let handles: Vec<i64> = std::thread::scope(|scope| {
            let load = || {
                start.wait();
                registry.load(FILE, &options()).unwrap()
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(load)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(registry.loads(), 1);
        assert!(handles.into_iter().all(|handle| registry.release(handle)));
    }
}
