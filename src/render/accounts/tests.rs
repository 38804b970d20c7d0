use super::Names;
use crate::guest::{GuestPath, Node, Owner, Tree, View};
use crate::render::bench::Bench;
use crate::settings::{AccountName, AuthorizedKey, Group, PasswordHash, Settings, SingleLine, Sudo, User};

mod properties;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBB4EYZ5RcHoCD8kqW94XY3eW1ewW1ZHh9lvS65aXmCi ops@example";
const HASH: &str = "$6$saltsalt$0123456789abcdef0123456789abcdef";
const OTHER_HASH: &str = "$6$saltsalt$fedcba98765432100123456789abcdef";

fn guest() -> Bench {
    let mut tree = Tree::new()
        .with(
            "/etc/passwd",
            "root:x:0:0:root:/root:/bin/bash\nwww-data:x:33:33:www:/var/www:/usr/sbin/nologin\n# by hand\n\
             nobody:x:65534:65534::/nonexistent:/usr/sbin/nologin\nold:x:1000:1000:Old,,,:/home/old:/bin/sh\n+nis::::::\n",
        )
        .with(
            "/etc/group",
            "root:x:0:\nsudo:x:27:old\nwww-data:x:33:\nadm:x:4:syslog\nold:x:1000:\nnogroup:x:65534:\n",
        )
        .with("/etc/machine-id", "0123456789abcdef0123456789abcdef\n")
        .with("/bin/bash", "")
        .with("/bin/sh", "")
        .with("/etc/skel/.profile", "skeleton")
        .with("/etc/skel/.config/x", "y")
        .with_node("/root", Node::directory(0o700))
        .with_node("/etc/sudoers.d", Node::directory(0o755))
        .with_node("/home/old", Node::Directory { mode: 0o755, owner: Owner { uid: 1000, gid: 1000 } });
    let shadow = Owner { uid: 0, gid: 42 };
    tree.put(
        GuestPath::of("/etc/shadow"),
        Node::file_of(
            "root:*:19000:0:99999:7:::\nwww-data:*:19000::::::\nold:$y$old:19000:0:99999:7:::\n",
            0o640,
            shadow,
        ),
    );
    tree.put(
        GuestPath::of("/etc/gshadow"),
        Node::file_of("root:*::\nsudo:*::old\nadm:*::syslog\nold:!::\n", 0o640, shadow),
    );
    settled(tree)
}

/// A guest that has its identity already, so that only accounts differ.
fn settled(tree: Tree) -> Bench {
    let mut bench = Bench::new(tree);
    bench.state.identity = Some(String::new());
    bench
}

fn name(text: &str) -> AccountName {
    AccountName::parse(text).unwrap()
}

fn user(text: &str) -> User {
    User {
        name: name(text),
        uid: None,
        group: None,
        groups: Vec::new(),
        shell: None,
        home: None,
        comment: None,
        password_hash: None,
        ssh_authorized_keys: None,
        sudo: Sudo::None,
        locked: false,
    }
}

fn with_key(text: &str) -> User {
    User { ssh_authorized_keys: Some(vec![AuthorizedKey::parse(KEY).unwrap()]), ..user(text) }
}

fn with_hash(text: &str, hash: &str) -> User {
    User { password_hash: Some(PasswordHash::parse(hash).unwrap()), ..user(text) }
}

fn settings(users: &[User]) -> Settings {
    Settings { users: users.to_vec(), ..Settings::default() }
}

fn refused(bench: &Bench, users: &[User]) -> String {
    bench.render(&settings(users)).unwrap_err().to_string()
}

