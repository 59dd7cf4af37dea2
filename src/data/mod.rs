//! The value types. They know no key, no client, no command and no reply.

pub mod ahead;
pub mod bitmap;
pub mod block;
pub mod cold;
mod either;
mod field_names;
pub mod geo;
pub mod hash;
mod holder;
pub mod hyperloglog;
mod images;
mod indexed;
pub mod item;
pub mod list;
pub mod listpack;
mod packed;
pub mod set;
pub mod stream;
pub mod string;
pub mod zset;

use crate::config::{EventClasses, Limits};
use images::PieceWalk;

pub use cold::Cold;
pub use hash::Hash;
pub use list::List;
pub use set::Set;
pub use stream::Stream;
pub use string::Str;
pub use zset::Zset;

/// What a key holds. Never matched with `_`, so that the compiler lists what a new type needs.
#[derive(Clone, Debug)]
pub enum Value {
    Str(Str),
    List(List),
    Hash(Hash),
    Set(Set),
    Zset(Zset),
    Stream(Stream),
    /// A string or a hash at rest. Only `Keyspace` and who does not look inside meet it.
    Cold(Cold),
}

/// One of the value types, so that handlers can ask for a key "as a list".
pub trait Typed: Sized {
    /// The type's class of keyspace events.
    const CLASS: EventClasses;
    fn of(value: &Value) -> Option<&Self>;
    fn of_mut(value: &mut Value) -> Option<&mut Self>;
    fn wrap(self) -> Value;
    fn empty() -> Self;
    /// An empty collection's key is removed; strings and streams may be empty.
    fn is_vacant(&self) -> bool;
    /// Called once after each command that changed the value: settles what OBJECT ENCODING says,
    /// where that is not known before.
    fn settle(&mut self, _limits: &Limits) {}
}

macro_rules! typed {
    ($($type:ident $class:ident vacant $vacant:expr $(, $settle:ident)?;)*) => {$(
        impl Typed for $type {
            const CLASS: EventClasses = EventClasses::$class;
            fn of(value: &Value) -> Option<&Self> {
                match value { Value::$type(it) => Some(it), _ => None }
            }
            fn of_mut(value: &mut Value) -> Option<&mut Self> {
                match value { Value::$type(it) => Some(it), _ => None }
            }
            fn wrap(self) -> Value { Value::$type(self) }
            fn empty() -> Self { Self::new() }
            fn is_vacant(&self) -> bool { let vacant: fn(&Self) -> bool = $vacant; vacant(self) }
            $(fn $settle(&mut self, limits: &Limits) { $type::$settle(self, limits) })?
        }
    )*};
}

typed! {
    Str STRING vacant |_| false;
    List LIST vacant List::is_empty, settle;
    Hash HASH vacant Hash::is_empty;
    Set SET vacant Set::is_empty;
    Zset ZSET vacant Zset::is_empty;
    Stream STREAM vacant |_| false;
}

impl Value {
    /// The name that TYPE answers.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Str(_) => "string",
            Value::List(_) => "list",
            Value::Hash(_) => "hash",
            Value::Set(_) => "set",
            Value::Zset(_) => "zset",
            Value::Stream(_) => "stream",
            Value::Cold(it) if it.is_str() => "string",
            Value::Cold(_) => "hash",
        }
    }

    /// The name that OBJECT ENCODING answers.
    pub fn encoding(&self) -> &'static str {
        match self {
            Value::Str(it) => it.encoding(),
            Value::List(it) => it.encoding(),
            Value::Hash(it) => it.encoding(),
            Value::Set(it) => it.encoding(),
            Value::Zset(it) => it.encoding(),
            Value::Stream(it) => it.encoding(),
            Value::Cold(it) => it.encoding(),
        }
    }

    /// What freeing it gives back piece by piece, where that takes long: lists are few pieces,
    /// and large ones.
    #[inline]
    pub fn pieces(&self) -> usize {
        match self {
            Value::Hash(it) => it.pieces(),
            Value::Set(it) => it.pieces(),
            Value::Zset(it) => it.pieces(),
            Value::Stream(it) => it.pieces(),
            Value::Str(_) | Value::List(_) | Value::Cold(_) => 0,
        }
    }

    /// Frees some of its pieces, about so many. It is good for nothing but that from then on.
    pub fn crumble(&mut self, count: usize) {
        match self {
            Value::Hash(it) => it.crumble(count),
            Value::Set(it) => it.crumble(count),
            Value::Zset(it) => it.crumble(count),
            Value::Stream(it) => it.crumble(count),
            Value::Str(_) | Value::List(_) | Value::Cold(_) => {}
        }
    }

    /// Begins to read it piece by piece as it is now, while it may change: a sorted set, a set or a
    /// hash, if it is large. False if it cannot be read so. A copy of it has no walk.
    pub fn begin_walk(&mut self, number: u32) -> bool {
        match self {
            Value::Hash(it) => it.begin_walk(number),
            Value::Set(it) => it.begin_walk(number),
            Value::Zset(it) => it.begin_walk(number),
            Value::Str(_) | Value::List(_) | Value::Stream(_) | Value::Cold(_) => false,
        }
    }

    /// The number of the walk over it; None if there is no walk.
    pub fn walk_number(&self) -> Option<u32> {
        self.walk()?.number()
    }

    /// Bytes that are kept of what has changed since the walk began, about.
    pub fn walk_bytes(&self) -> usize {
        self.walk().map_or(0, |walk| walk.noted_bytes())
    }

    /// Ends the walk, whether or not it was over all.
    pub fn end_walk(&mut self) {
        let walk = match self {
            Value::Hash(it) => return it.end_walk(),
            Value::Set(it) => it.walk_mut(),
            Value::Zset(it) => it.walk_mut(),
            Value::Str(_) | Value::List(_) | Value::Stream(_) | Value::Cold(_) => None,
        };
        walk.into_iter().for_each(PieceWalk::end);
    }

    fn walk(&self) -> Option<&dyn PieceWalk> {
        match self {
            Value::Hash(it) => it.walk(),
            Value::Set(it) => it.walk(),
            Value::Zset(it) => it.walk(),
            Value::Str(_) | Value::List(_) | Value::Stream(_) | Value::Cold(_) => None,
        }
    }

    /// Bytes of a string, elements or entries of anything else.
    pub fn size(&self) -> usize {
        match self {
            Value::Str(it) => it.len(),
            Value::List(it) => it.len(),
            Value::Hash(it) => it.len(),
            Value::Set(it) => it.len(),
            Value::Zset(it) => it.len(),
            Value::Stream(it) => it.len(),
            Value::Cold(it) => it.size(),
        }
    }

    /// Bytes of memory that the value holds beyond its own slot.
    pub fn heap_size(&self) -> usize {
        match self {
            Value::Str(it) => it.heap_size(),
            Value::List(it) => it.heap_size(),
            Value::Hash(it) => it.heap_size(),
            Value::Set(it) => it.heap_size(),
            Value::Zset(it) => it.heap_size(),
            Value::Stream(it) => it.heap_size(),
            Value::Cold(it) => it.heap_size(),
        }
    }
}
