//! Values at rest: a string or a packed hash, compressed as a whole.
//!
//! Whoever owns the keys freezes a value in place and thaws it before anybody looks inside. What
//! can be told from outside (type, encoding, size) is told without thawing.

use crate::data::Value;
use crate::data::hash::Hash;
use crate::data::string::Str;
use crate::util::exact::{alloc, dealloc};
use crate::util::zstd::{Compressing, Dictionary, Zstd};
use std::alloc::{Layout, handle_alloc_error};
use std::borrow::Cow;
use std::fmt;
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::slice;

/// What the text of a frozen value is to become again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum ColdKind {
    Str,
    EditedStr,
    /// Those by which Redis's encoding is told from outside.
    Listpack,
    ListpackEx,
    Hashtable,
}

/// Stands before the frame.
struct ColdHead {
    dictionary: Rc<Dictionary>,
    frame_len: u16,
    kind: ColdKind,
    /// Bytes of the string, or fields of the hash.
    size: u32,
}

const FRAME_AT: usize = size_of::<ColdHead>();

/// A frozen value: one pointer, to its head and its frame.
pub struct Cold(NonNull<ColdHead>);

/// The text that stands for a value, if that is of a kind that freezes.
pub fn text_of(value: &Value) -> Option<Cow<'_, [u8]>> {
    match value {
        Value::Str(string) => string.long_text().map(Cow::Borrowed),
        Value::Hash(hash) => hash.packed_text(),
        Value::List(_) | Value::Set(_) | Value::Zset(_) | Value::Stream(_) | Value::Cold(_) => None,
    }
}

impl Cold {
    /// Freezes a value, if that saves a quarter of its memory.
    pub fn freeze(
        value: &Value,
        zstd: &mut Zstd,
        dictionary: &Rc<Dictionary>,
        compressing: &Compressing,
    ) -> Option<Self> {
        let text = text_of(value)?;
        let kind = match value {
            Value::Str(string) if string.is_edited() => ColdKind::EditedStr,
            Value::Str(_) => ColdKind::Str,
            _ => match value.encoding() {
                "hashtable" => ColdKind::Hashtable,
                "listpackex" => ColdKind::ListpackEx,
                _ => ColdKind::Listpack,
            },
        };
        let frame = zstd.compress(&text, compressing)?;
        let is_worth_it = FRAME_AT + frame.len() <= value.heap_size() / 4 * 3;
        let size = u32::try_from(value.size()).ok()?;
        is_worth_it.then(|| Self::new(kind, size, dictionary.clone(), frame))
    }

    /// The value that was frozen.
    pub fn thaw(&self, zstd: &mut Zstd) -> Value {
        let head = self.head();
        let text = zstd.restore(self.frame(), &head.dictionary);
        let text = text.expect("the frame was made here, with this dictionary");
        match head.kind {
            ColdKind::Str => Value::Str(Str::of_long_text(text, false)),
            ColdKind::EditedStr => Value::Str(Str::of_long_text(text, true)),
            ColdKind::Listpack | ColdKind::ListpackEx | ColdKind::Hashtable => {
                Value::Hash(Hash::of_packed_text(text).expect("the text was a hash's"))
            }
        }
    }

    pub fn is_str(&self) -> bool {
        matches!(self.head().kind, ColdKind::Str | ColdKind::EditedStr)
    }

    pub fn encoding(&self) -> &'static str {
        match self.head().kind {
            ColdKind::Str | ColdKind::EditedStr => "raw",
            ColdKind::Listpack => "listpack",
            ColdKind::ListpackEx => "listpackex",
            ColdKind::Hashtable => "hashtable",
        }
    }

    pub fn size(&self) -> usize {
        self.head().size as usize
    }

    pub fn heap_size(&self) -> usize {
        Self::layout(self.frame().len()).size()
    }

    fn new(kind: ColdKind, size: u32, dictionary: Rc<Dictionary>, frame: &[u8]) -> Self {
        let frame_len = frame.len().try_into().expect("a frame is shorter than its text");
        let layout = Self::layout(frame.len());
        // SAFETY: the layout has room for the head and for the frame behind it, and is never empty.
        unsafe {
            let Some(head) = NonNull::new(alloc(layout).cast::<ColdHead>()) else {
                handle_alloc_error(layout);
            };
            head.write(ColdHead { dictionary, frame_len, kind, size });
            let start = head.as_ptr().cast::<u8>().add(FRAME_AT);
            ptr::copy_nonoverlapping(frame.as_ptr(), start, frame.len());
            Self(head)
        }
    }

    fn head(&self) -> &ColdHead {
        // SAFETY: the head was written in `new`, and lives as long as `self`.
        unsafe { self.0.as_ref() }
    }

    fn frame(&self) -> &[u8] {
        let len = self.head().frame_len.into();
        // SAFETY: as many bytes were written there in `new`, and nobody changes them.
        unsafe { slice::from_raw_parts(self.0.as_ptr().cast::<u8>().add(FRAME_AT), len) }
    }

    fn layout(frame_len: usize) -> Layout {
        let size = FRAME_AT + frame_len;
        Layout::from_size_align(size, align_of::<ColdHead>()).expect("the layout is valid")
    }
}

impl Clone for Cold {
    fn clone(&self) -> Self {
        let head = self.head();
        Self::new(head.kind, head.size, head.dictionary.clone(), self.frame())
    }
}

impl fmt::Debug for Cold {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:?} in {} bytes", self.head().kind, self.frame().len())
    }
}