#[test]
fn a_new_user_has_a_number_a_group_a_home_and_no_password() {
    let mut bench = guest();
    let ops = User { groups: vec![name("sudo"), name("adm")], sudo: Sudo::Password, ..with_key("ops") };
    bench.apply(&settings(&[ops]));
    assert_eq!(bench.line("/etc/passwd", "ops:"), "ops:x:1001:1001::/home/ops:/bin/bash");
    assert_eq!(bench.line("/etc/shadow", "ops:"), "ops:*:::::::");
    assert_eq!(bench.line("/etc/group", "ops:"), "ops:x:1001:");
    assert_eq!(bench.line("/etc/gshadow", "ops:"), "ops:!::");
    assert_eq!(bench.line("/etc/group", "sudo:"), "sudo:x:27:old,ops");
    assert_eq!(bench.line("/etc/gshadow", "adm:"), "adm:*::syslog,ops");
    let owner = Owner { uid: 1001, gid: 1001 };
    let node = |path: &str| bench.tree.node(&GuestPath::of(path)).unwrap();
    assert_eq!(node("/home/ops"), Some(Node::Directory { mode: 0o700, owner }));
    assert_eq!(node("/home/ops/.profile"), Some(Node::file_of("skeleton", 0o644, owner)));
    assert_eq!(node("/home/ops/.config/x"), Some(Node::file_of("y", 0o644, owner)));
    assert_eq!(node("/home/ops/.ssh"), Some(Node::Directory { mode: 0o700, owner }));
    let Some(Node::File(keys)) = node("/home/ops/.ssh/authorized_keys") else { panic!() };
    assert_eq!((keys.mode, keys.owner), (0o600, owner));
    assert_eq!(bench.text("/home/ops/.ssh/authorized_keys").lines().nth(1), Some(KEY));
    assert!(bench.text("/etc/sudoers.d/90-handoff").ends_with("\nops ALL=(ALL:ALL) ALL\n"));
    let Some(Node::File(shadow)) = node("/etc/shadow") else { panic!() };
    assert_eq!((shadow.mode, shadow.owner.gid), (0o640, 42));
}

#[test]
fn the_password_field_says_how_one_can_log_in() {
    let mut bench = guest();
    let mut both = with_hash("e", HASH);
    both.locked = true;
    bench.apply(&settings(&[with_hash("a", HASH), with_key("b"), user("c"), both]));
    let field = |name: &str| bench.line("/etc/shadow", &format!("{name}:"));
    assert_eq!(field("a"), format!("a:{HASH}:::::::"));
    assert_eq!(field("b"), "b:*:::::::");
    assert_eq!(field("c"), "c:!:::::::");
    assert_eq!(field("e"), format!("e:!{HASH}::::::1:"));
}

#[test]
fn lines_of_others_stay_and_new_ones_stand_before_nis() {
    let mut bench = guest();
    let before = bench.text("/etc/passwd");
    bench.apply(&settings(&[user("ops")]));
    let after = bench.text("/etc/passwd");
    assert_eq!(after.replace("ops:x:1001:1001::/home/ops:/bin/bash\n", ""), before);
    assert!(after.ends_with("+nis::::::\n"));
}

#[test]
fn a_user_that_leaves_is_locked_and_its_number_is_never_given_again() {
    let mut bench = guest();
    let ops = User { groups: vec![name("sudo")], sudo: Sudo::NoPassword, ..with_key("ops") };
    bench.apply(&settings(std::slice::from_ref(&ops)));
    bench.edit("/etc/shadow", "ops:*:", "ops:$y$typed-by-hand:");
    bench.apply(&settings(&[]));
    assert_eq!(bench.line("/etc/shadow", "ops:"), "ops:!::::::1:");
    assert_eq!(bench.line("/etc/passwd", "ops:"), "ops:x:1001:1001::/home/ops:/bin/bash");
    assert_eq!(bench.line("/etc/group", "sudo:"), "sudo:x:27:old");
    assert_eq!(bench.line("/etc/gshadow", "sudo:"), "sudo:*::old");
    assert_eq!(bench.text("/home/ops/.ssh/authorized_keys"), "");
    assert_eq!(bench.text("/etc/sudoers.d/90-handoff"), "");
    assert_eq!(bench.text("/home/ops/.profile"), "skeleton");
    assert!(bench.state.accounts.users.is_empty());

    bench.apply(&settings(&[user("new")]));
    assert_eq!(bench.line("/etc/passwd", "new:"), "new:x:1002:1002::/home/new:/bin/bash");

    bench.apply(&settings(&[ops]));
    assert_eq!(bench.line("/etc/shadow", "ops:"), "ops:*:::::::");
    assert_eq!(bench.line("/etc/group", "sudo:"), "sudo:x:27:old,ops");
    assert_eq!(bench.state.accounts.users["ops"].passwd_before, None, "it is ours again");
}

