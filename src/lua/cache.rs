//! Scripts by name.
//!
//! What came by SCRIPT LOAD stays until SCRIPT FLUSH. What came by EVAL is kept as well, since it
//! mostly comes again, but of these only the last used ones stay, as in Redis: a client that writes
//! its arguments into the source would fill the memory.

use super::script::{self, Script, ScriptFlags, Sha};
use super::vm::Vm;
use crate::proto::Result;
use std::collections::HashMap;
use std::rc::Rc;

/// Scripts that came by EVAL and are kept; the least recently used one beyond goes, as in Redis.
const EVAL_SCRIPTS_MAX: usize = 500;

#[derive(Default)]
pub(super) struct Cache {
    scripts: HashMap<Sha, Rc<Script>, ahash::RandomState>,
    /// Those of them that came by EVAL alone, in no order.
    evictable: Vec<Rc<Script>>,
    source_bytes: usize,
    uses: u64,
    evicted: u64,
}

impl Cache {
    /// An empty one that goes on counting what was evicted.
    pub fn after(other: &Self) -> Self {
        Self { evicted: other.evicted, ..Self::default() }
    }

    /// The script of that name, if it is cached. It counts as used.
    pub fn find(&mut self, sha: &Sha) -> Option<Rc<Script>> {
        let script = self.scripts.get(sha)?;
        self.uses += 1;
        script.used.set(self.uses);
        Some(script.clone())
    }

    /// As `find`, but it does not count as used.
    pub fn peek(&self, sha: &Sha) -> Option<&Script> {
        self.scripts.get(sha).map(|script| &**script)
    }

    /// Finds or compiles what EVAL was given. It may be evicted when many others came after it.
    ///
    /// # Errors
    ///
    /// What Lua's compiler says of the source.
    pub fn eval(&mut self, vm: &Vm, source: &[u8]) -> Result<Rc<Script>> {
        let sha = Sha::of(source);
        if let Some(script) = self.find(&sha) {
            return Ok(script);
        }
        let script = self.add(vm, source, sha)?;
        self.evictable.push(script.clone());
        if self.evictable.len() > EVAL_SCRIPTS_MAX {
            self.evict(vm);
        }
        Ok(script)
    }

    /// Finds or compiles what SCRIPT LOAD was given. It stays until the cache goes.
    ///
    /// # Errors
    ///
    /// What Lua's compiler says of the source.
    pub fn load(&mut self, vm: &Vm, source: &[u8]) -> Result<Rc<Script>> {
        let sha = Sha::of(source);
        let Some(script) = self.find(&sha) else { return self.add(vm, source, sha) };
        self.evictable.retain(|other| !Rc::ptr_eq(other, &script));
        Ok(script)
    }

    fn add(&mut self, vm: &Vm, source: &[u8], sha: Sha) -> Result<Rc<Script>> {
        let script = Rc::new(script::compile(vm.main(), source, sha)?);
        vm.pace();
        self.uses += 1;
        script.used.set(self.uses);
        self.source_bytes += script.source_size;
        self.scripts.insert(sha, script.clone());
        Ok(script)
    }

    /// Lets go of the script by EVAL that was not used for longest.
    fn evict(&mut self, vm: &Vm) {
        let places = 0..self.evictable.len();
        let Some(place) = places.min_by_key(|&place| self.evictable[place].used.get()) else {
            return;
        };
        let oldest = self.evictable.swap_remove(place);
        self.scripts.remove(&oldest.sha);
        self.source_bytes -= oldest.source_size;
        self.evicted += 1;
        let lua = vm.main();
        lua.forget(oldest.function);
        oldest.words.iter().for_each(|key| lua.forget(key.get()));
    }

    /// What a cached script declares; None if it declares nothing, or is not cached.
    pub fn flags(&self, sha: &Sha) -> Option<ScriptFlags> {
        self.peek(sha).map(|script| script.flags).filter(|flags| flags.declared)
    }

    pub fn len(&self) -> usize {
        self.scripts.len()
    }

    /// Bytes of the cached scripts' sources.
    pub fn source_bytes(&self) -> usize {
        self.source_bytes
    }

    /// How many scripts left for others.
    pub fn evicted_count(&self) -> u64 {
        self.evicted
    }
}

#[cfg(test)]
mod tests {
    use super::super::Lua;
    use super::super::fake::MEMORY_BYTES_MAX;
    use super::*;

    #[test]
    fn scripts_by_eval_leave_when_there_are_many() {
        let mut lua = Lua::new(MEMORY_BYTES_MAX);
        let pinned = lua.load(b"return 'pinned'").unwrap().sha;
        let first = lua.eval(b"return 0").unwrap().sha;
        for number in 1..=EVAL_SCRIPTS_MAX {
            lua.eval(format!("return {number}").as_bytes()).unwrap();
        }
        assert!(lua.contains(&pinned) && !lua.contains(&first));
        assert_eq!((lua.script_count(), lua.evicted_count()), (EVAL_SCRIPTS_MAX + 1, 1));
        // One that came by EVAL stays once it is loaded, and makes room for another.
        let second = lua.load(b"return 1").unwrap().sha;
        lua.eval(b"return 'a'").unwrap();
        assert_eq!(lua.evicted_count(), 1);
        lua.eval(b"return 'b'").unwrap();
        assert!(lua.contains(&second) && !lua.contains(&Sha::of(b"return 2")));
        lua.flush();
        assert_eq!((lua.script_count(), lua.source_bytes()), (0, 0));
        assert_eq!(lua.evicted_count(), 2);
    }
}
