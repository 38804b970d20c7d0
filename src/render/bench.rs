//! A guest in memory on which renderers are tried, one set of settings after the other, as a planner and a commit would do
//! it.

use super::{Context, render};
use crate::class::Class;
use crate::commit::state::{Owned, State, Trace};
use crate::error::Result;
use crate::guest::{Entropy, Facts, GuestPath, Node, Tree, View};
use crate::plan::{Desired, Keeping};
use crate::settings::Settings;

/// A guest, and what it remembers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bench {
    pub(crate) tree: Tree,
    pub(crate) state: State,
    pub(crate) facts: Facts,
}

impl Bench {
    pub(crate) fn new(tree: Tree) -> Self {
        let facts = Facts { entropy: Entropy([7; 64]), ..Facts::default() };
        Bench { tree, state: State::default(), facts }
    }

    pub(crate) fn render(&self, settings: &Settings) -> Result<Desired> {
        let class = Class::load(&self.tree)?;
        let resolved = class.resolve(settings)?;
        let (guest, previous, facts) = (&self.tree, &self.state, &self.facts);
        render(&Context { settings, class: &class, resolved: &resolved, guest, previous, facts })
    }

    /// Renders, and makes the guest what it shall be. Another run must then find nothing to do.
    pub(crate) fn apply(&mut self, settings: &Settings) -> Desired {
        let desired = self.render(settings).unwrap();
        for path in self.state.owned.keys() {
            if desired.entry(path).is_none() {
                self.tree.remove(path);
            }
        }
        self.state.owned.clear();
        for (path, entry) in desired.entries() {
            let there = self.tree.node(path).unwrap();
            if entry.keeping == Keeping::Owned {
                let trace = Owned { ours: Trace::Absent, replaced: Trace::Absent };
                self.state.owned.insert(path.clone(), trace);
            }
            match &entry.node {
                Some(_) if entry.keeping == Keeping::Seeded && there.is_some() => {}
                Some(node) => drop(self.tree.put(path.clone(), node.clone())),
                None => drop(self.tree.remove(path)),
            }
        }
        self.state.accounts = desired.accounts.clone();
        self.state.identity = desired.identity.clone();
        self.assert_settled(settings);
        desired
    }

    fn assert_settled(&self, settings: &Settings) {
        let again = self.render(settings).unwrap();
        for (path, entry) in again.entries() {
            let there = self.tree.node(path).unwrap();
            match entry.keeping {
                Keeping::Seeded => assert!(there.is_some(), "{path}"),
                _ => assert!(
                    there == entry.node,
                    "{path}\n{}\n{:?}",
                    self.text(path.as_str()),
                    entry.node.as_ref().map(shown)
                ),
            }
        }
        assert_eq!(again.accounts, self.state.accounts);
    }

    /// The text of a file of the guest; empty where there is none.
    pub(crate) fn text(&self, path: &str) -> String {
        self.tree.node(&GuestPath::of(path)).unwrap().as_ref().map(shown).unwrap_or_default()
    }

    /// The line of a file that begins with `start`.
    pub(crate) fn line(&self, path: &str, start: &str) -> String {
        self.text(path).lines().find(|line| line.starts_with(start)).unwrap_or_default().to_owned()
    }

    /// Changes a text of the guest by hand.
    pub(crate) fn edit(&mut self, path: &str, old: &str, new: &str) {
        let path = GuestPath::of(path);
        let Some(Node::File(mut file)) = self.tree.remove(&path) else { panic!("no file {path}") };
        let text = String::from_utf8(file.content).unwrap();
        assert!(text.contains(old), "{text}");
        file.content = text.replace(old, new).into_bytes();
        self.tree.put(path, Node::File(file));
    }
}

fn shown(node: &Node) -> String {
    match node {
        Node::File(file) => String::from_utf8_lossy(&file.content).into_owned(),
        other => format!("{other:?}"),
    }
}