impl Drop for Cold {
    fn drop(&mut self) {
        let layout = Self::layout(self.frame().len());
        // SAFETY: the head and the memory, of this layout, are this value's own, and are not used
        // any more.
        unsafe {
            self.0.drop_in_place();
            dealloc(self.0.as_ptr().cast(), layout);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;
    use crate::util::rng::Rng;
    use crate::util::shared::Recent;

    /// A value's text from which another one differs in a few places.
    fn text(number: usize) -> String {
        format!(r#"{{"order":{number},"customer":"Ann","items":["apple","pear"],"paid":true}}"#)
    }

    fn hash(number: usize) -> Value {
        let mut hash = Hash::new();
        hash.set(b"name", b"paint", &Limits::DEFAULT);
        hash.set(b"data", text(number).as_bytes(), &Limits::DEFAULT);
        hash.set(b"timestamp", b"1700000000000", &Limits::DEFAULT);
        Value::Hash(hash)
    }

    struct Bench {
        zstd: Zstd,
        dictionary: Rc<Dictionary>,
        compressing: Compressing,
    }

    impl Bench {
        fn new() -> Self {
            let samples: Vec<Value> = (0..32).map(hash).collect();
            let texts: Vec<_> = samples.iter().filter_map(text_of).collect();
            let dictionary = Dictionary::learn(&texts).unwrap();
            let compressing = dictionary.compressing();
            Self { zstd: Zstd::new(), dictionary, compressing }
        }

        fn freeze(&mut self, value: &Value) -> Option<Cold> {
            Cold::freeze(value, &mut self.zstd, &self.dictionary, &self.compressing)
        }
    }

    #[test]
    fn what_thaws_is_what_was_frozen() {
        let mut bench = Bench::new();
        let mut edited = Str::of_bytes(text(1).as_bytes());
        edited.append(b"!");
        let mut large = Hash::new();
        large.set(b"data", text(5).repeat(20).as_bytes(), &Limits::DEFAULT);
        let small_limits = Limits { hash_value_bytes_max: 5_000, ..Limits::default() };
        let mut listpack = Hash::new();
        listpack.set(b"data", text(6).as_bytes(), &small_limits);
        for value in [
            Value::Str(Str::of_bytes(text(0).as_bytes())),
            Value::Str(Str::of_bytes(text(7).repeat(500).as_bytes())),
            Value::Str(edited),
            Value::Hash(large),
            Value::Hash(listpack),
            hash(77),
        ] {
            let cold = bench.freeze(&value).unwrap();
            assert_eq!(cold.encoding(), value.encoding());
            assert!(cold.heap_size() < value.heap_size());
            for cold in [cold.clone(), cold] {
                let thawed = cold.thaw(&mut bench.zstd);
                let frozen = Value::Cold(cold);
                assert_eq!(frozen.type_name(), value.type_name());
                assert_eq!(frozen.size(), value.size());
                assert_eq!(format!("{thawed:?}"), format!("{value:?}"));
                assert_eq!(thawed.encoding(), value.encoding());
                assert_eq!(thawed.heap_size(), text_of(&value).unwrap().len() + 4);
            }
        }
    }

    /// A frozen value is no holder of what hashes share.
    #[test]
    fn what_was_shared_thaws_as_a_text() {
        let mut bench = Bench::new();
        let mut recent = Recent::default();
        let mut job = || {
            let mut hash = Hash::new();
            hash.set(b"opts", br#"{"delay":3600000,"attempts":0}"#, &Limits::DEFAULT);
            hash.set(b"data", text(3).repeat(4).as_bytes(), &Limits::DEFAULT);
            hash.share(&mut recent);
            hash
        };
        let (plain, shared) = (Value::Hash(job()), Value::Hash(job()));
        assert!(shared.heap_size() < plain.heap_size());
        let cold = bench.freeze(&shared).unwrap();
        drop((shared, recent));
        assert_eq!(format!("{:?}", cold.thaw(&mut bench.zstd)), format!("{plain:?}"));
    }

    #[test]
    fn what_saves_too_little_stays() {
        let mut bench = Bench::new();
        let mut rng = Rng::from_seed(1);
        let noise: Vec<u8> = (0..500).map(|_| rng.next_u64() as u8).collect();
        let mut list = crate::data::List::new();
        list.push_back(text(1).as_bytes());
        let mut many = Hash::new();
        (0..1_000).for_each(|number| {
            _ = many.set(format!("{number}").as_bytes(), b"1", &Limits::DEFAULT)
        });
        for value in [
            Value::Str(Str::of_bytes(&noise)),
            Value::Str(Str::of_integer(12)),
            Value::Str(Str::of_bytes(b"short")),
            Value::Str(Str::of_bytes(text(1).repeat(2_000).as_bytes())),
            Value::List(list),
            Value::Hash(many),
        ] {
            assert!(bench.freeze(&value).is_none(), "{value:?}");
        }
    }

    #[test]
    fn a_dictionary_lives_as_long_as_what_needs_it() {
        let mut bench = Bench::new();
        let values: Vec<Cold> = (0..3).map(|number| bench.freeze(&hash(number)).unwrap()).collect();
        let Bench { mut zstd, dictionary, .. } = bench;
        let dictionary = {
            let own = dictionary;
            Rc::downgrade(&own)
        };
        assert_eq!(dictionary.strong_count(), 3);
        let copy = values[1].clone();
        for (number, cold) in values.into_iter().enumerate() {
            let thawed = cold.thaw(&mut zstd);
            assert_eq!(format!("{thawed:?}"), format!("{:?}", hash(number)));
        }
        assert_eq!(dictionary.strong_count(), 1);
        drop(copy);
        assert_eq!(dictionary.strong_count(), 0);
    }

    #[test]
    fn a_frozen_value_takes_a_pointer() {
        assert_eq!(size_of::<Cold>(), 8);
        assert_eq!(size_of::<Value>(), 16);
    }
}