#[test]
fn a_user_of_the_image_gets_its_fields_back() {
    let mut bench = guest();
    let image = bench.tree.clone();
    let old = User {
        shell: Some(GuestPath::of("/bin/bash")),
        comment: Some(SingleLine::parse("New").unwrap()),
        groups: vec![name("sudo"), name("adm")],
        ..with_hash("old", HASH)
    };
    bench.apply(&settings(&[old]));
    assert_eq!(bench.line("/etc/passwd", "old:"), "old:x:1000:1000:New:/home/old:/bin/bash");
    assert_eq!(bench.line("/etc/shadow", "old:"), format!("old:{HASH}:19000:0:99999:7:::"));
    assert_eq!(bench.line("/etc/group", "adm:"), "adm:x:4:syslog,old");
    let changed = bench.clone();
    bench.apply(&settings(&[]));
    assert_eq!(bench.tree, image, "sudo too: that membership was the image's");

    let mut bench = changed;
    bench.edit("/etc/passwd", "/home/old:/bin/bash", "/home/old:/bin/zsh");
    bench.edit("/etc/shadow", HASH, OTHER_HASH);
    bench.apply(&settings(&[]));
    assert_eq!(bench.line("/etc/passwd", "old:"), "old:x:1000:1000:Old,,,:/home/old:/bin/zsh");
    assert_eq!(bench.line("/etc/shadow", "old:"), format!("old:{OTHER_HASH}:19000:0:99999:7:::"));
}

#[test]
fn a_field_that_leaves_the_settings_goes_back_while_the_user_stays() {
    let mut bench = guest();
    let ops = User { shell: Some(GuestPath::of("/bin/sh")), ..with_hash("ops", HASH) };
    let old = User { comment: Some(SingleLine::parse("New").unwrap()), ..with_hash("old", HASH) };
    bench.apply(&settings(&[ops, old]));
    bench.apply(&settings(&[with_key("ops"), user("old")]));
    assert_eq!(bench.line("/etc/passwd", "ops:"), "ops:x:1001:1001::/home/ops:/bin/bash");
    assert_eq!(bench.line("/etc/shadow", "ops:"), "ops:*:::::::");
    assert_eq!(bench.line("/etc/passwd", "old:"), "old:x:1000:1000:Old,,,:/home/old:/bin/sh");
    assert_eq!(bench.line("/etc/shadow", "old:"), "old:$y$old:19000:0:99999:7:::");
}

#[test]
fn who_was_let_in_by_a_password_of_the_settings_does_not_stay_in_by_changing_it() {
    for stays in [true, false] {
        let mut bench = guest();
        bench.edit("/etc/passwd", "/var/www", "/home/old");
        bench.apply(&settings(&[with_hash("ops", HASH), with_hash("www-data", HASH)]));
        // passwd(1), as the user.
        bench.edit("/etc/shadow", &format!("ops:{HASH}:"), &format!("ops:{OTHER_HASH}:"));
        bench.edit("/etc/shadow", &format!("www-data:{HASH}:"), &format!("www-data:{OTHER_HASH}:"));
        let users = if stays { vec![with_key("ops"), with_key("www-data")] } else { vec![] };
        bench.apply(&settings(&users));
        assert!(!bench.text("/etc/shadow").contains(OTHER_HASH), "{}", bench.text("/etc/shadow"));
        assert_eq!(bench.line("/etc/shadow", "www-data:"), "www-data:*:19000::::::");
    }
}

#[test]
fn a_home_is_never_where_the_program_keeps_what_it_believes() {
    for home in ["/etc/handoff", "/usr/lib/handoff/ops", "/usr/lib64/handoff", "/var/lib/handoff", "/run/ops"] {
        let mut bench = guest();
        bench.tree.put(GuestPath::of("/usr/lib64"), Node::link("lib"));
        let error = refused(&bench, &[User { home: Some(GuestPath::of(home)), ..with_key("ops") }]);
        assert!(error.starts_with("users[0].home: "), "{home}: {error}");
    }
}

