//! How what stands at a path of ours differs from what we left there.

use super::difference::same;
use crate::commit::state::Trace;
use crate::guest::{Node, Owner};

/// The differences in words, such as `content` or `mode 0600 instead of 0644`. None where it is as we left it.
pub fn drift(ours: &Trace, node: Option<&Node>, compare_owners: bool) -> Vec<String> {
    let now = Trace::of(node);
    if same(ours, &now, compare_owners) {
        return Vec::new();
    }
    let mut words = Vec::new();
    let attributes = match (ours, &now) {
        (Trace::File { sha256, mode, owner }, Trace::File { sha256: now_sha256, mode: now_mode, owner: now_owner }) => {
            if sha256 != now_sha256 {
                words.push("content".to_owned());
            }
            Some((mode, owner, now_mode, now_owner))
        }
        (Trace::Directory { mode, owner }, Trace::Directory { mode: now_mode, owner: now_owner }) => {
            Some((mode, owner, now_mode, now_owner))
        }
        (_, Trace::Absent) => {
            words.push("removed".to_owned());
            None
        }
        (_, Trace::Link { target }) => {
            words.push(format!("link to {target}"));
            None
        }
        (_, Trace::File { .. }) => {
            words.push("file in its place".to_owned());
            None
        }
        (_, Trace::Directory { .. }) => {
            words.push("directory in its place".to_owned());
            None
        }
    };
    if let Some((mode, owner, now_mode, now_owner)) = attributes {
        if mode != now_mode {
            words.push(format!("mode {now_mode:04o} instead of {mode:04o}"));
        }
        if compare_owners && owner != now_owner {
            words.push(format!("owner {} instead of {}", shown(*now_owner), shown(*owner)));
        }
    }
    words
}

fn shown(owner: Owner) -> String {
    format!("{}:{}", owner.uid, owner.gid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_differ_has_its_words() {
        let ours = Node::file("x", 0o644);
        let of = |node: &Node, now: Option<&Node>, owners| drift(&Trace::of(Some(node)), now, owners).join(", ");
        let other = Node::file_of("y", 0o600, Owner { uid: 5, gid: 6 });
        assert_eq!(of(&ours, Some(&ours), true), "");
        assert_eq!(of(&ours, Some(&other), true), "content, mode 0600 instead of 0644, owner 5:6 instead of 0:0");
        assert_eq!(of(&ours, Some(&other), false), "content, mode 0600 instead of 0644");
        assert_eq!(of(&ours, None, true), "removed");
        assert_eq!(of(&ours, Some(&Node::link("/x")), true), "link to /x");
        assert_eq!(of(&ours, Some(&Node::directory(0o755)), true), "directory in its place");
        assert_eq!(of(&Node::link("/x"), Some(&Node::link("/y")), true), "link to /y");
        assert_eq!(of(&Node::directory(0o755), Some(&Node::directory(0o700)), true), "mode 0700 instead of 0755");
        assert_eq!(drift(&Trace::Absent, Some(&ours), true), ["file in its place"]);
    }
}
