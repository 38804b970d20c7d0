//! Section `files`: whole files, with owners by name.

use super::accounts::Names;
use super::{Context, check_path};
use crate::error::Result;
use crate::guest::Node;
use crate::plan::{Desired, Entry, Keeping};

/// Puts the files. Comes after the accounts, because an owner may be a user of the same settings.
///
/// # Errors
/// An owner or group that neither the guest nor the settings have; a path that another section fills too.
pub fn render(context: &Context<'_>, desired: &mut Desired) -> Result<()> {
    if context.settings.files.is_empty() {
        return Ok(());
    }
    let names = Names::of(context.guest, desired)?;
    for (index, file) in context.settings.files.iter().enumerate() {
        check_path(context.guest, &format!("files[{index}].path"), &file.path)?;
        let owner = names.owner(&format!("files[{index}]"), &file.owner, &file.group)?;
        let node = Some(Node::file_of(file.content.clone(), file.mode.bits(), owner));
        desired.put(file.path.clone(), Entry { node, keeping: Keeping::Owned, secret: file.is_secret() })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::guest::{GuestPath, Node, Owner, Tree, View};
    use crate::render::bench::Bench;
    use crate::settings::{AccountName, FileMode, PlainFile, Settings};

    fn file(path: &str, mode: &str, owner: &str) -> PlainFile {
        PlainFile {
            path: GuestPath::of(path),
            mode: FileMode::parse(mode).unwrap(),
            owner: AccountName::parse(owner).unwrap(),
            group: AccountName::parse("adm").unwrap(),
            content: b"text".to_vec(),
        }
    }

    #[test]
    fn a_file_has_its_owner_by_name_and_is_secret_when_not_everybody_may_read_it() {
        let tree = Tree::new().with("/etc/passwd", "ops:x:7:7::/:/bin/sh\n").with("/etc/group", "adm:x:4:\n");
        let mut bench = Bench::new(tree);
        let files = vec![file("/etc/motd", "0644", "root"), file("/srv/key", "0640", "ops")];
        let desired = bench.apply(&Settings { files, ..Settings::default() });
        let node = bench.tree.node(&GuestPath::of("/srv/key")).unwrap();
        assert_eq!(node, Some(Node::file_of("text", 0o640, Owner { uid: 7, gid: 4 })));
        assert!(desired.entry(&GuestPath::of("/srv/key")).unwrap().secret);
        assert!(!desired.entry(&GuestPath::of("/etc/motd")).unwrap().secret);
    }

    #[test]
    fn a_link_of_the_image_leads_no_file_to_what_settings_must_not_change() {
        let tree = Tree::new()
            .with_node("/usr/lib64", Node::link("lib"))
            .with_node("/bin", Node::link("usr/bin"))
            .with_node("/usr/sbin", Node::link("bin"))
            .with_node("/opt/deep", Node::link("/usr/lib64/../lib64"))
            .with_node("/var/lock", Node::link("/run/lock"))
            .with("/etc/group", "adm:x:4:\n");
        let bench = Bench::new(tree);
        for path in
            ["/usr/lib64/handoff/trusted-keys", "/opt/deep/handoff/class.json", "/bin/handoff-agent", "/var/lock/x"]
        {
            let files = vec![file("/a", "0644", "root"), file(path, "0644", "root")];
            let error = bench.render(&Settings { files, ..Settings::default() }).unwrap_err().to_string();
            assert!(error.starts_with("files[1].path: ") && error.contains("not for settings"), "{path}: {error}");
        }
        let files = vec![file("/usr/lib64/x", "0644", "root")];
        assert!(bench.render(&Settings { files, ..Settings::default() }).is_ok());
    }

    #[test]
    fn a_link_that_a_user_has_planted_is_no_fault_of_the_settings() {
        let scratch = tempfile::tempdir().unwrap();
        let root = crate::root::Root::open(scratch.path()).unwrap();
        if !root.compares_owners() {
            return; // Owners cannot be set.
        }
        let home = scratch.path().join("home/ops");
        std::fs::create_dir_all(&home).unwrap();
        for (link, target) in [("one", "/var/lib/handoff"), ("two", "/proc"), ("three", "/etc/sudoers.d")] {
            std::os::unix::fs::symlink(target, home.join(link)).unwrap();
        }
        let check = |name: &str| crate::render::check_path(&root, "files[0].path", &GuestPath::of(name));
        assert!(check("/home/ops/one/x").is_err(), "a link of root's is followed, so what it leads to counts");
        for (uid, path) in [(7, home.clone()), (7, home.join("one")), (0, home.join("two")), (7, home.join("three"))] {
            std::os::unix::fs::lchown(path, Some(uid), None).unwrap();
        }
        for name in ["one", "two", "three"] {
            assert!(check(&format!("/home/ops/{name}/x")).is_ok(), "{name}");
        }
        assert!(check("/var/lib/handoff/x").is_err());
    }

    #[test]
    fn an_unknown_owner_is_refused_with_its_place() {
        let bench = Bench::new(Tree::new().with("/etc/group", "adm:x:4:\n"));
        let files = vec![file("/a", "0644", "root"), file("/b", "0644", "ops")];
        let error = bench.render(&Settings { files, ..Settings::default() }).unwrap_err().to_string();
        assert!(error.starts_with("files[1].owner: `ops` does not exist"), "{error}");
    }
}