#[test]
fn a_lock_comes_and_goes_and_keeps_a_password_typed_by_hand() {
    let mut bench = guest();
    bench.apply(&settings(&[with_key("ops")]));
    bench.edit("/etc/shadow", "ops:*:", "ops:$y$typed:");
    let locked = User { locked: true, ..with_key("ops") };
    bench.apply(&settings(&[locked]));
    assert_eq!(bench.line("/etc/shadow", "ops:"), "ops:!$y$typed::::::1:");
    bench.apply(&settings(&[with_key("ops")]));
    assert_eq!(bench.line("/etc/shadow", "ops:"), "ops:$y$typed:::::::");
}

#[test]
fn root_and_system_accounts_get_keys_and_are_never_moved() {
    let mut bench = guest();
    bench.apply(&settings(&[with_key("root")]));
    assert_eq!(bench.line("/etc/shadow", "root:"), "root:*:19000:0:99999:7:::");
    assert!(bench.text("/root/.ssh/authorized_keys").contains(KEY));
    let moved = User { group: Some(name("sudo")), ..user("www-data") };
    assert!(refused(&bench, &[user("ops"), moved]).starts_with("users[1].group: "));
    let error = refused(&bench, &[with_key("nobody")]);
    assert!(error.starts_with("users[0].ssh_authorized_keys: ") && error.contains("/nonexistent"), "{error}");
    assert!(refused(&bench, &[with_key("www-data")]).contains("/var/www, which does not exist"));
}

#[test]
fn what_cannot_be_had_is_refused_with_its_place() {
    let bench = guest();
    let uid = |text: &str, uid| User { uid: Some(uid), ..user(text) };
    for (users, start) in [
        (vec![uid("a", 33)], "users[0].uid: 33 is already the number of `www-data`"),
        (vec![uid("a", 2000), uid("b", 2000)], "users[1].uid: 2000 is already the number of `a`"),
        (vec![uid("a", 0)], "users[0].uid: 0 is"),
        (vec![uid("a", 65_535)], "users[0].uid: "),
        (vec![uid("old", 1001)], "users[0].uid: `old` is in the guest with 1000"),
        (vec![User { home: Some(GuestPath::of("/srv")), ..user("old") }], "users[0].home: "),
        (vec![User { home: Some(GuestPath::of("/a:b")), ..user("a") }], "users[0].home: has a colon"),
        (
            vec![User { shell: Some(GuestPath::of("/bin/fish")), ..user("a") }],
            "users[0].shell: /bin/fish does not exist",
        ),
        (vec![User { group: Some(name("x")), ..user("a") }], "users[0].group: the group `x`"),
        (vec![user("b"), User { groups: vec![name("x")], ..user("a") }], "users[1].groups[0]: the group `x`"),
        (vec![User { home: Some(GuestPath::root()), ..with_key("a") }], "users[0].ssh_authorized_keys: "),
        (vec![user("a"), user("a")], "users[1].name: "),
    ] {
        let error = refused(&bench, &users);
        assert!(error.starts_with(start), "{error}");
    }
    let group = |text: &str, gid| Group { name: name(text), gid };
    for (groups, start) in [
        (vec![group("adm", Some(5))], "groups[0].gid: `adm` has the number 4"),
        (vec![group("x", Some(27))], "groups[0].gid: 27 is already the number of `sudo`"),
    ] {
        let error = bench.render(&Settings { groups, ..Settings::default() }).unwrap_err().to_string();
        assert!(error.starts_with(start), "{error}");
    }
}

#[test]
fn an_image_without_sudo_or_shadow_says_so() {
    let mut bench = guest();
    bench.tree.remove(&GuestPath::of("/etc/sudoers.d"));
    assert!(
        refused(&bench, &[User { sudo: Sudo::Password, ..user("a") }])
            .starts_with("users[0].sudo: the image has no sudo")
    );
    bench.tree.remove(&GuestPath::of("/etc/gshadow"));
    bench.apply(&settings(&[user("a")]));
    assert_eq!(bench.text("/etc/gshadow"), "", "none is made");
    bench.tree.remove(&GuestPath::of("/etc/shadow"));
    assert!(refused(&bench, &[user("a")]).starts_with("/etc/shadow: does not exist"));
    let empty = Bench::new(Tree::new());
    assert!(empty.render(&Settings::default()).unwrap().entries().keys().all(|path| !path.as_str().contains("passwd")));
}

