//! Settings, and the classes of appliances that say what settings may hold.

use super::good;
use handoff::class::{Class, Resolved};
use handoff::commit::state::State;
use handoff::guest::accounts::AccountFile;
use handoff::guest::{Entropy, Facts, GuestPath, Node, Tree, View as _};
use handoff::render::{self, Context, appliance};
use handoff::settings::Settings;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

const CLASSES: [&[u8]; 3] = [
    include_bytes!("../seeds/class/haproxy.json"),
    include_bytes!("../seeds/class/nginx.json"),
    include_bytes!("../seeds/class/postgresql.json"),
];

static CATALOG: LazyLock<Vec<Class>> =
    LazyLock::new(|| CLASSES.iter().map(|class| Class::parse(class).expect("the seed")).collect());

/// The Debian-like guest of the golden tests, in memory.
static GUEST: LazyLock<Tree> = LazyLock::new(|| {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let debian = [here, here.parent().unwrap()].map(|top| top.join("tests/golden/debian"));
    let debian = debian.into_iter().find(|path| path.is_dir()).expect("the golden guest");
    let mut tree = Tree::new();
    let mut waiting = vec![debian.join("root")];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let below = format!("/{}", path.strip_prefix(debian.join("root")).unwrap().to_str().unwrap());
            if path.is_dir() {
                tree.put(GuestPath::of(&below), Node::directory(0o755));
                waiting.push(path);
            } else {
                tree.put(GuestPath::of(&below), Node::file(fs::read(&path).unwrap(), 0o644));
            }
        }
    }
    let manifest = fs::read_to_string(debian.join("manifest")).unwrap();
    for line in manifest.lines().filter(|line| !line.starts_with('#')) {
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["l", path, "->", target] => drop(tree.put(GuestPath::of(path), Node::link(target))),
            ["d", path, mode, _] if path != "/" => {
                let mode = u32::from_str_radix(mode, 8).unwrap();
                tree.put(GuestPath::of(path), Node::directory(mode));
            }
            ["f", path, mode, _] => {
                let content = tree.read(&GuestPath::of(path)).unwrap().unwrap_or_default();
                tree.put(GuestPath::of(path), Node::file(content, u32::from_str_radix(mode, 8).unwrap()));
            }
            _ => {}
        }
    }
    tree
});

/// Settings for a guest of no class, and for those of the catalog.
pub fn settings(data: &[u8]) -> bool {
    let Some(settings) = good(Settings::check_text(data)) else { return false };
    for class in CATALOG.iter() {
        if let Some(resolved) = good(class.resolve(&settings)) {
            good(appliance::judge(&settings, class, &resolved));
        }
    }
    let (class, resolved) = (&Class::default(), &Resolved::default());
    let (guest, previous, facts) =
        (&*GUEST, &State::default(), &Facts { entropy: Entropy([7; 64]), ..Facts::default() });
    let context = Context { settings: &settings, class, resolved, guest, previous, facts };
    let Some(desired) = good(render::render(&context)) else { return false };
    for file in [AccountFile::Passwd, AccountFile::Shadow, AccountFile::Group, AccountFile::Gshadow] {
        let desired = desired.entries().get(&file.path());
        let Some(Node::File(new)) = desired.and_then(|entry| entry.node.clone()) else { continue };
        let old = GUEST.read(&file.path()).unwrap().unwrap_or_default();
        let lines = |content: &[u8]| content.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>();
        let (old, new) = (lines(&old), lines(&new.content));
        for line in new.iter().filter(|line| !line.is_empty() && !old.contains(line)) {
            let width = line.split(|byte| *byte == b':').count();
            assert_eq!(width, file.width(), "{}", String::from_utf8_lossy(line));
        }
        // Nobody but root becomes root, and whoever was there is there.
        let name = |line: &[u8]| line.split(|byte| *byte == b':').next().map(<[u8]>::to_vec);
        assert!(
            old.iter().all(|line| new.iter().any(|other| name(other) == name(line))),
            "{} lost a line",
            file.path()
        );
        if file == AccountFile::Passwd {
            let zero = |line: &&Vec<u8>| line.split(|byte| *byte == b':').nth(2) == Some(b"0");
            assert_eq!(new.iter().filter(zero).count(), old.iter().filter(zero).count());
        }
    }
    true
}

/// A compiled class; after a zero byte, settings for it.
pub fn class(data: &[u8]) -> bool {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let Some(class) = good(Class::parse(parts.next().unwrap_or_default())) else { return false };
    let minimal: &[u8] = include_bytes!("../seeds/settings/minimal.json");
    for text in [Some(minimal), parts.next()].into_iter().flatten() {
        let Some(settings) = good(Settings::check_text(text)) else { continue };
        let Some(resolved) = good(class.resolve(&settings)) else { continue };
        assert_eq!(resolved.fields.len(), class.fields.len());
        good(appliance::judge(&settings, &class, &resolved));
    }
    true
}
