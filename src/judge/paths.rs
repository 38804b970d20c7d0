//! What stands at some paths, in their order. A sorted list: the program is small, and a tree of its own for this one use is not.

use super::picture::After;
use crate::guest::GuestPath;

/// Paths with what stands there, each path once, parents before what is in them.
#[derive(Clone, Default)]
pub(super) struct Paths<'a>(Vec<(GuestPath, After<'a>)>);

impl<'a> Paths<'a> {
    pub(super) fn new() -> Self {
        Paths(Vec::new())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(GuestPath, After<'a>)> {
        self.0.iter()
    }

    /// Those at this path and after it in the order, among which are all that lie below it.
    pub(super) fn from(&self, path: &GuestPath) -> impl Iterator<Item = &(GuestPath, After<'a>)> {
        let (Ok(start) | Err(start)) = self.find(path);
        self.0.iter().skip(start)
    }

    pub(super) fn get(&self, path: &GuestPath) -> Option<&After<'a>> {
        self.find(path).ok().and_then(|at| self.0.get(at)).map(|(_, after)| after)
    }

    pub(super) fn insert(&mut self, path: GuestPath, after: After<'a>) {
        match self.find(&path) {
            Ok(at) => {
                if let Some(there) = self.0.get_mut(at) {
                    there.1 = after;
                }
            }
            Err(at) => self.0.insert(at, (path, after)),
        }
    }

    pub(super) fn remove(&mut self, path: &GuestPath) {
        if let Ok(at) = self.find(path) {
            self.0.remove(at);
        }
    }

    fn find(&self, path: &GuestPath) -> Result<usize, usize> {
        self.0.binary_search_by(|(other, _)| other.cmp(path))
    }
}