#[test]
fn groups_are_made_and_removed_when_empty() {
    let mut bench = guest();
    let image = bench.tree.clone();
    let groups = vec![
        Group { name: name("x"), gid: None },
        Group { name: name("y"), gid: Some(1001) },
        Group { name: name("adm"), gid: Some(4) },
    ];
    let ops = User { group: Some(name("x")), groups: vec![name("y")], ..user("ops") };
    let all = Settings { groups: groups.clone(), users: vec![ops], ..Settings::default() };
    bench.apply(&all);
    assert_eq!(bench.line("/etc/group", "x:"), "x:x:1002:");
    assert_eq!(bench.line("/etc/group", "y:"), "y:x:1001:ops");
    assert_eq!(bench.line("/etc/passwd", "ops:"), "ops:x:1001:1002::/home/ops:/bin/bash");
    bench.apply(&settings(&[]));
    assert_eq!(bench.line("/etc/group", "x:"), "x:x:1002:", "it is the primary group of a locked user");
    assert_eq!(bench.line("/etc/group", "y:"), "");

    let mut bench = settled(image.clone());
    bench.apply(&Settings { groups, ..Settings::default() });
    bench.apply(&Settings::default());
    assert_eq!(bench.tree, image);
}

#[test]
fn a_group_of_the_name_that_exists_is_the_own_group() {
    let mut bench = guest();
    bench.edit("/etc/group", "adm:x:4:", "ops:x:1500:\nadm:x:4:");
    bench.apply(&settings(&[user("ops")]));
    assert_eq!(bench.line("/etc/passwd", "ops:"), "ops:x:1500:1500::/home/ops:/bin/bash");
}

#[test]
fn login_defs_set_the_range_and_the_mode_of_a_home() {
    let mut bench = guest();
    bench.tree = bench.tree.clone().with("/etc/login.defs", "UID_MIN 2000\nUID_MAX 2001\nHOME_MODE 0750\n");
    bench.apply(&settings(&[user("a"), user("b")]));
    assert_eq!(bench.line("/etc/passwd", "b:"), "b:x:2001:2001::/home/b:/bin/bash");
    let home = bench.tree.node(&GuestPath::of("/home/a")).unwrap();
    assert_eq!(home, Some(Node::Directory { mode: 0o750, owner: Owner { uid: 2000, gid: 2000 } }));
    assert!(refused(&bench, &[user("a"), user("b"), user("c")]).starts_with("users[2]: no number is free"));
}

#[test]
fn a_hash_in_passwd_moves_to_shadow_and_back() {
    let mut bench = guest();
    bench.edit("/etc/passwd", "old:x:", "old:$1$plain:");
    bench.edit("/etc/shadow", "old:$y$old:19000:0:99999:7:::\n", "");
    let image = bench.tree.clone();
    bench.apply(&settings(&[user("old")]));
    assert_eq!(bench.tree, image, "nothing was asked");
    bench.apply(&settings(&[with_hash("old", HASH)]));
    assert!(bench.line("/etc/passwd", "old:").starts_with("old:x:1000:"));
    assert_eq!(bench.line("/etc/shadow", "old:"), format!("old:{HASH}:::::::"));
    bench.apply(&settings(&[]));
    assert_eq!(bench.tree, image);
}

#[test]
fn a_name_that_is_not_utf8_is_never_written_back_broken() {
    let mut bench = guest();
    let path = GuestPath::of("/etc/passwd");
    let Some(Node::File(mut file)) = bench.tree.remove(&path) else { panic!() };
    file.content.extend_from_slice(b"latin:x:1400:1000:J\xfcrgen:/tmp:/bin/sh\n");
    bench.tree.put(path.clone(), Node::File(file));
    let latin = User { shell: Some(GuestPath::of("/bin/bash")), ..user("latin") };
    bench.apply(&settings(std::slice::from_ref(&latin)));
    let read = |bench: &Bench| bench.tree.read(&path).unwrap().unwrap();
    assert!(read(&bench).ends_with(b"latin:x:1400:1000:J\xfcrgen:/tmp:/bin/bash\n"));
    bench.apply(&settings(&[User { comment: Some(SingleLine::parse("J").unwrap()), ..latin }]));
    bench.apply(&settings(&[]));
    assert!(read(&bench).ends_with(b"latin:x:1400:1000:J:/tmp:/bin/sh\n"));
}

