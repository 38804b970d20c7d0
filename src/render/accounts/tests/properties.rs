//! What holds for any users on any guest.

use super::*;
use proptest::prelude::*;

fn any_user() -> impl Strategy<Value = User> {
    let names = prop::sample::select(vec!["a", "b", "c", "old", "root", "www-data"]);
    let groups = prop::sample::subsequence(vec!["sudo", "adm", "www-data", "old"], 0..4);
    let uid = prop::option::weighted(0.2, prop::sample::select(vec![0_u32, 33, 1000, 1001, 1002, 500]));
    let hash = prop::option::of(prop::sample::select(vec![HASH, OTHER_HASH]));
    let keys = prop::option::of(0..2_usize);
    (names, groups, uid, hash, keys, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(who, groups, uid, hash, keys, locked, sudo, shell)| User {
            uid,
            groups: groups.into_iter().map(name).collect(),
            shell: shell.then(|| GuestPath::of("/bin/sh")),
            comment: shell.then(|| SingleLine::parse("Somebody").unwrap()),
            password_hash: hash.map(|hash| PasswordHash::parse(hash).unwrap()),
            ssh_authorized_keys: keys.map(|n| vec![AuthorizedKey::parse(KEY).unwrap(); n]),
            sudo: if sudo { Sudo::NoPassword } else { Sudo::None },
            locked,
            ..user(who)
        },
    )
}

/// The lines of others are never touched, whatever they hold.
const FOREIGN: &[u8] = b"# comment\n\nbroken\n\xff:x:5:5:::\nsys:*:9:9:::\n  odd : line\n-minus\n";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_history_of_settings_keeps_the_rules(history in prop::collection::vec(prop::collection::vec(any_user(), 0..4), 1..4)) {
        let mut bench = guest();
        let paths = ["/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow"];
        for path in paths {
            let path = GuestPath::of(path);
            let Some(Node::File(mut file)) = bench.tree.remove(&path) else { panic!() };
            file.content = [FOREIGN, &file.content].concat();
            bench.tree.put(path, Node::File(file));
        }
        let unnamed = |bytes: &[u8]| -> Vec<Vec<u8>> {
            bytes.split(|b| *b == b'\n').filter(|line| {
                !["a:", "b:", "c:", "old:", "root:", "www-data:", "sudo:", "adm:"].iter().any(|n| line.starts_with(n.as_bytes()))
            }).map(<[u8]>::to_vec).collect()
        };
        let read = |bench: &Bench, path: &str| bench.tree.read(&GuestPath::of(path)).unwrap().unwrap();
        let image = bench.clone();
        for users in history {
            let wanted = settings(&users);
            if bench.render(&wanted).is_err() {
                continue;
            }
            bench.apply(&wanted);
            for path in paths {
                prop_assert_eq!(unnamed(&read(&bench, path)), unnamed(&read(&image, path)));
            }
            let passwd = bench.text("/etc/passwd");
            let gids: Vec<String> = bench.text("/etc/group").lines().filter_map(|l| l.split(':').nth(2).map(str::to_owned)).collect();
            let mut uids: Vec<&str> = Vec::new();
            for line in passwd.lines().filter(|l| l.split(':').count() == 7 && !l.contains('\u{fffd}') && !l.starts_with(['+', 's'])) {
                let fields: Vec<&str> = line.split(':').collect();
                prop_assert!(!uids.contains(&fields[2]), "{}", passwd);
                prop_assert!(gids.contains(&fields[3].to_owned()), "{}", passwd);
                uids.push(fields[2]);
            }
            for user in &users {
                prop_assert_eq!(bench.line("/etc/shadow", &format!("{}:", user.name)).split(':').count(), 9);
            }
        }
        // What was the image's is the image's again.
        bench.apply(&settings(&[]));
        for (path, names) in [("/etc/passwd", &["root:", "old:", "www-data:"]), ("/etc/shadow", &["root:", "old:", "www-data:"]), ("/etc/group", &["sudo:", "adm:", "old:"])] {
            for name in names {
                prop_assert_eq!(bench.line(path, name), image.line(path, name));
            }
        }
    }
}