#[test]
fn an_account_or_group_made_anew_by_hand_is_not_ours() {
    let mut bench = guest();
    let group = Settings { groups: vec![Group { name: name("x"), gid: None }], ..Settings::default() };
    bench.apply(&Settings { users: vec![with_key("ops")], ..group.clone() });
    bench.edit("/etc/passwd", "ops:x:1002:1002:", "ops:x:1300:1002:");
    bench.edit("/etc/group", "x:x:1001:", "x:x:1301:");
    let by_hand = bench.clone();
    let desired = bench.apply(&settings(&[]));
    assert!(desired.warnings.iter().any(|warning| warning.starts_with("user ops: ")), "{:?}", desired.warnings);
    for path in ["/etc/passwd", "/etc/shadow", "/etc/group"] {
        assert_eq!(bench.text(path), by_hand.text(path));
    }

    let mut bench = by_hand;
    bench.edit("/etc/shadow", "ops:*:", "ops:$y$theirs:");
    bench.apply(&settings(&[with_hash("ops", HASH)]));
    bench.apply(&settings(&[]));
    assert_eq!(bench.line("/etc/shadow", "ops:"), "ops:$y$theirs:::::::", "it was there before, with this password");
}

#[test]
fn a_user_that_somebody_deleted_gets_its_number_back() {
    let mut bench = guest();
    let ops = User { group: Some(name("adm")), ..user("ops") };
    bench.apply(&settings(std::slice::from_ref(&ops)));
    bench.edit("/etc/passwd", "ops:x:1001:4::/home/ops:/bin/bash\n", "");
    bench.apply(&settings(&[user("b"), ops]));
    assert_eq!(bench.line("/etc/passwd", "ops:"), "ops:x:1001:4::/home/ops:/bin/bash");
    assert_eq!(bench.line("/etc/passwd", "b:"), "b:x:1002:1002::/home/b:/bin/bash");
}

#[test]
fn a_key_opens_an_account_that_the_image_had_locked_and_its_lock_comes_back() {
    let mut bench = guest();
    bench.edit("/etc/shadow", "www-data:*:19000::::::", "www-data:!*:19000:::::1:");
    bench.edit("/etc/passwd", "/var/www", "/home/old");
    bench.apply(&settings(&[with_key("www-data")]));
    assert_eq!(bench.line("/etc/shadow", "www-data:"), "www-data:*:19000::::::");
    bench.apply(&settings(&[]));
    assert_eq!(bench.line("/etc/shadow", "www-data:"), "www-data:!*:19000:::::1:");
}

#[test]
fn a_lock_never_leaves_an_empty_password_behind() {
    let mut bench = guest();
    bench.apply(&settings(&[User { locked: true, ..with_hash("ops", HASH) }]));
    bench.edit("/etc/shadow", &format!("ops:!{HASH}:"), "ops:!:");
    bench.apply(&settings(&[with_key("ops")]));
    assert_eq!(bench.line("/etc/shadow", "ops:"), "ops:*:::::::");
}

#[test]
fn names_are_those_of_the_new_files() {
    let bench = guest();
    let desired = bench.render(&settings(&[user("ops")])).unwrap();
    let names = Names::of(&bench.tree, &desired).unwrap();
    assert_eq!(names.owner("files[0]", &name("ops"), &name("adm")).unwrap(), Owner { uid: 1001, gid: 4 });
    let error = names.owner("files[0]", &name("ops"), &name("none")).unwrap_err();
    assert!(error.to_string().starts_with("files[0].group: `none` does not exist"));
    let nothing = Names::of(&Tree::new(), &crate::plan::Desired::new()).unwrap();
    assert_eq!(nothing.owner("files[0]", &name("root"), &name("root")).unwrap(), Owner::ROOT);
}
